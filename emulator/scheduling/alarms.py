"""What shall happen at a time of the emulator's clock, again and again."""

import asyncio
import heapq
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from emulator.clock import CLOCK

_log = logging.getLogger(__name__)

MOST_AT_ONCE = 100
"""Times of one alarm that ring when the clock is turned past them; the rest is left out."""

_LONGEST_SLEEP = 300.0
"""Seconds. A machine that slept meanwhile shows another time than the sleeper counted."""

Next = Callable[[datetime], datetime | None]
"""The first time after a moment; None for no more."""


@dataclass
class _Alarm:
    after: Next
    ring: Callable[[datetime], None]
    due: datetime | None
    """None when it has rung for the last time; it rings again when the clock is set back."""


class Alarms:
    """Rings by the emulator's clock; sleeps until the first alarm is due.

    An alarm rings once for each of its times, in the order of the times, also when the clock is
    turned past several. What was due while nobody set the alarm does not ring.
    """

    def __init__(self) -> None:
        self._alarms: dict[str, _Alarm] = {}
        self._queue: list[tuple[datetime, str]] = []
        """What is due when; an entry that is not its alarm's time is out of date."""
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._seen = CLOCK.now()

    def start(self) -> None:
        self._seen = CLOCK.now()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop, and forget all alarms."""
        self._alarms.clear()
        self._queue.clear()
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def set(
        self,
        key: str,
        after: Next,
        ring: Callable[[datetime], None],
        first: datetime | None = None,
    ) -> None:
        """Set or change an alarm; `first` is a time before all others."""
        self._alarms.pop(key, None)
        self._push(key, after, ring, first or after(CLOCK.now()))
        self._changed.set()

    def remove(self, key: str) -> None:
        self._alarms.pop(key, None)

    def remove_below(self, prefix: str) -> None:
        """Remove all alarms whose keys begin so."""
        for key in [key for key in self._alarms if key.startswith(prefix)]:
            del self._alarms[key]

    def due(self, key: str) -> datetime | None:
        """When an alarm rings next."""
        alarm = self._alarms.get(key)
        return alarm.due if alarm else None

    def _push(
        self, key: str, after: Next, ring: Callable[[datetime], None], due: datetime | None
    ) -> None:
        self._alarms[key] = _Alarm(after, ring, due)
        if due is not None:
            heapq.heappush(self._queue, (due, key))

    async def _run(self) -> None:
        while True:
            try:
                await self._ring_due()
            except Exception:
                _log.exception("the alarms could not be rung")
                await asyncio.sleep(1)
            await self._wait()

    async def _wait(self) -> None:
        """Sleep until an alarm is due, the clock is turned or an alarm is set."""
        while self._queue and not self._is_current(*self._queue[0]):
            heapq.heappop(self._queue)
        seconds = None
        if self._queue:
            left = (self._queue[0][0] - CLOCK.now()).total_seconds()
            seconds = min(max(left, 0.0), _LONGEST_SLEEP)
        waits = [
            asyncio.ensure_future(CLOCK.pause(seconds)),
            asyncio.ensure_future(self._changed.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._changed.clear()

    async def _ring_due(self) -> None:
        now = CLOCK.now()
        if now < self._seen - timedelta(seconds=1):
            self._set_back(now)
        self._seen = now
        rung: Counter[str] = Counter()
        while self._queue and self._queue[0][0] <= now:
            due, key = heapq.heappop(self._queue)
            if not self._is_current(due, key):
                continue
            alarm = self._alarms.pop(key)
            rung[key] += 1
            after = due
            if rung[key] == MOST_AT_ONCE:
                _log.warning(
                    "%s was due more than %d times when the clock was turned: what comes after "
                    "%s is left out",
                    key,
                    MOST_AT_ONCE,
                    due,
                )
                after = now
            self._push(key, alarm.after, alarm.ring, alarm.after(after))
            try:
                alarm.ring(due)
            except Exception:
                _log.exception("%s could not ring", key)
            await asyncio.sleep(0)

    def _set_back(self, now: datetime) -> None:
        """The clock shows an earlier time: all that comes after it is due again."""
        alarms = dict(self._alarms)
        self._alarms.clear()
        self._queue.clear()
        for key, alarm in alarms.items():
            self._push(key, alarm.after, alarm.ring, alarm.after(now))

    def _is_current(self, due: datetime, key: str) -> bool:
        return self.due(key) == due
