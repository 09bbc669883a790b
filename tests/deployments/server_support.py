"""A Prefect server of a test's own, as `make up` starts it: it can be ended and started again."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from deployments.prefect_http import prefect_http
from deployments.processes import Child
from deployments.register import ROOT
from deployments.surroundings import free_port, server_environment

START_SECONDS = 120.0
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
AUTOMATION = ("description", "enabled", "tags")


class PrefectServer:
    """Prefect's server with its data in `folder`, or in the data base that `environment` names."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder, self.home = folder, folder / "prefect"
        self.home.mkdir()
        self.port = free_port(0)
        self.api_url = f"http://127.0.0.1:{self.port}/api"
        named = {**os.environ, **(environment or {})}
        self.environment = server_environment(named, self.api_url) | {
            "PREFECT_HOME": str(self.home),
            "PYTHONPATH": str(ROOT),
        }
        self.http = prefect_http(self.api_url)
        self._starts = 0
        self._process: Child | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._starts += 1
        arguments = ["deployments.prefect_server", "--host", "127.0.0.1", "--port", str(self.port)]
        self._process = Child(
            "Prefect's server",
            [sys.executable, "-m", *arguments],
            self.environment,
            self.folder / f"server-{self._starts}.log",
        )
        self._process.wait_until(self._is_ready, START_SECONDS)

    def stop(self) -> None:
        """End it; what it has stored stays."""
        if self._process:
            self._process.stop()
        self._process = None

    def _is_ready(self) -> bool:
        try:
            return bool(self.http.get("/health").is_success)
        except httpx.HTTPError:
            return False

    def ask(self, path: str, body: Any = None) -> Any:
        """GET `path`, or POST it with the body; the server's JSON."""
        method = "GET" if body is None else "POST"
        return self.http.request(method, path, json=body).raise_for_status().json()

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`python -m ARGUMENTS` at the repository's root, as in a second shell."""
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env={**self.environment, "PREFECT_HOME": str(self.folder / "client")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )

    def create_run(self, name: str, **parameters: Any) -> dict[str, Any]:
        """A run of the deployment `name`, scheduled for now."""
        deployment = self.ask(f"/deployments/name/{name}")
        path = f"/deployments/{deployment['id']}/create_flow_run"
        run: dict[str, Any] = self.ask(path, {"parameters": parameters})
        return run

    def set_state(self, run: Mapping[str, Any], kind: str, message: str = "") -> None:
        """As the run's own process would, or Prefect for one that has none any more."""
        state = {"type": kind, "name": kind.capitalize(), "message": message}
        self.ask(f"/flow_runs/{run['id']}/set_state", {"state": state, "force": True})

    def runs_of(self, name: str) -> list[dict[str, Any]]:
        """The runs of a deployment that no schedule has made."""
        deployment = self.ask(f"/deployments/name/{name}")
        filters = {"deployments": {"id": {"any_": [deployment["id"]]}}}
        runs = self.ask("/flow_runs/filter", filters)
        return [run for run in runs if not run["auto_scheduled"]]

    def registered(self) -> dict[str, Any]:
        """Everything that matters of what is registered; no identifier and no time."""
        names = {flow["id"]: flow["name"] for flow in self.ask("/flows/filter", {})}
        found: dict[str, Any] = {}
        for deployment in self.ask("/deployments/filter", {}):
            name = f"{names[deployment['flow_id']]}/{deployment['name']}"
            found[name] = {key: deployment[key] for key in SAME} | {
                "schedules": sorted(
                    (
                        {key: schedule[key] for key in SCHEDULE}
                        for schedule in deployment["schedules"]
                    ),
                    key=str,
                )
            }
        for pool in self.ask("/work_pools/filter", {}):
            found[f"pool {pool['name']}"] = pool["type"], pool["base_job_template"]
        for automation in self.ask("/automations/filter", {}):
            found[f"automation {automation['name']}"] = automation_content(automation)
        return found

    def identifiers(self) -> dict[str, str]:
        """Identifier of everything that is registered -> when it was written last."""
        kinds = ("automations", "block_documents", "deployments", "flows", "work_pools")
        return {
            entry["id"]: f"{kind}, {entry['updated']}"
            for kind in kinds
            for entry in self.ask(f"/{kind}/filter", {})
        }


def automation_content(automation: Mapping[str, Any]) -> dict[str, Any]:
    """What an automation does; the server makes up the rest, and the order of sets."""
    trigger = {key: automation["trigger"][key] for key in ("match", "match_related", "within")}
    trigger["expect"] = sorted(automation["trigger"]["expect"])
    actions = [
        {key: value for key, value in action.items() if key != "block_document_id"}
        for action in automation["actions"]
    ]
    return {key: automation[key] for key in AUTOMATION} | trigger | {"actions": actions}
