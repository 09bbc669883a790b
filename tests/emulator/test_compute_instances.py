"""Compute instances through the unmodified SDK."""

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import HttpResponseError

from emulator.control_client import Control
from tests.emulator.compute_resource_support import (
    MINUTE,
    ask,
    instance,
    made,
    sleeper,
    until,
    until_state,
)

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

__all__ = ["made"]


def until_size(client: "MLClient", name: str, size: str) -> None:
    deadline = time.monotonic() + 10
    while (found := client.compute.get(name).size) != size:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_an_instance_is_stopped_started_restarted_and_resized(
    ml_client: "MLClient", control: Control, made: Any
) -> None:
    created = made(instance("ci-life"))
    assert created.state == "Running"
    assert created.size == "STANDARD_DS3_V2"
    assert created.last_operation["operationName"] == "Create"
    assert ml_client.compute.begin_stop("ci-life").result() is None
    stopped = ml_client.compute.get("ci-life")
    assert stopped.state == "Stopped"
    assert stopped.last_operation["operationStatus"] == "Succeeded"
    # Stopped again it stays stopped.
    ml_client.compute.begin_stop("ci-life").result()
    assert ml_client.compute.begin_start("ci-life").result() is None
    assert ml_client.compute.get("ci-life").state == "Running"
    ml_client.compute.begin_restart("ci-life").result()
    assert ml_client.compute.get("ci-life").last_operation["operationName"] == "Restart"
    resize = {"targetVMSize": "standard_ds4_v2"}
    refused = ask(control, "POST", "ci-life/resize", resize)
    assert refused.status_code == 409
    assert "is in state Running: it cannot resize now" in refused.text
    ml_client.compute.begin_stop("ci-life").result()
    assert ask(control, "POST", "ci-life/resize", {"targetVMSize": "Huge"}).status_code == 400
    assert ask(control, "POST", "ci-life/resize", resize).status_code == 202
    until_size(ml_client, "ci-life", "Standard_DS4_v2")
    resized = ml_client.compute.get("ci-life")
    assert (resized.state, resized.last_operation["operationName"]) == ("Stopped", "Resize")
    ml_client.compute.enable_sso(name="ci-life", enable_sso=False)
    assert ml_client.compute.get("ci-life").enable_sso is False


def test_states_of_an_instance_last_as_long_as_told(
    ml_client: "MLClient", control: Control, made: Any
) -> None:
    made(instance("ci-slow"))
    control.transition("computes", mode="manual", states=["Stopping", "Starting"])
    poller = ml_client.compute.begin_stop("ci-slow")
    until_state(ml_client, "ci-slow", "Stopping")
    with pytest.raises(HttpResponseError, match="is in state Stopping: it cannot start now"):
        ml_client.compute.begin_start("ci-slow")
    control.advance_resource("computes", "ci-slow", wait=5)
    poller.result()
    assert ml_client.compute.get("ci-slow").state == "Stopped"
    control.clear_transitions()
    control.fail_next("computes", code="AllocationFailed", message="No capacity.")
    with pytest.raises(HttpResponseError, match="No capacity"):
        ml_client.compute.begin_start("ci-slow").result()
    failed = ml_client.compute.get("ci-slow")
    assert failed.state == "Stopped"
    assert failed.last_operation["operationStatus"] == "StartFailed"
    ml_client.compute.begin_start("ci-slow").result()
    assert ml_client.compute.get("ci-slow").state == "Running"


def test_jobs_run_on_an_instance_that_runs(
    ml_client: "MLClient", control: Control, made: Any
) -> None:
    made(instance("ci-works"))
    ml_client.compute.begin_stop("ci-works").result()
    with pytest.raises(HttpResponseError, match="instance ci-works is in state Stopped"):
        ml_client.jobs.create_or_update(sleeper("ci-works", 0))
    ml_client.compute.begin_start("ci-works").result()
    with pytest.raises(HttpResponseError, match="asks for 2 nodes"):
        ml_client.jobs.create_or_update(sleeper("ci-works", 0, instances=2))
    job = ml_client.jobs.create_or_update(sleeper("ci-works", 1))
    until(ml_client, job.name, "Running")
    assert ml_client.compute.get("ci-works").state == "JobRunning"
    assert until(ml_client, job.name, "Completed", "Failed") == "Completed"
    assert ml_client.compute.get("ci-works").state == "Running"


def test_an_idle_instance_stops(ml_client: "MLClient", control: Control, made: Any) -> None:
    made(instance("ci-idle", idle_time_before_shutdown_minutes=20))
    control.advance(12 * MINUTE)
    job = ml_client.jobs.create_or_update(sleeper("ci-idle", 0))
    until(ml_client, job.name, "Completed")
    control.advance(12 * MINUTE)
    time.sleep(0.3)
    assert ml_client.compute.get("ci-idle").state == "Running"
    control.advance(9 * MINUTE)
    until_state(ml_client, "ci-idle", "Stopped")
    operation = ml_client.compute.get("ci-idle").last_operation
    assert operation["operationTrigger"] == "IdleShutdown"
    answer = ask(
        control, "POST", "ci-idle/updateIdleShutdownSetting", {"idleTimeBeforeShutdown": "PT5M"}
    )
    assert answer.status_code == 400
    assert "not from 15 minutes" in answer.text
    assert (
        ask(
            control, "POST", "ci-idle/updateIdleShutdownSetting", {"idleTimeBeforeShutdown": "P1D"}
        ).status_code
        == 200
    )
    assert ml_client.compute.get("ci-idle").idle_time_before_shutdown == "P1D"


def test_schedules_start_and_stop_an_instance(
    ml_client: "MLClient", control: Control, made: Any
) -> None:
    from azure.ai.ml.entities import (
        ComputePowerAction,
        ComputeSchedules,
        ComputeStartStopSchedule,
        CronTrigger,
        RecurrencePattern,
        RecurrenceTrigger,
    )

    # The first whole minutes that are far enough away, whatever the time is now.
    stop = control.now().replace(second=0, microsecond=0) + timedelta(minutes=5)
    start = stop + timedelta(minutes=10)
    created = made(
        instance(
            "ci-office",
            schedules=ComputeSchedules(
                compute_start_stop=[
                    ComputeStartStopSchedule(
                        action=ComputePowerAction.STOP,
                        trigger=CronTrigger(
                            expression=f"{stop.minute} {stop.hour} * * *",
                            start_time="2021-03-10T21:21:07",
                        ),
                    ),
                    ComputeStartStopSchedule(
                        action=ComputePowerAction.START,
                        trigger=RecurrenceTrigger(
                            frequency="day",
                            interval=1,
                            start_time="2021-03-10T21:21:07",
                            schedule=RecurrencePattern(hours=start.hour, minutes=start.minute),
                        ),
                    ),
                ]
            ),
        )
    )
    written = created.schedules.compute_start_stop
    assert [s.action for s in written] == ["Stop", "Start"]
    assert all(s.schedule_id and s.provisioning_state == "Completed" for s in written)
    control.advance((stop - control.now()).total_seconds() + 30)
    until_state(ml_client, "ci-office", "Stopped")
    assert ml_client.compute.get("ci-office").last_operation["operationTrigger"] == "Schedule"
    control.advance(10 * MINUTE)
    until_state(ml_client, "ci-office", "Running")
