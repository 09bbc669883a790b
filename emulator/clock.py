"""The emulator's notion of now. It can be turned forward, and with it all that expires."""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache


class Clock:
    """The machine's clock plus an offset, in seconds."""

    def __init__(self) -> None:
        self.offset = 0.0
        self._skipped = 0.0
        self._turned = asyncio.Event()

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.offset

    def now(self) -> datetime:
        """Now, in UTC."""
        return datetime.fromtimestamp(self.time(), UTC)

    def second(self) -> str:
        """Now, in UTC, to the second: 20260131T093000Z."""
        return _second(int(self.time()))

    def advance(self, seconds: float) -> None:
        """Turn the clock forward and wake what sleeps by it."""
        self.offset += seconds
        self._skipped += seconds
        self._turned.set()
        self._turned = asyncio.Event()

    def clear(self) -> None:
        """Show the machine's time again. Who sleeps has not lost what was skipped."""
        self.offset = 0.0
        self._turned.set()
        self._turned = asyncio.Event()

    async def pause(self, seconds: float | None) -> None:
        """Wait so many seconds, or for ever, but no longer than until the clock is turned."""
        turned = self._turned
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await turned.wait()

    async def sleep(self, seconds: float) -> None:
        """Sleep for seconds of this clock."""
        end = self._elapsed() + seconds
        while (left := end - self._elapsed()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._turned.wait()

    def _elapsed(self) -> float:
        return time.monotonic() + self._skipped


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")


CLOCK = Clock()
"""One process is one emulator, and time stamps are made everywhere in it."""
