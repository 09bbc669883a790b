"""When schedules are due: cron and recurrence triggers in the time zones of Windows."""

from datetime import UTC, datetime
from typing import Any

import pytest
from azure.ai.ml.constants import TimeZone

from emulator.http import AzureError
from emulator.scheduling.timezones import find_zone
from emulator.scheduling.triggers import read_trigger, spelt

SPRING = datetime(2026, 3, 28, 9, tzinfo=UTC)
"""The day before Europe's clocks go forward."""

AUTUMN = datetime(2026, 10, 24, 9, tzinfo=UTC)
"""The day before they go back."""


def times(count: int, trigger: dict[str, Any], now: datetime = SPRING) -> list[str]:
    """The next due times in UTC, `MM-DD hh:mm[:ss]`."""
    read, due, found = read_trigger(trigger, now), now, []
    for _ in range(count):
        moment = read.after(due)
        if moment is None:
            break
        due = moment
        found.append(f"{due:%m-%d %H:%M}" + (f":{due:%S}" if due.second else ""))
    return found


def cron(expression: str, **more: str) -> dict[str, Any]:
    return {"triggerType": "Cron", "expression": expression, **more}


def every(interval: int, frequency: str, **more: Any) -> dict[str, Any]:
    return {"triggerType": "Recurrence", "frequency": frequency, "interval": interval, **more}


@pytest.mark.parametrize(
    ("expression", "due"),
    [
        ("15 10 * * 1", ["03-30 10:15", "04-06 10:15"]),
        ("*/20 * * * *", ["03-28 09:20", "03-28 09:40", "03-28 10:00"]),
        ("0 8-10 * * SAT,SUN", ["03-28 10:00", "03-29 08:00"]),
        # The service takes days and months for '*'.
        ("0 12 13 2 *", ["03-28 12:00", "03-29 12:00"]),
    ],
)
def test_cron(expression: str, due: list[str]) -> None:
    assert times(len(due), cron(expression)) == due


def test_cron_in_a_time_zone() -> None:
    eastern = cron("15 10 * * *", timeZone="Eastern Standard Time")
    assert times(2, eastern, datetime(2026, 1, 5, tzinfo=UTC)) == ["01-05 15:15", "01-06 15:15"]
    assert times(1, eastern, datetime(2026, 7, 5, tzinfo=UTC)) == ["07-05 14:15"]


@pytest.mark.parametrize(
    "trigger",
    [
        cron("30 2 * * *", timeZone="W. Europe Standard Time"),
        every(
            1, "Day", timeZone="W. Europe Standard Time", schedule={"hours": [2], "minutes": [30]}
        ),
    ],
)
def test_clocks_on_the_wall_are_turned(trigger: dict[str, Any]) -> None:
    # There is no half past two on the 29th of March: the service's day does not lose its job.
    skipped, *others = times(3, trigger, SPRING)
    assert skipped in ("03-29 01:00", "03-29 01:30")
    assert others == ["03-30 00:30", "03-31 00:30"]
    # And on the 25th of October there are two of them: one is enough.
    assert times(2, trigger, AUTUMN) == ["10-25 00:30", "10-26 01:30"]


