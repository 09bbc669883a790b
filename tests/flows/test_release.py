"""Releases against a local Azure: the real flow, real deployments of the tiny base model."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.release import release
from tasks.errors import ErrorKind, NotFound, UserError
from tasks.rollback import ReleaseFailed
from tests.flows.release_support import ONE, TWO, Stage, deployment, stage_for_releases


@pytest.fixture(scope="module")
def azure(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage_for_releases(tmp_path_factory.mktemp("release-home")) as stage:
        yield stage


@pytest.fixture
def stage(azure: Stage) -> Iterator[Stage]:
    stage = azure.fresh()
    yield stage
    stage.control.clear()
    stage.delete()


def test_the_first_release_makes_the_endpoint_and_the_second_replaces_it_under_load(
    stage: Stage,
) -> None:
    first = release(ONE, stage.config())
    assert first.status == "released"
    assert first.replaced_deployment is None
    assert stage.traffic == {deployment(ONE): 100}
    assert stage.tags["keep"] == "true"

    with stage.load() as load:
        second = release(TWO, stage.config())
    assert load.failures == []
    assert len(load.answers) > 20
    assert second.replaced_deployment == deployment(ONE)
    assert second.replaced_model == ONE
    assert [step.name for step in second.steps] == ["mirror 10 %", "10 %", "50 %", "100 %"]
    assert all(step.new.requests == step.old.requests == 4 for step in second.steps if step.old)
    assert stage.traffic == {deployment(TWO): 100}
    assert stage.deployments == {deployment(TWO)}
    assert not [tag for tag in stage.tags if tag.startswith("release_")]

    before = stage.control.last_event()
    again = release(TWO, stage.config())
    assert again.status == "already live"
    assert not stage.control.events(after=before, operation="Online*", kind="write")


def test_a_new_deployment_that_fails_is_rolled_back_under_load(stage: Stage) -> None:
    release(ONE, stage.config())
    stage.control.add_fault(
        "Deployment_Score", path=f"*/{deployment(TWO)}/score", status=500, times=None, after=1
    )
    with stage.load() as load, pytest.raises(ReleaseFailed) as failed:
        release(TWO, stage.config())
    assert load.failures == []
    assert failed.value.kind is ErrorKind.SERVICE
    assert "At mirror 10 %" in failed.value.message
    assert f"Deployment {deployment(TWO)} is deleted." in str(failed.value)
    assert stage.traffic == {deployment(ONE): 100}
    assert stage.mirror == {}
    assert stage.deployments == {deployment(ONE)}
    assert not [tag for tag in stage.tags if tag.startswith("release_")]


def test_a_new_deployment_that_gets_slow_under_traffic_is_rolled_back(stage: Stage) -> None:
    release(ONE, stage.config())
    path = f"*/{deployment(TWO)}/score"
    config = stage.config(mirror=0, steps=[50, 100], checks={"seconds": 3, "requests": 6})
    when_it_has_traffic(
        stage,
        deployment(TWO),
        lambda: stage.control.add_fault("Deployment_Score", path=path, delay=1, times=None),
    )
    with stage.load() as load, pytest.raises(ReleaseFailed) as failed:
        release(TWO, config)
    assert load.failures == []
    assert "At 50 %: half of the replies took longer than 1." in failed.value.message
    assert stage.traffic == {deployment(ONE): 100}
    assert stage.deployments == {deployment(ONE)}


def test_a_first_release_that_fails_leaves_nothing(stage: Stage) -> None:
    stage.control.add_fault(
        "Deployment_Score", path=f"*/{deployment(ONE)}/score", status=500, times=None
    )
    with pytest.raises(ReleaseFailed, match="which the release had made, is deleted"):
        release(ONE, stage.config())
    assert not stage.exists()


def test_an_endpoint_that_was_not_made_is_not_left_behind(stage: Stage) -> None:
    stage.control.add_fault(
        "OnlineEndpoints_CreateOrUpdate",
        operation_result={"status": "Failed", "code": "InternalServerError", "message": "no room"},
    )
    with pytest.raises(UserError, match="no room"):
        release(ONE, stage.config())
    assert not stage.exists()


def test_a_model_that_does_not_load_never_gets_traffic(stage: Stage, tmp_path: Path) -> None:
    from azure.ai.ml.entities import Model

    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    broken = Model(name="no-model", version="1", path=str(tmp_path), type="mlflow_model")
    stage.client.models.create_or_update(broken)
    release(ONE, stage.config())
    with pytest.raises(ReleaseFailed, match="last log lines"):
        release("no-model:1", stage.config())
    assert stage.traffic == {deployment(ONE): 100}
    assert stage.deployments == {deployment(ONE)}


def test_a_model_that_is_not_registered_is_told_before_anything_is_made(stage: Stage) -> None:
    with pytest.raises(NotFound, match="no model served:9"):
        release("served:9", stage.config())
    assert not stage.exists()


def when_it_has_traffic(stage: Stage, name: str, then: Callable[[], object]) -> None:
    """Do that, on a thread of its own, as soon as the deployment answers live requests."""

    def watch() -> None:
        deadline = time.monotonic() + 60
        while name not in stage.traffic and time.monotonic() < deadline:
            time.sleep(0.05)
        then()

    threading.Thread(target=watch, daemon=True).start()
