"""`prefect deploy --all`, as prefect.yaml's head says, gives what deployments/register.py gives."""

import asyncio
import os
import re
import shlex
import subprocess
import sys
from typing import Any

import httpx
import pytest

from deployments.prefect_http import prefect_http
from deployments.register import PREFECT_FILE, ROOT, register

SAME = (
    "concurrency_limit",
    "concurrency_options",
    "description",
    "enforce_parameter_schema",
    "entrypoint",
    "job_variables",
    "parameter_openapi_schema",
    "parameters",
    "path",
    "paused",
    "pull_steps",
    "tags",
    "work_pool_name",
    "work_queue_name",
)
SCHEDULE = ("schedule", "active", "parameters", "slug", "max_scheduled_runs")


def commands_of_the_file() -> list[list[str]]:
    """The commands that the comment at the head of prefect.yaml tells a person to type."""
    head = PREFECT_FILE.read_text().split("\nname:")[0]
    return [shlex.split(line) for line in re.findall(r"^# {5}(prefect .*)$", head, re.MULTILINE)]


def run(api_url: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, "PREFECT_API_URL": api_url},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def empty(server: httpx.Client) -> None:
    """Delete what an earlier test has registered on the server that the tests share."""
    for kind, key in (("deployments", "id"), ("automations", "id"), ("work_pools", "name")):
        for entry in server.post(f"/{kind}/filter", json={}).raise_for_status().json():
            server.delete(f"/{kind}/{entry[key]}").raise_for_status()


def registered(server: httpx.Client) -> dict[str, Any]:
    """Everything that matters of what is registered; no identifier and no time."""
    flows = server.post("/flows/filter", json={}).raise_for_status().json()
    names = {flow["id"]: flow["name"] for flow in flows}
    found: dict[str, Any] = {}
    for deployment in server.post("/deployments/filter", json={}).raise_for_status().json():
        name = f"{names[deployment['flow_id']]}/{deployment['name']}"
        found[name] = {key: deployment[key] for key in SAME} | {
            "schedules": [
                {key: schedule[key] for key in SCHEDULE} for schedule in deployment["schedules"]
            ]
        }
    for pool in server.post("/work_pools/filter", json={}).raise_for_status().json():
        found[f"pool {pool['name']}"] = pool["type"], pool["base_job_template"]
    for automation in server.post("/automations/filter", json={}).raise_for_status().json():
        trigger = {key: automation["trigger"][key] for key in ("match_related", "within", "expect")}
        trigger["expect"].sort()
        kept = {key: automation[key] for key in ("description", "enabled", "tags", "actions")}
        found[f"automation {automation['name']}"] = {**kept, **trigger}
    return found


def test_the_commands_in_the_file_do_what_registering_does(
    prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with prefect_http(prefect_server) as server:
        empty(server)
        for command in commands_of_the_file():
            run(prefect_server, *command)
        by_hand = registered(server)
        empty(server)
        monkeypatch.setenv("PREFECT_API_URL", prefect_server)
        asyncio.run(register())
        assert registered(server) == by_hand
    assert {"finetune/local", "finetune/azure", "sweep/local", "sweep/azure"} <= set(by_hand)
    assert by_hand["sweep/local"]["entrypoint"] == "flows/sweep.py:sweep"
    (schedule,) = by_hand["sweep/local"]["schedules"]
    assert schedule["parameters"] == {"dry_run": False}
    assert by_hand["sweep/local"]["parameters"]["dry_run"] is True
    assert len([name for name in by_hand if name.startswith(("pool", "automation"))]) == 4