@pytest.mark.parametrize(
    ("trigger", "due"),
    [
        (every(7, "Minute", startTime="2022-02-10 10:15:03"), ["03-28 09:02:03", "03-28 09:09:03"]),
        (every(5, "Hour", startTime="2026-03-27T23:30:00"), ["03-28 09:30", "03-28 14:30"]),
        (
            every(2, "hour", startTime="2026-03-28 00:15", schedule={"minutes": [0, 30]}),
            ["03-28 10:00", "03-28 10:30", "03-28 12:00"],
        ),
        (
            every(1, "day", startTime="2022-05-10 10:15", timeZone="Pacific Standard Time"),
            ["03-28 17:15", "03-29 17:15"],
        ),
        (
            every(1, "day", schedule={"hours": [4, 10], "minutes": [0, 30]}),
            ["03-28 10:00", "03-28 10:30", "03-29 04:00"],
        ),
        (every(3, "day", startTime="2026-03-27 08:00"), ["03-30 08:00", "04-02 08:00"]),
        (every(1, "week", startTime="2022-05-10 10:15"), ["03-31 10:15", "04-07 10:15"]),
        (
            every(
                2,
                "Week",
                startTime="2026-03-16 00:00",
                schedule={"hours": [10], "minutes": [15], "weekDays": ["Sunday", "monday"]},
            ),
            ["03-30 10:15", "04-05 10:15", "04-13 10:15"],
        ),
        (every(1, "Month", startTime="2022-05-31 10:15"), ["03-31 10:15", "05-31 10:15"]),
        (
            every(1, "month", schedule={"hours": [4], "minutes": [0], "monthDays": [1, 15]}),
            ["04-01 04:00", "04-15 04:00"],
        ),
    ],
)
def test_recurrence(trigger: dict[str, Any], due: list[str]) -> None:
    assert times(len(due), trigger) == due


def test_a_start_and_an_end() -> None:
    bounded = every(1, "day", startTime="2026-04-24T02:30:00", endTime="2026-04-26T02:30:00")
    assert times(9, bounded) == ["04-24 02:30", "04-25 02:30", "04-26 02:30"]
    assert times(
        9, cron("0 * * * *", startTime="2026-03-28 11:00", endTime="2026-03-28 12:59")
    ) == [
        "03-28 11:00",
        "03-28 12:00",
    ]


def test_a_trigger_that_is_never_due_ends() -> None:
    never = every(12, "month", startTime="2026-02-01", schedule={"hours": [1], "monthDays": [31]})
    assert times(1, never) == []
    apart = every(1440, "minute", startTime="2026-02-01T10:00:00", schedule={"hours": [3]})
    assert times(1, apart) == []


def test_words_are_spelt_as_the_service_does() -> None:
    written = every(1, "week", schedule={"hours": [1], "minutes": [2], "weekDays": ["monday"]})
    shown = spelt(written)
    assert shown["frequency"] == "Week"
    assert shown["schedule"] == {"hours": [1], "minutes": [2], "weekDays": ["Monday"]}
    assert times(2, shown) == times(2, written) == ["03-30 01:02", "04-06 01:02"]


@pytest.mark.parametrize("zone", list(TimeZone))
def test_every_time_zone_of_the_sdk_is_known(zone: TimeZone) -> None:
    assert find_zone(zone.value).utcoffset(datetime(2026, 1, 1)) is not None


@pytest.mark.parametrize(
    ("trigger", "problem"),
    [
        (cron("0 10 * *"), "five fields"),
        (cron("61 10 * * *"), "'61 10 . . .' is no cron expression: Bad minute"),
        (cron("0 10 40 * *"), "Bad day-of-month"),
        (cron("0 * * * *", timeZone="Mars Standard Time"), "time zone 'Mars Standard Time'"),
        (cron("0 * * * *", timeZone="../../etc/passwd"), "is not known"),
        (cron("0 * * * *", startTime="soon"), "startTime: 'soon'"),
        (cron("0 * * * *", startTime="9999-12-31T23:59:59"), "startTime"),
        (every(1, "fortnight"), "frequency: 'fortnight'"),
        (every(0, "day"), "interval: '0'"),
        (every(1, "day", schedule={"hours": [24]}), "schedule.hours: '24' is not a number from 0"),
        (every(1, "week", schedule={"weekDays": ["Funday"]}), "'funday' is no day of the week"),
        ({"triggerType": "Full moon"}, "triggerType: 'Full moon'"),
    ],
)
def test_a_bad_trigger_is_refused_by_the_name_of_its_field(
    trigger: dict[str, Any], problem: str
) -> None:
    with pytest.raises(AzureError, match=problem) as caught:
        read_trigger(trigger, SPRING)
    assert caught.value.status == 400
