"""Schedules through the unmodified SDK: they fire when the emulator's clock is turned."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import requests
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from emulator.control_client import Control
from tests.emulator.running import RunningEmulator

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import Command, JobSchedule, PipelineJob

DAY = 86400.0
YESTERDAY = "2020-01-01T00:00:00"
"""A start in the past: nothing runs before the next due time."""


@pytest.fixture(autouse=True)
def command_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK schedules command jobs only where its preview features are on."""
    monkeypatch.setenv("AZURE_ML_CLI_PRIVATE_FEATURES_ENABLED", "true")


def client(environment: dict[str, str]) -> "MLClient":
    """A client of its own: tokens of an hour end when the clock is turned by more."""
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    return MLClient(
        DefaultAzureCredential(),
        environment["AZUREML_SUBSCRIPTION_ID"],
        environment["AZUREML_RESOURCE_GROUP"],
        environment["AZUREML_WORKSPACE_NAME"],
    )


@pytest.fixture
def after(emulator: RunningEmulator, control: Control) -> Callable[[float], "MLClient"]:
    """Turn the clock by so many seconds; gives a client that signed in after that."""

    def turn(seconds: float) -> "MLClient":
        control.advance(seconds)
        return client(emulator.environment)

    return turn


@pytest.fixture
def name(request: pytest.FixtureRequest, emulator: RunningEmulator) -> Iterator[str]:
    """A schedule's name; the schedule is gone after the test."""
    name = request.node.name.replace("test_", "").replace("[", "-").strip("]")
    yield name
    schedules = client(emulator.environment).schedules
    if name in [schedule.name for schedule in schedules.list(list_view_type="All")]:
        schedules.begin_disable(name).result()
        schedules.begin_delete(name).result()


def greeting(**inputs: str) -> "Command":
    from azure.ai.ml import command
    from azure.ai.ml.entities import Environment

    return command(
        command=f"echo hello {' '.join(f'${{{{inputs.{key}}}}}' for key in inputs)}",
        environment=Environment(image="example.test/any"),
        compute="serverless",
        inputs=inputs,
    )


def greetings(text: str, experiment: str = "scheduled") -> "PipelineJob":
    from azure.ai.ml import dsl

    def hello(text: str) -> None:
        greeting(text="nobody")(text=text)

    build: Any = dsl.pipeline(hello, default_compute="serverless", experiment_name=experiment)
    job: PipelineJob = build(text=text)
    return job


def daily(name: str, job: Any, **trigger: Any) -> "JobSchedule":
    """A schedule that is due every day at a quarter past ten."""
    from azure.ai.ml.entities import CronTrigger, JobSchedule

    options: dict[str, Any] = {"expression": "15 10 * * *", "start_time": YESTERDAY, **trigger}
    return JobSchedule(name=name, trigger=CronTrigger(**options), create_job=job)


def until_due(control: Control, hour: int = 10, minute: int = 15) -> float:
    """Seconds until a minute after the next such time of the day."""
    now = control.now()
    due = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    due += timedelta(days=1) if due <= now else timedelta()
    return (due - now).total_seconds() + 60


def fired(client: "MLClient", name: str, count: int = 1) -> list[Any]:
    """The jobs that a schedule started, the oldest first, when there are so many."""
    deadline = time.monotonic() + 10
    while True:
        jobs = [j for j in client.jobs.list() if (j.display_name or "").startswith(f"{name}-")]
        if len(jobs) >= count or time.monotonic() > deadline:
            return sorted(jobs, key=lambda job: str(job.display_name))
        time.sleep(0.1)


def ended(client: "MLClient", name: str) -> str:
    deadline = time.monotonic() + 60
    while (status := client.jobs.get(name).status) not in ("Completed", "Failed"):
        assert time.monotonic() < deadline, status
        time.sleep(0.2)
    return str(status.value)


def test_a_schedule_fires_a_job_each_day(
    ml_client: "MLClient", control: Control, after: Callable[[float], "MLClient"], name: str
) -> None:
    created = ml_client.schedules.begin_create_or_update(daily(name, greeting(who="you"))).result()
    assert created.is_enabled
    assert created.provisioning_state == "Succeeded"
    assert fired(ml_client, name, 0) == []

    tomorrow = after(until_due(control))
    (job,) = fired(tomorrow, name)
    assert job.display_name == f"{name}-{control.now():%Y%m%d}T101500Z"
    assert ended(tomorrow, job.name) == "Completed"

    later = after(3 * DAY)
    days = [j.display_name for j in fired(later, name, 4)]
    assert days == [
        f"{name}-{control.now() - timedelta(days=back):%Y%m%d}T101500Z" for back in (3, 2, 1, 0)
    ]


def test_a_disabled_schedule_does_not_fire(
    ml_client: "MLClient", control: Control, after: Callable[[float], "MLClient"], name: str
) -> None:
    ml_client.schedules.begin_create_or_update(daily(name, greeting())).result()
    disabled = ml_client.schedules.begin_disable(name).result()
    assert not disabled.is_enabled

    def listed(view: str) -> bool:
        return name in [s.name for s in ml_client.schedules.list(list_view_type=view)]

    assert (listed("EnabledOnly"), listed("DisabledOnly"), listed("All")) == (False, True, True)
    later = after(until_due(control))
    assert fired(later, name, 0) == []
    enabled = later.schedules.begin_enable(name).result()
    assert enabled.is_enabled
    # What passed while it was disabled is left out.
    assert fired(later, name, 0) == []
    assert len(fired(after(DAY), name)) == 1


