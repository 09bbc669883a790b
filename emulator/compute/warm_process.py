"""A process of the warm compute node, as the emulator sees it."""

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any


class NodeLost(Exception):
    """There is no node, or it ended while a process of it ran; nothing of the process is left."""


class WarmProcess:
    """A process forked by the node. Its id is its group's too."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.pid = 0
        self.returncode: int | None = None
        self._unwanted = False
        self._begun: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[int] = loop.create_future()

    async def begun(self) -> None:
        """Wait until it has its id. Raises NodeLost."""
        await asyncio.shield(self._begun)

    async def wait(self) -> int:
        """Wait for its end; the exit code, negative for a signal. Raises NodeLost."""
        return await asyncio.shield(self._ended)

    def tell(self, message: Mapping[str, Any]) -> None:
        """Take in what the node says of it."""
        if "pid" in message:
            self.pid = int(message["pid"])
            self._begun.set_result(None)
            if self._unwanted:
                self._kill()
        elif "code" in message:
            self.returncode = int(message["code"])
            self._ended.set_result(self.returncode)
        else:
            self.lose(str(message.get("refused")))

    def abandon(self) -> None:
        """Nobody waits for it any more: kill it as soon as it has an id."""
        self._unwanted = True
        if self.pid:
            self._kill()

    def lose(self, reason: str) -> None:
        """The node is gone, or has none for it."""
        if self.pid:
            self._kill()
        if self.returncode is None:
            self.returncode = -signal.SIGKILL
        for future in (self._begun, self._ended):
            if not future.done():
                future.set_exception(NodeLost(reason))
                future.exception()  # it may be that nobody waits

    def _kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
