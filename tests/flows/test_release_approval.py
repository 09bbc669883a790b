"""A person decides: the form in Prefect's UI, filled in through its API as the UI does."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prefect import flow

from flows.release import release
from tasks.release_config import ReleaseConfig
from tasks.release_report import ReleaseReport
from tests.flows.release_support import ONE, Stage, deployment, stage_for_releases


@pytest.fixture(scope="module")
def stage(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage_for_releases(tmp_path_factory.mktemp("approval-home")) as stage:
        yield stage


@pytest.fixture
def api(prefect_server: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=prefect_server, trust_env=False, timeout=30) as client:
        yield client


def paused(api: httpx.Client, name: str = "release") -> dict[str, Any]:
    """The run of that flow that waits for a person."""
    deadline = time.monotonic() + 60
    wanted = {
        "flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}},
        "flows": {"name": {"any_": [name]}},
    }
    while time.monotonic() < deadline:
        found = api.post("/flow_runs/filter", json=wanted).raise_for_status().json()
        if found:
            run: dict[str, Any] = found[0]
            return run
        time.sleep(0.2)
    raise AssertionError("no run waits for approval")


def form(api: httpx.Client, run: dict[str, Any]) -> dict[str, Any]:
    """What the UI shows: the schema of the form and its description."""
    keys = run["state"]["state_details"]["run_input_keyset"]
    read = {name: api.get(f"/flow_runs/{run['id']}/input/{key}") for name, key in keys.items()}
    return {name: answer.json() for name, answer in read.items() if answer.status_code == 200}


def answer(api: httpx.Client, seen: list[dict[str, Any]], **values: Any) -> threading.Thread:
    """Somebody who reads the form and answers it."""

    def decide() -> None:
        run = paused(api)
        while "description" not in (shown := form(api, run)):
            time.sleep(0.1)
        seen.append(shown)
        body = {"run_input": values}
        api.post(f"/flow_runs/{run['id']}/resume", json=body).raise_for_status()

    thread = threading.Thread(target=decide)
    thread.start()
    return thread


@flow(name="parent of a release")
def parent(config: ReleaseConfig) -> ReleaseReport:
    return release(ONE, config, comparison="| champion | challenger |\n|---|---|\n| 1 | 2 |")


def test_a_release_that_is_refused_makes_nothing(stage: Stage, api: httpx.Client) -> None:
    seen: list[dict[str, Any]] = []
    person = answer(api, seen, approve=False, comment="not on a Friday")
    report = parent(stage.config(approval=True, approval_hours=0.02))
    person.join()
    assert report.status == "refused"
    assert "not on a Friday" in report.reason
    assert "challenger" in seen[0]["description"]
    properties = seen[0]["schema"]["properties"]
    assert properties["approve"]["type"] == "boolean"
    assert properties["approve"]["description"]
    assert not stage.exists()


def test_a_release_that_nobody_approves_in_time_makes_nothing_and_completes(
    stage: Stage,
) -> None:
    state = release(ONE, stage.config(approval=True, approval_hours=1 / 3600), return_state=True)
    assert state.is_completed()
    report = state.result()
    assert report.status == "not approved"
    assert not stage.exists()


def test_a_release_that_is_cancelled_while_it_waits_ends(stage: Stage, api: httpx.Client) -> None:
    runs: list[dict[str, Any]] = []

    def cancel() -> None:
        runs.append(paused(api))
        state = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
        api.post(f"/flow_runs/{runs[0]['id']}/set_state", json=state).raise_for_status()

    threading.Thread(target=cancel).start()
    with pytest.raises(KeyboardInterrupt):
        release(ONE, stage.config(approval=True, approval_hours=0.02))
    ended = api.get(f"/flow_runs/{runs[0]['id']}").json()
    assert ended["state_type"] == "CANCELLED"
    assert not stage.exists()


def test_a_release_that_is_approved_goes_on(stage: Stage, api: httpx.Client) -> None:
    seen: list[dict[str, Any]] = []
    person = answer(api, seen, approve=True)
    report = release(ONE, stage.config(approval=True, approval_hours=0.02))
    person.join()
    assert report.status == "released"
    assert stage.traffic == {deployment(ONE): 100}
