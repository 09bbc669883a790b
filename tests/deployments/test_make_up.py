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

import psutil
import pytest
import yaml

from deployments.prefect_http import prefect_http
from deployments.register import full_names

ROOT = Path(__file__).parents[2]
PACKAGES = ("blocks", "deployments", "emulator", "flows", "tasks")
PLAN = {"model": {"accept_retired": True}, "plan_only": True, "poll_seconds": 0.5}
ENDED = {"COMPLETED", "CANCELLED", "CRASHED", "FAILED"}
START_SECONDS, RUN_SECONDS, STOP_SECONDS = 180.0, 240.0, 60.0


def small_run() -> dict[str, Any]:
    """The local configuration with little data and few epochs."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "deployments" / "local.yaml").read_text())
    config["dataset"]["percent"] = 5
    config["parameters"]["num_train_epochs"] = 2
    return {**config, "serving": {"max_new_tokens": 8}, "poll_seconds": 0.5}


@dataclass
class Up:
    """A running `make up`: its checkout, its process and what that prints.

    It stands in a folder below the checkout: what it does may not depend on that.
    """

    folder: Path
    process: subprocess.Popen[bytes]
    output: Path

    @property
    def elsewhere(self) -> Path:
        """The folder in which it was started."""
        return self.folder / "elsewhere"

    @property
    def api(self) -> str:
        return (self.folder / ".local" / "up" / "address").read_text() + "/api"

    def ask(self, path: str, filters: Any = None) -> Any:
        """GET `path`, or POST it with filters; the server's JSON."""
        with prefect_http(self.api) as client:
            method = "GET" if filters is None else "POST"
            answer = client.request(method, path, json=filters)
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

    def run_deployment(self, name: str, **parameters: Any) -> subprocess.CompletedProcess[str]:
        """`prefect deployment run NAME --watch` with these parameters."""
        command = ("prefect", "deployment", "run", name, "--watch", *self.parameters(**parameters))
        return self.python(*command, seconds=RUN_SECONDS)

    def parameters(self, **parameters: Any) -> list[str]:
        """These parameters as `prefect deployment run` takes them."""
        return [f"--param={name}={json.dumps(value)}" for name, value in parameters.items()]

    def runs(self, flow: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask(
            "/flow_runs/filter", {"flows": {"name": {"any_": [flow]}}}
        )
        return found

    def delete(self, path: str) -> None:
        with prefect_http(self.api) as client:
            client.delete(path).raise_for_status()

    def child(self, command: str) -> psutil.Process:
        """The process of `make up` whose command line ends so."""
        (found,) = [
            process
            for process in psutil.Process(self.process.pid).children()
            if command in " ".join(process.cmdline())
        ]
        return found

    def wait_for_run_of(self, schedule: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Wait until a run of the schedule has completed; that run."""
        filters = {
            "created_by": {"id_": [schedule["id"]]},
            "state": {"type": {"any_": ["COMPLETED"]}},
        }
        deadline = time.monotonic() + seconds
        while not (found := self.ask("/flow_runs/filter", {"flow_runs": filters})):
            assert time.monotonic() < deadline, "no run of the schedule has completed"
            time.sleep(0.5)
        first: dict[str, Any] = found[0]
        return first

    def wait_for_state(self, run: dict[str, Any], wanted: set[str], seconds: float) -> str:
        """Wait until the run's state is one of these; which one."""
        deadline = time.monotonic() + seconds
        while (kind := str(self.ask(f"/flow_runs/{run['id']}")["state_type"])) not in wanted:
            assert time.monotonic() < deadline, f"the run is {kind}"
            time.sleep(0.2)
        return kind

    def wait_for(self, text: str, times: int, seconds: float) -> None:
        """Wait until it has printed the text so many times."""
        deadline = time.monotonic() + seconds
        while self.output.read_text().count(text) < times:
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.2)


def environment(folder: Path) -> dict[str, str]:
    """This process's environment without what other tests have set for an emulator of theirs."""
    foreign = ("PREFECT_", "AZURE", "HTTPS_PROXY", "REQUESTS_CA", "SSL_CERT", "HF_", "MLFLOW_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "PYTHONPATH": str(folder), "PREFECT_HOME": str(folder / ".local" / "client")}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("checkout")
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    output, elsewhere = folder / "output.txt", folder / "elsewhere"
    elsewhere.mkdir()
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "deployments.up"],
            cwd=elsewhere,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        started = Up(folder, process, output)
        started.wait_for("Ctrl-C stops everything", 1, START_SECONDS)
        yield started
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(STOP_SECONDS)


def test_it_says_where_everything_is(up: Up) -> None:
    said = up.output.read_text()
    assert up.api.removesuffix("/api") in said
    for part in (*full_names(), "MLflow UI", "finetune-notify", str(up.folder / ".local/up")):
        assert part in said


def test_block_pools_and_deployments_are_registered(up: Up) -> None:
    block = up.ask("/block_types/slug/azureml-workspace/block_documents/name/default")
    assert block["data"]["workspace_name"] == "local"
    for name in ("local", "azure"):
        assert up.ask(f"/work_pools/finetune-{name}")["type"] == "process"
        deployment = up.ask(f"/deployments/name/finetune/{name}")
        assert deployment["description"]
        assert deployment["enforce_parameter_schema"] is True


def test_the_local_sweep_is_scheduled_and_ends_things_then(up: Up) -> None:
    deadline = time.monotonic() + 30
    while not (scheduled := up.runs("sweep")):
        assert time.monotonic() < deadline, "the server has scheduled no sweep"
        time.sleep(0.5)
    assert {run["parameters"]["dry_run"] for run in scheduled} == {False}
    local = up.ask("/deployments/name/sweep/local")
    assert {run["deployment_id"] for run in scheduled} == {local["id"]}
    assert local["parameters"]["dry_run"] is True


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
    before = len(up.runs("finetune"))
    refused = up.run_deployment("finetune/local", config=config)
    assert refused.returncode != 0
    assert field in refused.stdout
    assert len(up.runs("finetune")) == before


def test_a_run_of_a_worker_in_another_folder_keeps_what_it_shows(up: Up) -> None:
    done = up.run_deployment("finetune/local", config=small_run())
    assert done.returncode == 0, done.stdout
    assert Path(up.child("worker start").cwd()) == up.elsewhere
    (run,) = up.runs("finetune")
    assert run["state_name"] == "Completed"
    artifacts = up.ask("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    shown = {artifact["key"] for artifact in artifacts}
    assert shown >= {"plan", "sample", "metrics", "loss-curves", "reply", "report"}
    report = json.loads((up.folder / ".local/runs/latest/report.json").read_text())
    assert report["status"] == "completed"
    assert report["losses"]["loss"]["last"] < report["losses"]["loss"]["first"]
    assert report["deleted"] == [f"endpoint {report['endpoint']['endpoint']}"]


def test_a_schedule_starts_a_run_that_without_parameters_ends_nothing(up: Up) -> None:
    local = up.ask("/deployments/name/sweep/local")
    often = {"schedule": {"interval": 10}, "active": True}
    (schedule,) = up.ask(f"/deployments/{local['id']}/schedules", [often])
    run = up.wait_for_run_of(schedule, 90)
    up.delete(f"/deployments/{local['id']}/schedules/{schedule['id']}")
    assert run["auto_scheduled"] is True
    assert run["parameters"]["dry_run"] is True
    shown = up.ask("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    assert "no leftovers" in shown[0]["data"]


def test_a_killed_worker_is_replaced_alone_and_its_run_goes_on(up: Up) -> None:
    others = [up.child(command) for command in ("prefect_server", "emulator start")]
    before = {run["id"] for run in up.runs("finetune")}
    up.python("prefect", "deployment", "run", "finetune/local", *up.parameters(config=PLAN))
    (run,) = [run for run in up.runs("finetune") if run["id"] not in before]
    up.wait_for_state(run, {"RUNNING"}, 30)
    killed = up.child("worker start")
    killed.kill()
    up.wait_for("The worker ended with signal SIGKILL", 1, 10)
    up.wait_for("another one is started", 1, 1)
    up.wait_for("ready  worker", 2, 60)
    assert up.child("worker start").pid != killed.pid
    assert all(process.is_running() for process in others)
    assert up.wait_for_state(run, ENDED, 60) == "COMPLETED"


def test_a_killed_run_is_run_again(up: Up) -> None:
    before = {run["id"] for run in up.runs("finetune")}
    up.python("prefect", "deployment", "run", "finetune/local", *up.parameters(config=PLAN))
    (run,) = [run for run in up.runs("finetune") if run["id"] not in before]
    up.wait_for_state(run, {"RUNNING"}, 30)
    (process,) = up.child("worker start").children()
    process.kill()
    assert up.wait_for_state(run, ENDED, 30) == "CRASHED"
    deadline = time.monotonic() + 20
    while not (again := [run for run in up.runs("finetune") if run["created_by"]]):
        assert time.monotonic() < deadline, "it is not run again"
        time.sleep(0.5)
    assert again[0]["parameters"] == run["parameters"]
    assert up.wait_for_state(again[0], ENDED, 90) == "COMPLETED"


def test_a_killed_local_azure_ml_is_replaced_with_its_worker(up: Up) -> None:
    worker = up.child("worker start")
    up.child("emulator start").kill()
    up.wait_for("The local Azure ML ended with signal SIGKILL", 1, 10)
    up.wait_for("ready  worker", 3, 90)
    assert up.child("worker start").pid != worker.pid
    status = up.python("emulator", "status")
    assert status.returncode == 0, status.stdout


def test_ctrl_c_ends_every_process(up: Up) -> None:
    family = psutil.Process(up.process.pid).children(recursive=True)
    assert len(family) >= 3
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(STOP_SECONDS) == 0, up.output.read_text()
    assert up.output.read_text().endswith("Stopped.\n")
    assert [process for process in family if process.is_running()] == []
