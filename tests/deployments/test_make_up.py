"""`make up` as a person uses it: start it, look, run a deployment, end it with Ctrl-C.

It runs in a copy of the packages, so that its .local is not the one of this checkout. The tests
share one start and go on from each other, the last one ends it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

ROOT = Path(__file__).parents[2]
PACKAGES = ("blocks", "deployments", "emulator", "flows", "tasks")
START_SECONDS, RUN_SECONDS, STOP_SECONDS = 180.0, 240.0, 60.0


def small_run() -> dict[str, Any]:
    """The local configuration with little data and few epochs."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "deployments" / "local.yaml").read_text())
    config["dataset"]["percent"] = 5
    config["parameters"]["num_train_epochs"] = 2
    return {**config, "serving": {"max_new_tokens": 8}, "poll_seconds": 0.5}


@dataclass
class Up:
    """A running `make up`: its checkout, its process and what that prints."""

    folder: Path
    process: subprocess.Popen[bytes]
    output: Path

    @property
    def api(self) -> str:
        return (self.folder / ".local" / "up" / "address").read_text() + "/api"

    def ask(self, path: str, filters: dict[str, Any] | None = None) -> Any:
        """GET `path`, or POST it with filters; the server's JSON."""
        with httpx.Client(trust_env=False, timeout=30) as client:
            method = "GET" if filters is None else "POST"
            answer = client.request(method, self.api + path, json=filters)
            return answer.raise_for_status().json()

    def python(self, *arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """`python -m ARGUMENTS` in the checkout, as in a second shell."""
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.folder,
            env={**environment(self.folder), "PREFECT_API_URL": self.api, "COLUMNS": "300"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )

    def run_deployment(self, config: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        """`prefect deployment run finetune/local --watch` with this configuration."""
        command = ("prefect", "deployment", "run", "finetune/local", "--watch")
        return self.python(*command, "--param", f"config={json.dumps(config)}", seconds=RUN_SECONDS)

    def counts(self) -> dict[str, int]:
        return {
            kind: len(self.ask(f"/{kind}/filter", {}))
            for kind in ("block_documents", "deployments", "flow_runs", "flows", "work_pools")
        }


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return {**kept, "PYTHONPATH": str(folder), "PREFECT_HOME": str(folder / ".local" / "client")}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("checkout")
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    output = folder / "output.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "deployments.up"],
            cwd=folder,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while "Ctrl-C stops everything" not in output.read_text():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.2)
        yield Up(folder, process, output)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(STOP_SECONDS)


def test_it_says_where_everything_is(up: Up) -> None:
    said = up.output.read_text()
    assert up.api.removesuffix("/api") in said
    for part in ("finetune/local", "finetune/azure", "MLflow UI", str(up.folder / ".local/up")):
        assert part in said


def test_block_pools_and_deployments_are_registered(up: Up) -> None:
    block = up.ask("/block_types/slug/azureml-workspace/block_documents/name/default")
    assert block["data"]["workspace_name"] == "local"
    for name in ("local", "azure"):
        assert up.ask(f"/work_pools/finetune-{name}")["type"] == "process"
        deployment = up.ask(f"/deployments/name/finetune/{name}")
        assert deployment["description"]
        assert deployment["enforce_parameter_schema"] is True
        (schedule,) = deployment["schedules"]
        assert schedule["active"] is False
        assert schedule["schedule"]["cron"] == "0 3 * * 0"
        assert schedule["schedule"]["timezone"] == "Europe/Copenhagen"


def test_registering_again_changes_nothing(up: Up) -> None:
    before = up.counts()
    again = up.python("deployments.register")
    assert again.returncode == 0, again.stdout
    assert up.counts() == before


def test_a_second_make_up_is_refused_with_the_address_of_the_first(up: Up) -> None:
    second = up.python("deployments.up")
    assert second.returncode == 1
    assert "runs already" in second.stdout
    assert up.api.removesuffix("/api") in second.stdout


@pytest.mark.parametrize(
    ("config", "field"),
    [({"dataset": {"percent": 0}}, "config.dataset.percent"), ({"percnt": 5}, "percnt")],
)
def test_a_bad_parameter_is_refused_before_a_run_exists(
    up: Up, config: dict[str, Any], field: str
) -> None:
    before = up.counts()["flow_runs"]
    refused = up.run_deployment(config)
    assert refused.returncode != 0
    assert field in refused.stdout
    assert up.counts()["flow_runs"] == before


def test_a_run_trains_serves_and_keeps_what_it_shows(up: Up) -> None:
    done = up.run_deployment(small_run())
    assert done.returncode == 0, done.stdout
    (run,) = up.ask("/flow_runs/filter", {})
    assert run["state_name"] == "Completed"
    artifacts = up.ask("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    shown = {artifact["key"] for artifact in artifacts}
    assert shown >= {"plan", "sample", "metrics", "loss-curve", "reply", "report"}
    report = json.loads((up.folder / ".local/runs/latest/report.json").read_text())
    assert report["status"] == "completed"
    assert report["losses"]["loss"]["last"] < report["losses"]["loss"]["first"]
    assert report["deleted"] == [f"endpoint {report['endpoint']['endpoint']}"]


def test_ctrl_c_ends_every_process(up: Up) -> None:
    family = psutil.Process(up.process.pid).children(recursive=True)
    assert len(family) >= 3
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(STOP_SECONDS) == 0, up.output.read_text()
    assert up.output.read_text().endswith("Stopped.\n")
    assert [process for process in family if process.is_running()] == []
