"""How many requests a deployment answers at a time, and the wait for those it still has."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from emulator.compute.durations import seconds
from emulator.core import Emulator
from emulator.store import Resource


class Busy(Exception):
    """No slot became free while the request was in the deployment's queue."""

    def __init__(self, deployment: str, limit: int, wait: float) -> None:
        super().__init__(
            f"The deployment {deployment} answers {limit} requests at a time, and none was done "
            f"within its queue's {wait:g} seconds. Try again later."
        )


@dataclass
class _Slots:
    """Those of all deployments of one emulator, by the path of the resource in lower case."""

    semaphores: dict[str, tuple[int, asyncio.Semaphore]] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    """Requests that are being answered or wait for a slot."""
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)


_all: WeakKeyDictionary[Emulator, _Slots] = WeakKeyDictionary()


def _slots_of(emulator: Emulator) -> _Slots:
    return _all.setdefault(emulator, _Slots())


@asynccontextmanager
async def slot(emulator: Emulator, deployment: Resource) -> AsyncIterator[None]:
    """One of the requests that the deployment's instances answer at a time. Raises Busy."""
    settings: dict[str, Any] = deployment["properties"].get("requestSettings") or {}
    instances = int((deployment.get("sku") or {}).get("capacity") or 1)
    limit = instances * int(settings.get("maxConcurrentRequestsPerInstance") or 1)
    slots, key = _slots_of(emulator), deployment["id"].lower()
    if slots.semaphores.get(key, (0, None))[0] != limit:
        slots.semaphores[key] = (limit, asyncio.Semaphore(limit))
    semaphore = slots.semaphores[key][1]
    wait = seconds(settings.get("maxQueueWait") or "PT0.5S") or 0
    slots.requests[key] += 1
    try:
        try:
            async with asyncio.timeout(wait):
                await semaphore.acquire()
        except TimeoutError:
            raise Busy(deployment["name"], limit, wait) from None
        try:
            yield
        finally:
            semaphore.release()
    finally:
        slots.requests[key] -= 1
        async with slots.changed:
            slots.changed.notify_all()


async def drained(emulator: Emulator, deployment: Resource) -> None:
    """Wait until the deployment has answered the requests that it has.

    Waits no longer than a request may take. New ones must not reach it any more.
    """
    settings: dict[str, Any] = deployment["properties"].get("requestSettings") or {}
    limit = sum(
        seconds(settings.get(name) or default) or 0
        for name, default in (("requestTimeout", "PT5S"), ("maxQueueWait", "PT0.5S"))
    )
    slots, key = _slots_of(emulator), deployment["id"].lower()
    with suppress(TimeoutError):
        async with asyncio.timeout(limit), slots.changed:
            await slots.changed.wait_for(lambda: slots.requests[key] == 0)
    slots.semaphores.pop(key, None)