def test_only_a_disabled_schedule_is_deleted(ml_client: "MLClient", name: str) -> None:
    ml_client.schedules.begin_create_or_update(daily(name, greeting())).result()
    with pytest.raises(HttpResponseError, match="Cannot delete an active trigger"):
        ml_client.schedules.begin_delete(name).result()
    assert ml_client.schedules.get(name).is_enabled
    ml_client.schedules.begin_disable(name).result()
    ml_client.schedules.begin_delete(name).result()
    with pytest.raises(ResourceNotFoundError, match=f"Resource Trigger {name} not found"):
        ml_client.schedules.get(name)


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


def test_expressions_of_a_schedule(
    ml_client: "MLClient", control: Control, after: Callable[[float], "MLClient"], name: str
) -> None:
    job = greetings("${{creation_context.trigger_time}}", experiment="by-the-clock")
    ml_client.schedules.begin_create_or_update(daily(name, job)).result()
    later = after(until_due(control))
    (started,) = fired(later, name)
    assert ended(later, started.name) == "Completed"
    found = later.jobs.get(started.name)
    assert found.inputs["text"]._data == f"{control.now():%Y-%m-%d}T10:15:00Z"
    assert found.experiment_name == "by-the-clock"
    assert found.properties["azureml.scheduleId"] == name


def test_a_job_that_exists_is_repeated(
    ml_client: "MLClient", control: Control, after: Callable[[float], "MLClient"], name: str
) -> None:
    source = ml_client.jobs.create_or_update(greetings("the source", experiment="again"))
    assert ended(ml_client, str(source.name)) == "Completed"
    made = ml_client.schedules.begin_create_or_update(daily(name, str(source.id))).result()
    assert made.create_job.id == source.id
    later = after(until_due(control))
    (job,) = fired(later, name)
    assert ended(later, job.name) == "Completed"
    repeated = later.jobs.get(job.name)
    assert repeated.name != source.name
    assert repeated.experiment_name == "again"
    assert repeated.inputs["text"]._data == "the source"


def test_triggered_once(ml_client: "MLClient", name: str) -> None:
    ml_client.schedules.begin_create_or_update(daily(name, greeting())).result()
    result = ml_client.schedules.trigger(name, schedule_time="2024-02-19T00:00:00")
    job = ml_client.jobs.get(result.job_name)
    assert job.display_name == f"{name}-20240219T000000Z"
    assert result.schedule_action_type == "CreateJob"
    again = ml_client.schedules.trigger(name, schedule_time="2024-02-19T00:00:00")
    assert again.job_name != result.job_name


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


def test_a_job_that_cannot_start_is_a_failed_job(
    ml_client: "MLClient", after: Callable[[float], "MLClient"], name: str
) -> None:
    job = greeting()
    job.compute = "not-yet-there"
    ml_client.schedules.begin_create_or_update(daily(name, job)).result()
    later = after(DAY)
    (failed,) = fired(later, name)
    assert failed.status == "Failed"
    with pytest.raises(Exception, match="compute target not-yet-there does not exist"):
        later.jobs.stream(failed.name)


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


def put(control: Control, name: str, properties: dict[str, Any]) -> requests.Response:
    from azure.identity import DefaultAzureCredential

    token = DefaultAzureCredential().get_token("https://management.azure.com/.default").token
    url = f"https://management.azure.com{control.config.workspace_path}/schedules/{name}"
    return requests.put(
        f"{url}?api-version=2023-06-01-preview",
        json={"properties": properties},
        headers={"Authorization": f"Bearer {token}"},
        timeout=10,
    )


JOB = {
    "jobType": "Command",
    "command": "true",
    "environmentId": "azureml:e:1",
    "computeId": "local",
}
CRON = {"triggerType": "Cron", "expression": "0 * * * *", "startTime": YESTERDAY}


@pytest.mark.parametrize(
    ("changes", "status", "problem"),
    [
        ({"action": {"actionType": "CreateMonitor"}}, 501, "CreateMonitor"),
        ({"action": {"actionType": "ImportData"}}, 501, "ImportData"),
        ({"action": {"actionType": "CreateJob"}}, 400, "jobDefinition"),
        ({"trigger": {**CRON, "expression": "every day"}}, 400, "expression"),
        ({"trigger": {**CRON, "timeZone": "Mars"}}, 400, "time zone 'Mars'"),
        (
            {"action": {"actionType": "CreateJob", "jobDefinition": {"jobType": "Spark"}}},
            501,
            "Spark",
        ),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(
    control: Control, changes: dict[str, Any], status: int, problem: str
) -> None:
    whole = {"trigger": CRON, "action": {"actionType": "CreateJob", "jobDefinition": JOB}}
    answer = put(control, "refused", {**whole, **changes})
    assert answer.status_code == status
    assert problem in answer.json()["error"]["message"]
