"""States that last: timed, manual, and to a failure; seen with the real SDK."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from azure.core.exceptions import HttpResponseError

from emulator.control_client import Control, ControlError
from tests.emulator.endpoint_support import deployment, living_endpoint
from tests.emulator.test_faults import cluster

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import Command, ManagedOnlineEndpoint


def endpoint(name: str) -> "ManagedOnlineEndpoint":
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    return ManagedOnlineEndpoint(name=name, auth_mode="key")


def submit(client: "MLClient", text: str) -> str:
    from azure.ai.ml import command

    image = "azureml://registries/azureml/environments/acft-hf-nlp-gpu/labels/latest"
    job: Command = command(command=text, environment=image, compute="local")
    return str(client.jobs.create_or_update(job).name)


def until(client: "MLClient", job: str, *states: str) -> str:
    deadline = time.monotonic() + 60
    while (status := client.jobs.get(job).status) not in states:
        assert time.monotonic() < deadline, status
        time.sleep(0.05)
    return next(state for state in states if state == status)


def test_a_timed_compute(ml_client: "MLClient", control: Control) -> None:
    control.transition("computes", mode="timed", seconds={"Creating": 1.5})
    began = time.monotonic()
    poller = ml_client.compute.begin_create_or_update(cluster("timed"))
    assert ml_client.compute.get("timed").provisioning_state == "Creating"
    assert poller.result().provisioning_state == "Succeeded"
    assert time.monotonic() - began >= 1.5
    began = time.monotonic()
    ml_client.compute.begin_delete("timed").result()
    assert time.monotonic() - began < 1.5


def test_the_clock_shortens_a_timed_state(ml_client: "MLClient", control: Control) -> None:
    control.transition("computes", mode="timed", seconds=1800)
    poller = ml_client.compute.begin_create_or_update(cluster("half-an-hour"))
    poller.wait(0.5)
    assert not poller.done()
    control.advance(1801)
    assert poller.result().provisioning_state == "Succeeded"


def test_a_manual_compute_from_creation_to_deletion(
    ml_client: "MLClient", control: Control
) -> None:
    control.transition("computes", mode="manual")
    poller = ml_client.compute.begin_create_or_update(cluster("manual"))
    poller.wait(0.5)
    assert not poller.done()
    assert control.transitions()["waiting"] == [
        {"kind": "computes", "name": "manual", "state": "Creating"}
    ]
    assert control.advance_resource("computes", "manual") == ["manual"]
    assert poller.result().provisioning_state == "Succeeded"
    deletion = ml_client.compute.begin_delete("manual")
    assert ml_client.compute.get("manual").provisioning_state == "Deleting"
    control.advance_resource("computes", "man*", wait=5)
    deletion.result()
    with pytest.raises(HttpResponseError, match="not found"):
        ml_client.compute.get("manual")


def test_a_manual_endpoint_that_is_told_to_fail(ml_client: "MLClient", control: Control) -> None:
    control.transition("endpoints", mode="manual", states=["Creating"])
    poller = ml_client.online_endpoints.begin_create_or_update(endpoint("told-to-fail"))
    control.advance_resource(
        "endpoints", "told-to-fail", code="InternalServerError", message="no DNS today", wait=5
    )
    with pytest.raises(HttpResponseError, match="no DNS today"):
        poller.result()
    assert ml_client.online_endpoints.get("told-to-fail").provisioning_state == "Failed"
    ml_client.online_endpoints.begin_delete("told-to-fail").result()


def test_the_next_computes_fail(ml_client: "MLClient", control: Control) -> None:
    message = "Operation results in exceeding quota limits."
    control.fail_next("computes", code="ClusterCoreQuotaReached", message=message, times=2)
    for _ in range(2):
        with pytest.raises(HttpResponseError, match="exceeding quota"):
            ml_client.compute.begin_create_or_update(cluster("unlucky")).result()
    assert ml_client.compute.get("unlucky").provisioning_errors == "ClusterCoreQuotaReached"
    created = ml_client.compute.begin_create_or_update(cluster("unlucky")).result()
    assert (created.provisioning_state, created.provisioning_errors) == ("Succeeded", None)


def test_a_job_that_stays_queued(ml_client: "MLClient", control: Control) -> None:
    control.transition("jobs", mode="manual")
    name = submit(ml_client, "echo done")
    until(ml_client, name, "Queued")
    time.sleep(0.3)
    assert ml_client.jobs.get(name).status == "Queued"
    assert control.advance_resource("jobs", name) == [name]
    assert until(ml_client, name, "Completed", "Failed") == "Completed"


def test_a_queued_job_can_be_cancelled(ml_client: "MLClient", control: Control) -> None:
    control.transition("jobs", mode="manual")
    name = submit(ml_client, "echo done")
    until(ml_client, name, "Queued")
    ml_client.jobs.begin_cancel(name).result()
    assert until(ml_client, name, "Canceled", "Completed") == "Canceled"
    assert control.transitions()["waiting"] == []


def test_the_next_job_fails_as_a_process(
    ml_client: "MLClient", control: Control, tmp_path: Path
) -> None:
    control.fail_next("jobs", exit_code=137, stderr="torch.OutOfMemoryError: CUDA out of 'memory'")
    name = submit(ml_client, "echo done")
    assert until(ml_client, name, "Completed", "Failed") == "Failed"
    ml_client.jobs.download(name, download_path=tmp_path, all=True)
    (log,) = tmp_path.rglob("std_log.txt")
    assert log.read_text() == "torch.OutOfMemoryError: CUDA out of 'memory'\n"
    name = submit(ml_client, "echo done")
    assert until(ml_client, name, "Completed", "Failed") == "Completed"


def test_a_deployment_that_fails_has_real_logs(
    ml_client: "MLClient", control: Control, tmp_path: Path
) -> None:
    with living_endpoint(ml_client, tmp_path / "model", "fails-once") as living:
        control.fail_next("deployments", stderr="ImportError: no module named x", exit_code=3)
        wanted = deployment(living.name, "blue", living.model)
        with pytest.raises(HttpResponseError, match="exit code 3"):
            ml_client.online_deployments.begin_create_or_update(wanted).result()
        failed = ml_client.online_deployments.get("blue", living.name)
        assert failed.provisioning_state == "Failed"
        logs = ml_client.online_deployments.get_logs("blue", living.name, lines=50)
        assert "ImportError: no module named x" in logs


@pytest.mark.parametrize(
    ("kind", "setting", "problem"),
    [
        ("job", {}, "kind: there is no 'job'; there are jobs, computes"),
        ("jobs", {"mode": "slow"}, "mode: Input should be 'immediate', 'timed' or 'manual'"),
        ("jobs", {"mode": "timed"}, "needs seconds"),
        ("jobs", {"mode": "manual", "seconds": 3}, "seconds belong to the mode timed"),
        ("jobs", {"mode": "manual", "states": ["Creating"]}, "states: jobs have no state"),
        ("computes", {"mode": "timed", "seconds": {"Queued": 1}}, "seconds: computes have no"),
        ("computes", {"fail": {"times": 0}}, "fail.times"),
        ("computes", {"fail": {"exitcode": 1}}, "fail.exitcode: there is no such field"),
    ],
)
def test_a_bad_setting_is_refused_by_the_name_of_the_field(
    control: Control, kind: str, setting: dict[str, object], problem: str
) -> None:
    with pytest.raises(ControlError) as caught:
        control.request("PUT", f"/transitions/{kind}", setting)
    assert caught.value.status == 400
    assert problem in str(caught.value)
    assert control.transitions() == {"kinds": {}, "waiting": []}


def test_nothing_to_advance(control: Control) -> None:
    with pytest.raises(ControlError, match="None of the jobs waits under the name 'x'") as caught:
        control.advance_resource("jobs", "x")
    assert caught.value.status == 404
