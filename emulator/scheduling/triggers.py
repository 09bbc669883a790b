"""Cron and recurrence triggers: the times at which a schedule is due.

Their times are wall clock times of the trigger's time zone. A wall clock time that a change to
summer time skips counts as the same time after it; one that comes twice counts once.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from dateutil import rrule, tz

from emulator.http import AzureError
from emulator.scheduling.timezones import find_zone

_FREQUENCIES: dict[str, Literal[0, 1, 2, 3, 4, 5, 6]] = {
    "minute": rrule.MINUTELY,
    "hour": rrule.HOURLY,
    "day": rrule.DAILY,
    "week": rrule.WEEKLY,
    "month": rrule.MONTHLY,
}
_LENGTHS = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_HORIZON = timedelta(days=366 * 30)
"""A trigger that is not due within it is never due: the 31st of every second February."""


class _Pattern(Protocol):
    def after(self, moment: datetime) -> datetime | None:
        """The first due time after a moment, both in UTC."""


@dataclass(frozen=True)
class Trigger:
    """When a schedule is due, between its start and its end; all times in UTC."""

    pattern: _Pattern
    start: datetime | None
    end: datetime | None

    def after(self, moment: datetime) -> datetime | None:
        """The first due time after a moment; None when there is none any more."""
        if self.start is not None and moment < self.start:
            moment = self.start - timedelta(microseconds=1)
        due = self.pattern.after(moment)
        return None if due is None or (self.end is not None and due > self.end) else due


@dataclass(frozen=True)
class _Cron:
    expression: str
    zone: ZoneInfo

    def after(self, moment: datetime) -> datetime | None:
        try:
            return next(CronSim(self.expression, moment.astimezone(self.zone))).astimezone(UTC)
        except (StopIteration, OverflowError):
            return None


@dataclass(frozen=True)
class _Recurrence:
    """Every `interval` minutes, hours, days, weeks or months from `start` on."""

    frequency: str
    interval: int
    start: datetime
    """In the trigger's time zone."""
    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    weekdays: tuple[int, ...]
    """0 is Monday."""
    month_days: tuple[int, ...]

    def after(self, moment: datetime) -> datetime | None:
        if self._is_plain:
            step = _LENGTHS[self.frequency] * self.interval
            return self.start.astimezone(UTC) + step * self._steps(moment, step)
        with suppress(ValueError):  # hours and an interval that never meet
            for wall in self._walls(moment):
                due = tz.resolve_imaginary(wall.replace(tzinfo=self.start.tzinfo)).astimezone(UTC)
                if due > moment:
                    return due
        return None

    @property
    def _is_plain(self) -> bool:
        """Whether it is an interval of so many minutes, whatever the clocks on the wall show."""
        return self.frequency in ("minute", "hour") and not (
            self.hours or self.minutes or self.weekdays or self.month_days
        )

    def _steps(self, moment: datetime, step: timedelta) -> int:
        """How many whole steps lead from the start to the first time after a moment."""
        return max(0, (moment - self.start.astimezone(UTC)) // step + 1)

    def _walls(self, moment: datetime) -> Iterator[datetime]:
        """Wall clock times in their order, from a little before the moment on."""
        start = self.start.replace(tzinfo=None)
        # Two days: clocks on a wall are turned by hours, and weeks begin in the middle of one.
        before = moment.astimezone(self.start.tzinfo).replace(tzinfo=None) - timedelta(days=2)
        patterned = bool(self.hours or self.minutes)
        weekly = self.frequency == "week" and not self.weekdays
        monthly = self.frequency == "month" and not (self.weekdays or self.month_days)
        yield from rrule.rrule(
            _FREQUENCIES[self.frequency],
            dtstart=self._aligned(start, before),
            interval=self.interval,
            byhour=self.hours or self._of_start("hour", start, patterned),
            byminute=self.minutes or self._of_start("minute", start, patterned),
            bysecond=0 if patterned else start.second,
            byweekday=start.weekday() if weekly else self.weekdays or None,
            bymonthday=start.day if monthly else self.month_days or None,
            until=max(start, before) + _HORIZON,
        ).xafter(max(start, before), inc=True)

    def _of_start(self, unit: str, start: datetime, patterned: bool) -> int | None:
        """The hour or minute that a pattern leaves open: of a whole day, the start's."""
        if self.frequency == unit or self.frequency == "minute":
            return None
        if unit == "hour" and self.frequency == "hour":
            return None
        if patterned and unit == "minute":
            return 0
        return int(getattr(start, unit))

    def _aligned(self, start: datetime, before: datetime) -> datetime:
        """A start of one of the periods, near to the moment: counting begins there."""
        if self.frequency == "month":
            first = start.replace(day=1)
            months = (before.year - first.year) * 12 + before.month - first.month
            months = max(0, months // self.interval * self.interval)
            year, month = divmod(first.year * 12 + first.month - 1 + months, 12)
            return first.replace(year=year, month=month + 1)
        step = _LENGTHS[self.frequency] * self.interval
        return start + step * max(0, (before - start) // step)


def spelt(body: Mapping[str, Any]) -> dict[str, Any]:
    """A trigger with its words as the service spells them: Day, Monday."""
    trigger = dict(body)
    if isinstance(frequency := trigger.get("frequency"), str):
        trigger["frequency"] = frequency.capitalize()
    schedule = trigger.get("schedule")
    if isinstance(schedule, dict) and schedule.get("weekDays"):
        days = [str(day).capitalize() for day in schedule["weekDays"]]
        trigger["schedule"] = {**schedule, "weekDays": days}
    return trigger


def read_trigger(body: Mapping[str, Any], created: datetime) -> Trigger:
    """The trigger of a schedule that was created then. AzureError 400 for one that is none."""
    zone = find_zone(str(body.get("timeZone") or "UTC"))
    start = _moment(body.get("startTime"), "startTime", zone)
    end = _moment(body.get("endTime"), "endTime", zone)
    kind = str(body.get("triggerType") or "").lower()
    if kind == "cron":
        pattern: _Pattern = _cron(str(body.get("expression") or ""), zone)
    elif kind == "recurrence":
        pattern = _recurrence(body, start or created.astimezone(zone))
    else:
        raise _error(f"triggerType: '{body.get('triggerType')}' is neither Cron nor Recurrence")
    return Trigger(pattern, _in_utc(start), _in_utc(end))


def _cron(expression: str, zone: ZoneInfo) -> _Cron:
    """A cron expression of five fields: minutes, hours, days, months, days of the week."""
    fields = expression.split()
    if len(fields) != 5:
        raise _error(
            f"expression: '{expression}' is not MINUTES HOURS DAYS MONTHS DAYS-OF-WEEK, five fields"
        )
    # The service takes days and months for '*', whatever they are.
    effective = " ".join([*fields[:2], "*", "*", fields[4]])
    try:
        CronSim(effective, datetime.now(UTC))
        CronSim(expression, datetime.now(UTC))
    except CronSimError as error:
        raise _error(f"expression: '{expression}' is no cron expression: {error}") from error
    return _Cron(effective, zone)


def _recurrence(body: Mapping[str, Any], start: datetime) -> _Recurrence:
    frequency = str(body.get("frequency") or "").lower()
    if frequency not in _FREQUENCIES:
        raise _error(
            f"frequency: '{body.get('frequency')}' is none of {', '.join(sorted(_FREQUENCIES))}"
        )
    interval = body.get("interval")
    if not isinstance(interval, int) or isinstance(interval, bool) or not 1 <= interval <= 100_000:
        raise _error(f"interval: '{interval}' is not a number from 1 on")
    schedule = body.get("schedule") or {}
    weekdays = [str(day).lower() for day in schedule.get("weekDays") or []]
    if unknown := [day for day in weekdays if day not in _WEEKDAYS]:
        raise _error(f"schedule.weekDays: '{unknown[0]}' is no day of the week")
    return _Recurrence(
        frequency,
        interval,
        start,
        _numbers(schedule, "hours", 0, 23),
        _numbers(schedule, "minutes", 0, 59),
        tuple(sorted({_WEEKDAYS.index(day) for day in weekdays})),
        _numbers(schedule, "monthDays", 1, 31),
    )


def _numbers(schedule: Mapping[str, Any], name: str, low: int, high: int) -> tuple[int, ...]:
    values = schedule.get(name) or []
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _error(f"schedule.{name}: '{value}' is not a number from {low} to {high}")
    return tuple(sorted(set(values)))


def _moment(text: Any, name: str, zone: ZoneInfo) -> datetime | None:
    """A time of the trigger's time zone, if it does not name another."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(str(text))
        moment = moment if moment.tzinfo else moment.replace(tzinfo=zone)
        moment.astimezone(UTC) + _HORIZON  # dates end somewhere
    except (ValueError, OverflowError) as error:
        raise _error(f"{name}: '{text}' is no date and time such as 2026-06-01T00:00:01") from error
    return moment.astimezone(zone)


def _in_utc(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment else None


def _error(problem: str) -> AzureError:
    return AzureError(400, "UserError", f"The schedule's trigger is invalid. {problem}.")
