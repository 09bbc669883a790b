"""Who may run when: the machine's cores, and the nodes of each compute cluster."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Slots:
    """Bounds steps: `total` at once on the machine, and on each compute as many as it has nodes.

    `nodes` gives a compute's greatest number of nodes (None: no bound) when it is asked, since a
    cluster can be resized; `changed` is told how many nodes of a compute are in use.
    """

    def __init__(
        self,
        total: int,
        nodes: Callable[[str], int | None],
        changed: Callable[[str, int], None],
    ) -> None:
        self._total = total
        self._nodes = nodes
        self._changed = changed
        self._running = 0
        self._used: Counter[str] = Counter()
        self._waiters: list[asyncio.Future[None]] = []

    @asynccontextmanager
    async def hold(self, compute: str, instances: int) -> AsyncIterator[None]:
        """Wait for one of the machine's slots and `instances` nodes of `compute`; hold them."""
        while not self._free(compute, instances):
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)
        self._count(compute, 1, instances)
        try:
            yield
        finally:
            self._count(compute, -1, -instances)
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def _count(self, compute: str, slots: int, instances: int) -> None:
        self._running += slots
        self._used[compute] += instances
        self._changed(compute, self._used[compute])

    def _free(self, compute: str, instances: int) -> bool:
        if self._running >= self._total:
            return False
        nodes = self._nodes(compute)
        return nodes is None or self._used[compute] + min(instances, nodes) <= nodes
