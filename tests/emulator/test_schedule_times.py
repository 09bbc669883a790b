"""When schedules are due: time zones, starts and ends, a clock that is set back."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from azure.core.exceptions import HttpResponseError

from emulator.control_client import Control
from tests.emulator.schedule_support import (
    DAY,
    after,
    command_jobs,
    daily,
    fired,
    greeting,
    greetings,
    name,
    until_due,
)

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

__all__ = ["after", "command_jobs", "name"]


def test_a_recurrence_in_a_time_zone(
    ml_client: "MLClient", control: Control, after: Callable[[float], "MLClient"], name: str
) -> None:
    from azure.ai.ml.entities import JobSchedule, RecurrencePattern, RecurrenceTrigger

    trigger = RecurrenceTrigger(
        frequency="day",
        interval=1,
        schedule=RecurrencePattern(hours=[10], minutes=[0, 30]),
        start_time="2022-05-10T10:15:00",
        time_zone="India Standard Time",  # half past five hours ahead, all the year
    )
    schedule = JobSchedule(name=name, trigger=trigger, create_job=greetings("recurrence"))
    made = ml_client.schedules.begin_create_or_update(schedule).result()
    assert (made.trigger.frequency, made.trigger.schedule.hours) == ("day", [10])
    assert made.trigger.time_zone == "India Standard Time"
    jobs = fired(after(until_due(control, 5, 0)), name, 2)
    assert {job.display_name[-7:] for job in jobs} <= {"043000Z", "050000Z"}
    assert jobs[-1].display_name.endswith("T050000Z")


def test_without_a_start_the_first_job_runs_at_once(ml_client: "MLClient", name: str) -> None:
    made = ml_client.schedules.begin_create_or_update(
        daily(name, greeting(), start_time=None, time_zone="Tokyo Standard Time")
    ).result()
    start = datetime.fromisoformat(str(made.trigger.start_time))
    (job,) = fired(ml_client, name)
    first = datetime.strptime(job.display_name.removeprefix(f"{name}-"), "%Y%m%dT%H%M%SZ")
    assert start - first == timedelta(hours=9)
    # A change of it, and the same sent again, are no new start.
    ml_client.schedules.begin_disable(name).result()
    ml_client.schedules.begin_create_or_update(daily(name, greeting(), start_time=None)).result()
    assert len(fired(ml_client, name, 0)) == 1


def test_an_end(
    ml_client: "MLClient", control: Control, after: Callable[[float], "MLClient"], name: str
) -> None:
    end = (control.now() + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%S")
    ml_client.schedules.begin_create_or_update(daily(name, greeting(), end_time=end)).result()
    later = after(5 * DAY)
    assert len(fired(later, name, 2)) == 2
    with pytest.raises(HttpResponseError, match="endTime"):
        later.schedules.begin_create_or_update(
            daily(f"{name}-past", greeting(), end_time="2021-01-01T00:00:00")
        ).result()


def test_the_clock_is_set_back(
    ml_client: "MLClient", control: Control, after: Callable[[float], "MLClient"], name: str
) -> None:
    ml_client.schedules.begin_create_or_update(daily(name, greeting())).result()
    assert len(fired(after(DAY), name)) == 1
    control.clear_clock()
    # The same day comes again, but its job has run.
    assert len(fired(after(DAY), name)) == 1
    assert len(fired(after(DAY), name, 2)) == 2


def test_a_schedule_of_the_future_is_due_when_the_clock_is_set_back(
    control: Control, after: Callable[[float], "MLClient"], name: str
) -> None:
    ahead = after(10 * DAY)
    ahead.schedules.begin_create_or_update(daily(name, greeting())).result()
    control.clear_clock()
    (job,) = fired(after(until_due(control)), name)
    assert job.display_name == f"{name}-{control.now():%Y%m%d}T101500Z"
