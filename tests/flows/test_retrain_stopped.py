"""Retrainings that are killed and stopped: as processes of their own."""

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.fleet import Run
from benchmarks.rig import Rig, rig
from tasks.polling import status_word
from tests.flows.retrain_support import MODEL, WEAK, retrain_settings
from tests.resilience.exhaustive import exhaustive

SECONDS = 120.0
_EVALUATIONS = "*/jobs/ev-*"


@pytest.fixture(scope="module")
def cloud(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("cloud"), prefect_server) as made:
        yield made


def start(cloud: Rig, rate: float) -> Run:
    settings: dict[str, Any] = retrain_settings(rate)
    settings["finetune"]["parameters"] |= {"max_steps": 1}
    return cloud.start(settings, flow="retrain")


def jobs(cloud: Rig, kind: str) -> dict[str, str]:
    """The states of the jobs whose names begin so."""
    found = {str(job.name): status_word(job.status) for job in cloud.client.jobs.list()}
    return {name: status for name, status in found.items() if name.startswith(kind)}


@exhaustive
def test_one_that_is_killed_again_and_again_does_everything_once(cloud: Rig) -> None:
    """Killed after the measuring has begun, after the verdict, and before the crown."""
    holds: tuple[dict[str, Any], ...] = (
        {"operation": "Jobs_CreateOrUpdate", "path": _EVALUATIONS, "hold": "after"},
        {"operation": "ModelVersions_CreateOrUpdate", "hold": "after"},
        {"operation": "ModelVersions_CreateOrUpdate", "hold": "before"},
    )
    for hold in holds:
        fault = cloud.control.add_fault(**hold)
        run = start(cloud, WEAK)
        fault.wait_until_held(SECONDS)
        run.kill()
        cloud.control.clear_faults()
    run = start(cloud, WEAK)
    assert run.end(SECONDS) == 0, run.text
    assert run.report["status"] == "new champion"
    assert list(jobs(cloud, "ft-").values()) == ["Completed"]
    assert list(jobs(cloud, "ev-").values()) == ["Completed"]
    versions = list(cloud.client.models.list(name=MODEL))
    assert ["champion" in version.tags for version in versions] == [True]
    (deployed,) = cloud.client.online_deployments.list("retrained")
    assert cloud.client.online_endpoints.get("retrained").traffic == {deployed.name: 100}
    assert start(cloud, WEAK).end(SECONDS) == 0
    assert cloud.claims() == []


def test_one_that_is_stopped_takes_its_measuring_with_it(cloud: Rig) -> None:
    fault = cloud.control.add_fault("Jobs_CreateOrUpdate", path=_EVALUATIONS, hold="before")
    run = start(cloud, 2 * WEAK)
    fault.wait_until_held(SECONDS)
    cloud.control.transition("jobs", mode="manual")
    before = cloud.control.last_event()
    cloud.control.clear_faults()
    while not cloud.control.events(after=before, operation="Jobs_Get"):
        assert run.is_alive, run.text
    run.send(signal.SIGTERM)
    assert run.end(SECONDS) != 0
    assert "is cancelled." in run.text
    measured = list(jobs(cloud, "ev-").values())
    assert measured.count("Canceled") == 1
    assert set(measured) <= {"Completed", "Canceled"}
    cloud.control.clear_transitions()
