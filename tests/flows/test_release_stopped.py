"""Releases that are killed, stopped, and in each other's way: as processes of their own."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from benchmarks.fleet import Run
from benchmarks.rig import Rig, rig
from tests.flows.release_support import ONE, QUICK, THREE, TWO, Stage, deployment, register
from tests.resilience.exhaustive import exhaustive

SECONDS = 60.0


@pytest.fixture(scope="module")
def cloud(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("cloud"), prefect_server) as made:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in made.fleet.environment.items():
                patch.setenv(name, value)
            register(made.client, "served", "1", "2", "3")
        yield made


@pytest.fixture
def stage(cloud: Rig) -> Iterator[Stage]:
    """An endpoint that serves the first model."""
    stage = Stage(cloud.client, cloud.control)
    assert start(cloud, stage, ONE).end() == 0
    yield stage
    cloud.control.clear_faults()
    stage.delete()


def start(cloud: Rig, stage: Stage, model: str, **settings: Any) -> Run:
    config = {**QUICK, "endpoint": stage.endpoint, "model": model, **settings}
    return cloud.start(config, flow="release")


def slow(cloud: Rig, stage: Stage, model: str, **settings: Any) -> Run:
    """A release whose steps take so long that it can be stopped in the middle of one."""
    return start(cloud, stage, model, checks={"seconds": 30, "requests": 4}, **settings)


def wait_for(happened: Callable[[], Any]) -> None:
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def report(run: Run) -> dict[str, Any]:
    (line,) = [line for line in run.text.splitlines() if line.startswith('{"status"')]
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_release_that_is_killed_under_traffic_goes_on_from_there(
    cloud: Rig, stage: Stage
) -> None:
    run = slow(cloud, stage, TWO, mirror=0)
    wait_for(lambda: stage.traffic.get(deployment(TWO)) == 10)
    run.kill()
    assert stage.traffic == {deployment(ONE): 90, deployment(TWO): 10}
    again = start(cloud, stage, TWO)
    assert again.end() == 0, again.text
    assert [step["share"] for step in report(again)["steps"]] == [10, 50, 100]
    assert report(again)["replaced_deployment"] == deployment(ONE)
    assert stage.traffic == {deployment(TWO): 100}
    assert stage.deployments == {deployment(TWO)}


@exhaustive
def test_a_release_that_is_killed_before_it_deletes_the_old_one_deletes_it_later(
    cloud: Rig, stage: Stage
) -> None:
    hold = cloud.control.add_fault("OnlineDeployments_Delete", hold="before")
    run = start(cloud, stage, TWO)
    hold.wait_until_held()
    run.kill()
    cloud.control.clear_faults()
    assert stage.traffic == {deployment(TWO): 100}
    assert stage.deployments == {deployment(ONE), deployment(TWO)}
    again = start(cloud, stage, TWO)
    assert again.end() == 0, again.text
    assert report(again)["deleted"] == [f"deployment {deployment(ONE)}"]
    assert stage.deployments == {deployment(TWO)}


@exhaustive
def test_what_a_killed_release_of_another_model_left_is_rolled_back_first(
    cloud: Rig, stage: Stage
) -> None:
    run = slow(cloud, stage, TWO, mirror=0)
    wait_for(lambda: stage.traffic.get(deployment(TWO)) == 10)
    run.kill()
    other = start(cloud, stage, THREE)
    assert other.end() == 0, other.text
    assert f"Deployment {deployment(TWO)} is deleted." in other.text
    assert report(other)["replaced_deployment"] == deployment(ONE)
    assert stage.traffic == {deployment(THREE): 100}
    assert stage.deployments == {deployment(THREE)}


def test_a_second_release_is_refused_while_one_is_under_way_and_the_sweep_leaves_that_alone(
    cloud: Rig, stage: Stage
) -> None:
    run = slow(cloud, stage, TWO)
    wait_for(lambda: stage.mirror.get(deployment(TWO)))
    second = start(cloud, stage, THREE)
    assert second.end() == 1
    assert "is in the middle of another release" in second.text
    assert stage.deployments == {deployment(ONE), deployment(TWO)}

    sweep = cloud.start({"dry_run": False}, flow="sweep")
    assert sweep.end() == 0, sweep.text
    assert stage.deployments == {deployment(ONE), deployment(TWO)}

    run.kill()
    sweep = cloud.start({"dry_run": False}, flow="sweep")
    assert sweep.end() == 0, sweep.text
    assert f"deployment {stage.endpoint}/{deployment(TWO)} was ended" in sweep.text
    assert stage.deployments == {deployment(ONE)}
    assert stage.traffic == {deployment(ONE): 100}
    assert stage.mirror == {}


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, id="Ctrl-C", marks=exhaustive),
        pytest.param(signal.SIGTERM, id="SIGTERM"),
    ],
)
def test_a_release_that_is_stopped_under_traffic_is_rolled_back(
    cloud: Rig, stage: Stage, number: int
) -> None:
    before = cloud.claims()
    run = slow(cloud, stage, TWO, mirror=0)
    wait_for(lambda: stage.traffic.get(deployment(TWO)) == 10)
    run.send(number)
    assert run.end(SECONDS) != 0
    assert f"Deployment {deployment(ONE)} has all of the traffic" in run.text
    assert stage.traffic == {deployment(ONE): 100}
    assert stage.deployments == {deployment(ONE)}
    assert cloud.claims() == before
