"""A run that is stopped on purpose takes its job and its endpoint with it, and says so."""

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.fleet import Run
from benchmarks.rig import Left, Rig
from deployments.prefect_http import prefect_http
from tests.resilience.exhaustive import EXHAUSTIVE

SECONDS = 60.0


def in_the_job(cloud: Rig) -> str:
    """Keep the next job from running; says what has to have been asked of Azure by then."""
    cloud.control.transition("jobs", mode="manual")
    return "Jobs_CreateOrUpdate"


def in_the_deployment(cloud: Rig) -> str:
    """Keep the next deployment from ending."""
    cloud.control.add_fault("OnlineDeployments_CreateOrUpdate", operation_result="never")
    return "OnlineDeployments_CreateOrUpdate"


def by_signal(number: int) -> Callable[[str, Run], None]:
    return lambda api, run: run.send(number)


def by_prefect(api: str, run: Run) -> None:
    """As the UI's button and `prefect flow-run cancel` do."""
    with prefect_http(api) as server:
        (found,) = [each for each in _flow_runs(server) if each["name"] in run.text]
        state = {"type": "CANCELLING", "name": "Cancelling"}
        answer = server.post(f"/flow_runs/{found['id']}/set_state", json={"state": state})
        assert answer.raise_for_status().json()["status"] == "ACCEPT"


def _flow_runs(server: Any) -> Any:
    running = {"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}
    return server.post("/flow_runs/filter", json=running).raise_for_status().json()


WAYS: dict[str, Callable[[str, Run], None]] = {
    "Ctrl-C": by_signal(signal.SIGINT),
    "SIGTERM": by_signal(signal.SIGTERM),
    "Prefect": by_prefect,
}
PLACES = {
    "job": (in_the_job, Left(jobs=("Canceled",)), "is cancelled."),
    "deployment": (in_the_deployment, Left(jobs=("Completed",), models=1), "is deleted."),
}
ALL_CASES = [
    (number, way, place)
    for number, (way, place) in enumerate((way, place) for way in WAYS for place in PLACES)
]
LEFT_OUT = [("Ctrl-C", "job"), ("SIGTERM", "deployment")]  # each of them is tried by another case
CASES = [case for case in ALL_CASES if EXHAUSTIVE or case[1:] not in LEFT_OUT]


@pytest.mark.parametrize(("number", "way", "place"), CASES, ids=[f"{w}, {p}" for _, w, p in CASES])
def test_what_a_stopped_run_has_under_way_is_ended(
    cloud: Rig, prefect_server: str, number: int, way: str, place: str
) -> None:
    hinder, expected, words = PLACES[place]
    before, operation = cloud.control.last_event(), hinder(cloud)
    run = cloud.start(cloud.config(number))
    wait_for(lambda: bool(cloud.control.events(after=before, operation=operation, kind="write")))
    time.sleep(0.5)  # its answer is on the way
    WAYS[way](prefect_server, run)
    assert run.end(SECONDS) != 0
    assert words in run.text
    assert cloud.left()[key_of(run)] == expected
    assert cloud.claims() == []
    if way == "Prefect":
        with prefect_http(prefect_server) as server:
            states = server.post("/flow_runs/filter", json={}).raise_for_status().json()
        (state,) = [each["state_type"] for each in states if each["name"] in run.text]
        assert state == "CANCELLED"


def key_of(run: Run) -> str:
    """The run key, from the first line of the plan in the run's log."""
    return run.text.split("\nPlan ")[1].split()[0]


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)
