"""The automations that mark dead runs as crashed: registered once, and they do it.

A run whose process and worker are both killed has nobody left to report it: the run here is a
small flow, because what dies is Prefect's own process for it, whichever flow that runs.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psutil
import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.events.schemas.automations import AutomationCore, EventTrigger
from prefect.exceptions import ObjectAlreadyExists
from prefect.server.events.schemas.automations import EventTrigger as ServerTrigger
from prefect.server.events.schemas.events import ReceivedEvent

from deployments.automating import resolved, save_automation, written_automations
from deployments.prefect_http import prefect_http
from deployments.register import declared

WITHIN, START_SECONDS = 35.0, 60.0
POOL = "heartbeat"
FLOW = """
import time
from pathlib import Path

from prefect import flow
from prefect.settings import get_current_settings


@flow(name="sweep")
def nap(told: Path) -> None:
    told.write_text(f"{get_current_settings().flows.heartbeat_frequency}\\n")
    time.sleep(600)
"""


def automation(tag: str) -> AutomationCore:
    """The one that marks the dead runs of the deployments with this tag."""
    (found,) = [
        entry
        for entry in written_automations()
        if tag in entry["tags"] and entry["actions"][0]["type"] == "change-flow-run-state"
    ]
    return resolved(found, {}, {})


def trigger(tag: str) -> EventTrigger:
    found = automation(tag).trigger
    assert isinstance(found, EventTrigger)
    return found


@pytest.mark.parametrize("deployment", declared(), ids=lambda entry: entry["description"][:30])
def test_a_run_is_dead_after_three_heartbeats(deployment: dict[str, Any]) -> None:
    seconds = deployment["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]
    assert trigger(deployment["name"]).within == timedelta(seconds=3 * int(seconds))
    assert deployment["name"] in deployment["tags"]


@pytest.mark.parametrize(
    ("flow", "tags", "watching"),
    [
        ("sweep", ["local"], {"local", "azure"}),
        ("release", ["azure"], {"azure"}),
        # A flow that a retraining has called: the tags of the deployment are not its own.
        ("finetune", [], {"azure"}),
        ("somebody-elses", ["local"], set()),
    ],
)
def test_every_run_of_this_project_is_watched(
    flow: str, tags: list[str], watching: set[str]
) -> None:
    related = [{"role": "flow", "id": f"prefect.flow.{uuid4()}", "name": flow}]
    related += [{"role": "tag", "id": f"prefect.tag.{tag}"} for tag in tags]
    event = ReceivedEvent.model_validate(
        {
            "id": uuid4(),
            "occurred": datetime.now(UTC),
            "event": "prefect.flow-run.heartbeat",
            "resource": {"prefect.resource.id": f"prefect.flow-run.{uuid4()}"},
            "related": [
                {f"prefect.resource.{key}": value for key, value in resource.items()}
                for resource in related
            ],
        }
    )
    triggers = {tag: trigger(tag).model_dump(mode="json") for tag in ("local", "azure")}
    covering = {
        tag for tag, value in triggers.items() if ServerTrigger.model_validate(value).covers(event)
    }
    assert covering == watching


def test_registering_twice_leaves_one_and_keeps_it_switched_off(prefect_server: str) -> None:
    asyncio.run(_register_again_and_again())


async def _register_again_and_again() -> None:
    wanted = automation("local").model_copy(update={"name": "registered twice"})
    async with get_client() as client:
        assert await save_automation(client, wanted) is True
        assert await save_automation(client, wanted) is True
        (there,) = await client.read_automations_by_name(wanted.name)
        await client.pause_automation(there.id)
        assert await save_automation(client, wanted) is False
        changed = wanted.model_copy(update={"description": "another"})
        assert await save_automation(client, changed) is False
        (after,) = await client.read_automations_by_name(wanted.name)
        await client.delete_automation(after.id)
    assert (after.id, after.enabled, after.description) == (there.id, False, "another")


def test_a_run_killed_with_its_worker_becomes_crashed(prefect_server: str, tmp_path: Path) -> None:
    told = tmp_path / "heartbeat.txt"
    run = asyncio.run(_start_watched_run(tmp_path, told))
    with prefect_http(prefect_server) as server:
        with _worker(prefect_server, tmp_path / "worker.log") as worker:
            _wait_for(lambda: _heartbeats(server, run) > 0, START_SECONDS)
            _kill([worker, *worker.children(recursive=True)])
        assert told.read_text() == "30\n"
        assert _state(server, run)["type"] == "RUNNING"
        killed = time.monotonic()
        _wait_for(lambda: _state(server, run)["type"] != "RUNNING", WITHIN + 20)
        state = _state(server, run)
    assert state["type"] == "CRASHED"
    assert "heartbeat" in state["message"]
    assert time.monotonic() - killed > WITHIN / 2


async def _start_watched_run(folder: Path, told: Path) -> UUID:
    async with get_client() as client:
        await _watch(client)
        return await _start_run(client, folder, told)


async def _watch(client: PrefectClient) -> None:
    """The automation for local runs, with less patience."""
    quick = trigger("local").model_copy(update={"within": timedelta(seconds=WITHIN)})
    await save_automation(client, automation("local").model_copy(update={"trigger": quick}))


async def _start_run(client: PrefectClient, folder: Path, told: Path) -> UUID:
    """A run of a deployment with the tags and the variables of sweep/local."""
    (local,) = [
        entry for entry in declared() if entry["name"] == "local" and "sweep" in entry["tags"]
    ]
    (folder / "nap.py").write_text(FLOW)
    with suppress(ObjectAlreadyExists):
        await client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    deployment = await client.create_deployment(
        flow_id=await client.create_flow_from_name("sweep"),
        name="nap",
        tags=local["tags"],
        work_pool_name=POOL,
        path=str(folder),
        entrypoint="nap.py:nap",
        job_variables={"env": local["work_pool"]["job_variables"]["env"]},
    )
    run = await client.create_flow_run_from_deployment(deployment, parameters={"told": str(told)})
    return run.id


@contextmanager
def _worker(api_url: str, log: Path) -> Iterator[psutil.Process]:
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL]
    environment = {
        **os.environ,
        "PREFECT_API_URL": api_url,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    with log.open("wb") as output:
        started = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    process = psutil.Process(started.pid)
    try:
        yield process
    finally:
        if process.is_running():
            _kill([process, *process.children(recursive=True)])
        started.wait()


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        process.kill()
    psutil.wait_procs(processes[1:], timeout=5)


def _state(server: httpx.Client, run: UUID) -> dict[str, Any]:
    state: dict[str, Any] = server.get(f"/flow_runs/{run}").raise_for_status().json()["state"]
    return state


def _heartbeats(server: httpx.Client, run: UUID) -> int:
    wanted = {
        "event": {"name": ["prefect.flow-run.heartbeat"]},
        "resource": {"id": [f"prefect.flow-run.{run}"]},
    }
    answer = server.post("/events/filter", json={"filter": wanted})
    return len(answer.raise_for_status().json()["events"])


def _wait_for(happened: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"nothing happened in {seconds:.0f} s"
        time.sleep(0.5)
