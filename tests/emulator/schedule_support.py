"""Schedules for tests: made, fired by the emulator's clock, gone after the test."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

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
        jobs = list(client.jobs.list(scheduled_job_name=name))
        if len(jobs) >= count or time.monotonic() > deadline:
            return sorted(jobs, key=lambda job: str(job.display_name))
        time.sleep(0.1)


def ended(client: "MLClient", name: str) -> str:
    deadline = time.monotonic() + 60
    while (status := client.jobs.get(name).status) not in ("Completed", "Failed"):
        assert time.monotonic() < deadline, status
        time.sleep(0.2)
    return str(status.value)
