"""An endpoint is not ready before a job that was submitted and left alone, as in Azure."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from emulator.compute.unwatched import SWITCH
from emulator.control_client import Control
from tests.emulator.conftest import client_for
from tests.emulator.running import RunningEmulator, StartedEmulator

if TYPE_CHECKING:
    from azure.ai.ml import MLClient


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEmulator]:
    """As notebooks have it; the emulator of the other tests makes endpoints at once."""
    with (
        StartedEmulator(tmp_path_factory.mktemp("patient"), **{SWITCH: ""}) as running,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in running.environment.items():
            patch.setenv(name, value)
        yield running


@pytest.fixture(scope="module")
def ml_client(emulator: RunningEmulator) -> "MLClient":
    return client_for(emulator)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """Jobs wait until it is there."""
    gate = tmp_path / "gate"
    yield gate
    gate.touch()


def submit(client: "MLClient", gate: Path) -> str:
    from azure.ai.ml import command
    from azure.ai.ml.entities import Environment

    line = f"until [ -e {gate} ]; do sleep 0.1; done"
    job = command(command=line, environment=Environment(image="x"), compute="local")
    return str(client.jobs.create_or_update(job).name)


def create(client: "MLClient", name: str) -> Any:
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    return client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name))


def test_an_endpoint_waits_for_a_job_that_nobody_asks_about(
    ml_client: "MLClient", gate: Path
) -> None:
    job = submit(ml_client, gate)
    poller = create(ml_client, "ep-after-job")
    poller.wait(1)
    assert not poller.done()
    assert ml_client.online_endpoints.get("ep-after-job").provisioning_state == "Creating"
    gate.touch()
    assert poller.result().provisioning_state == "Succeeded"
    assert ml_client.jobs.get(job).status == "Completed"


def test_it_goes_on_when_somebody_asks_about_the_job(ml_client: "MLClient", gate: Path) -> None:
    job = submit(ml_client, gate)
    poller = create(ml_client, "ep-beside-job")
    poller.wait(1)
    assert not poller.done()
    assert ml_client.jobs.get(job).status == "Running"
    assert poller.result().provisioning_state == "Succeeded"
    assert create(ml_client, "ep-later").result().provisioning_state == "Succeeded"
    assert ml_client.jobs.get(job).status == "Running"
    gate.touch()


def test_a_transition_of_endpoints_rules_instead(
    ml_client: "MLClient", control: Control, gate: Path
) -> None:
    job = submit(ml_client, gate)
    control.request("PUT", "/transitions/endpoints", {"mode": "immediate"})
    assert create(ml_client, "ep-at-once").result().provisioning_state == "Succeeded"
    gate.touch()
    ml_client.jobs.stream(job)
