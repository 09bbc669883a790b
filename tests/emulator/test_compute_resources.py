"""Compute clusters and instances through the unmodified SDK."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import requests
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from emulator.control_client import Control

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import AmlCompute, Command, ComputeInstance

MINUTE = 60.0


def cluster(name: str, **options: Any) -> "AmlCompute":
    from azure.ai.ml.entities import AmlCompute

    settings: dict[str, Any] = {"size": "STANDARD_DS3_v2", "max_instances": 4, **options}
    return AmlCompute(name=name, **settings)


def instance(name: str, **options: Any) -> "ComputeInstance":
    from azure.ai.ml.entities import ComputeInstance

    return ComputeInstance(name=name, **options)


@pytest.fixture
def made(ml_client: "MLClient") -> Iterator[Any]:
    """Creates computes that are gone after the test."""
    names: list[str] = []

    def make(compute: Any) -> Any:
        names.append(compute.name)
        return ml_client.compute.begin_create_or_update(compute).result()

    yield make
    for name in names:
        ml_client.compute.begin_delete(name).wait()


def ask(control: Control, method: str, path: str, body: Any = None) -> requests.Response:
    """What the SDK does not ask for, or hides."""
    from azure.identity import DefaultAzureCredential

    token = DefaultAzureCredential().get_token("https://management.azure.com/.default").token
    url = f"https://management.azure.com{control.config.workspace_path}/computes/{path}"
    return requests.request(
        method,
        f"{url}?api-version=2023-08-01-preview",
        json=body,
        headers={"Authorization": f"Bearer {token}"},
        timeout=10,
    )


def details(control: Control, name: str) -> dict[str, Any]:
    found: dict[str, Any] = ask(control, "GET", name).json()["properties"]["properties"]
    return found


def nodes(control: Control, name: str) -> tuple[int, int]:
    """How many nodes of a cluster work and wait."""
    shown = details(control, name)
    counts = shown["nodeStateCounts"]
    assert shown["currentNodeCount"] == counts["runningNodeCount"] + counts["idleNodeCount"]
    return counts["runningNodeCount"], counts["idleNodeCount"]


def sleeper(compute: str, seconds: float, instances: int = 1) -> "Command":
    from azure.ai.ml import command
    from azure.ai.ml.entities import Environment

    return command(
        command=f"sleep {seconds}",
        environment=Environment(image="example.test/any"),
        compute=compute,
        instance_count=instances,
    )


def until(client: "MLClient", job: str, *statuses: str) -> str:
    deadline = time.monotonic() + 60
    while (status := client.jobs.get(job).status) not in statuses:
        assert time.monotonic() < deadline, status
        time.sleep(0.05)
    return str(status.value)


def until_state(client: "MLClient", name: str, state: str) -> None:
    deadline = time.monotonic() + 10
    while (found := client.compute.get(name).state) != state:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_a_cluster_is_created_changed_listed_and_deleted(
    ml_client: "MLClient", control: Control
) -> None:
    from azure.ai.ml.entities import AmlComputeSshSettings

    wanted = cluster(
        "whole-life",
        idle_time_before_scale_down=100,
        tags={"team": "a"},
        ssh_public_access_enabled=True,
        ssh_settings=AmlComputeSshSettings(admin_username="azureuser", admin_password="secret-1"),
    )
    made = ml_client.compute.begin_create_or_update(wanted).result()
    assert (made.tier, made.min_instances, made.max_instances) == ("dedicated", 0, 4)
    assert made.ssh_settings.admin_username == "azureuser"
    assert "secret-1" not in ask(control, "GET", "whole-life").text
    made.idle_time_before_scale_down = 200
    made.max_instances = 2
    ml_client.compute.begin_update(made).result()
    changed = ml_client.compute.get("whole-life")
    assert (changed.idle_time_before_scale_down, changed.max_instances) == (200, 2)
    assert changed.created_on == made.created_on
    answer = ask(
        control,
        "PATCH",
        "whole-life",
        {"properties": {"properties": {"scaleSettings": {"maxNodeCount": 3}}}},
    )
    assert answer.status_code == 200
    assert ml_client.compute.get("whole-life").max_instances == 3
    assert "whole-life" in [c.name for c in ml_client.compute.list(compute_type="amlcompute")]
    assert "whole-life" not in [
        c.name for c in ml_client.compute.list(compute_type="computeinstance")
    ]
    with pytest.raises(HttpResponseError, match="Detach is not supported"):
        ml_client.compute.begin_delete("whole-life", action="Detach").result()
    ml_client.compute.begin_delete("whole-life").result()
    with pytest.raises(ResourceNotFoundError, match="Compute with name whole-life was not found"):
        ml_client.compute.get("whole-life")


def test_nodes_follow_the_jobs(ml_client: "MLClient", control: Control, made: Any) -> None:
    made(cluster("follows", idle_time_before_scale_down=120))
    assert nodes(control, "follows") == (0, 0)
    job = ml_client.jobs.create_or_update(sleeper("follows", 1.5, instances=2))
    until(ml_client, job.name, "Running")
    assert nodes(control, "follows") == (2, 0)
    listed = [vars(node) for node in ml_client.compute.list_nodes("follows")]
    assert [node["nodeState"] for node in listed] == ["running", "running"]
    assert [node["runId"] for node in listed] == [job.name, job.name]
    assert until(ml_client, job.name, "Completed", "Failed") == "Completed"
    assert nodes(control, "follows") == (0, 2)
    assert {vars(n)["nodeState"] for n in ml_client.compute.list_nodes("follows")} == {"idle"}
    # A node that waits is used again.
    again = ml_client.jobs.create_or_update(sleeper("follows", 0.5))
    until(ml_client, again.name, "Running")
    assert nodes(control, "follows") == (1, 1)
    until(ml_client, again.name, "Completed")
    control.advance(100)
    assert nodes(control, "follows") == (0, 2)
    control.advance(30)
    assert nodes(control, "follows") == (0, 0)


def test_the_least_nodes_stay(control: Control, made: Any) -> None:
    made(cluster("has-two", min_instances=2))
    assert nodes(control, "has-two") == (0, 2)
    control.advance(30 * MINUTE)
    assert nodes(control, "has-two") == (0, 2)


def test_an_instance_is_stopped_started_and_restarted(ml_client: "MLClient", made: Any) -> None:
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


@pytest.mark.parametrize(
    ("body", "name", "status", "problem"),
    [
        ({"computeType": "VirtualMachine"}, "other", 501, "type 'VirtualMachine'"),
        ({"computeType": "Kubernetes"}, "other", 501, "type 'Kubernetes'"),
        ({"computeType": "SynapseSpark"}, "other", 501, "type 'SynapseSpark'"),
        ({"computeType": "AmlCompute"}, "9lives", 400, "name '9lives' is invalid: 2 to 32"),
        ({"computeType": "ComputeInstance"}, "ci", 400, "name 'ci' is invalid: 3 to 24"),
        ({"computeType": "AmlCompute", "properties": {"vmSize": "Huge"}}, "c1", 400, "size 'Huge'"),
        (
            {
                "computeType": "AmlCompute",
                "properties": {
                    "vmSize": "Standard_DS3_v2",
                    "scaleSettings": {"minNodeCount": 3, "maxNodeCount": 2},
                },
            },
            "upside-down",
            400,
            "minNodeCount 3 and maxNodeCount 2",
        ),
        (
            {
                "computeType": "ComputeInstance",
                "properties": {"vmSize": "Standard_DS3_v2", "idleTimeBeforeShutdown": "PT1M"},
            },
            "hurried",
            400,
            "idleTimeBeforeShutdown: PT1M is not from 15 minutes",
        ),
    ],
)
def test_a_compute_that_cannot_be_is_refused(
    control: Control, body: dict[str, Any], name: str, status: int, problem: str
) -> None:
    answer = ask(control, "PUT", name, {"location": "eastus", "properties": body})
    assert answer.status_code == status
    assert problem in answer.json()["error"]["message"]
    assert ask(control, "GET", name).status_code == 404


def test_what_a_compute_cannot_change(ml_client: "MLClient", made: Any) -> None:
    made(cluster("fixed"))
    with pytest.raises(HttpResponseError, match="cannot be changed from STANDARD_DS3_v2"):
        ml_client.compute.begin_create_or_update(cluster("fixed", size="Standard_DS4_v2"))
    with pytest.raises(HttpResponseError, match="type AmlCompute with the name fixed exists"):
        ml_client.compute.begin_create_or_update(instance("fixed"))
    with pytest.raises(HttpResponseError, match="Stop is not supported for compute fixed"):
        ml_client.compute.begin_stop("fixed")


def test_sizes_and_usage(ml_client: "MLClient", control: Control, made: Any) -> None:
    sizes = {vars(size)["name"]: vars(size) for size in ml_client.compute.list_sizes()}
    assert sizes["Standard_DS3_v2"]["vCPUs"] == 4
    assert sizes["Standard_NC4as_T4_v3"]["gpus"] == 1
    here = ml_client.compute.list_sizes(location="westus", compute_type="ComputeInstance")
    assert "Standard_E8s_v3" in [vars(size)["name"] for size in here]

    def used() -> int:
        rows = [vars(usage) for usage in ml_client.compute.list_usage()]
        return next(
            int(row["currentValue"]) for row in rows if row["name"]["value"] == "standardESv3Family"
        )

    before = used()
    made(instance("ci-costs", size="Standard_E4s_v3", release_quota_on_stop=True))
    assert used() == before + 4
    ml_client.compute.begin_stop("ci-costs").result()
    assert used() == before
    control.set_quota("standardESv3Family", before + 3)
    with pytest.raises(HttpResponseError, match="exceeding quota limits of standardESv3Family"):
        ml_client.compute.begin_start("ci-costs").result()
    assert ml_client.compute.get("ci-costs").state == "Stopped"
    with pytest.raises(HttpResponseError, match="exceeding quota"):
        made(cluster("too-big", size="Standard_E4s_v3", max_instances=1))
    assert ml_client.compute.get("too-big").provisioning_state == "Failed"


def test_times_of_computes_are_dates(control: Control, made: Any) -> None:
    made(cluster("dated"))
    properties = ask(control, "GET", "dated").json()["properties"]
    for time_stamp in (
        properties["createdOn"],
        properties["properties"]["allocationStateTransitionTime"],
    ):
        assert abs(datetime.fromisoformat(time_stamp) - datetime.now(UTC)) < timedelta(minutes=5)
