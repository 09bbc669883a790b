"""The whole flow as a user runs it: by its command, against a local Azure, with real training."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.azure import local_azure
from tests.emulator.running import ROOT

SMALL = {
    "dataset.percent": 8,
    "parameters.num_train_epochs": 2,
    "parameters.per_device_train_batch_size": 8,
    "parameters.per_device_eval_batch_size": 8,
    "parameters.learning_rate": 0.004,
    "parameters.max_seq_length": 256,
    "parameters.precision": "'32'",
    "serving.max_new_tokens": 20,
    "poll_seconds": 1,
}


@dataclass
class Command:
    """`python -m flows.finetune` in a folder of its own."""

    home: Path
    environment: dict[str, str]

    def run(self, *options: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        chosen = SMALL | {name.replace("__", "."): value for name, value in settings.items()}
        flags = [part for name, value in chosen.items() for part in ("--set", f"{name}={value}")]
        return subprocess.run(
            [sys.executable, "-m", "flows.finetune", *flags, *options],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def ask(self, path: str, question: dict[str, Any]) -> Any:
        """What Prefect's API answers to the question."""
        api = self.environment["PREFECT_API_URL"]
        return httpx.post(api + path, json=question, trust_env=False).raise_for_status().json()

    @property
    def report(self) -> dict[str, Any]:
        written = (self.home / "runs" / "latest" / "report.json").read_text()
        return dict(json.loads(written))


@pytest.fixture(scope="module")
def command(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Command:
    home = tmp_path_factory.mktemp("home")
    environment = {name: v for name, v in os.environ.items() if not name.startswith("AZUREML_")}
    environment |= local_azure().environment
    environment |= {
        "FINETUNE_HOME": str(home),
        "PREFECT_API_URL": prefect_server,
        "PYTHONPATH": str(ROOT),
    }
    return Command(home, environment)


@pytest.fixture(scope="module")
def first(command: Command) -> dict[str, Any]:
    """The report of a run that trained."""
    done = command.run("--accept-retired")
    assert done.returncode == 0, done.stdout + done.stderr
    return command.report


def test_a_run_trains_registers_deploys_asks_and_tears_down(first: dict[str, Any]) -> None:
    assert first["status"] == "completed"
    assert first["job"]["adopted"] is False
    assert first["outcome"]["status"] == "Completed"
    assert first["losses"]["eval_loss"]["last"] < first["losses"]["eval_loss"]["first"]
    assert first["model"]["id"].endswith(first["plan"]["names"]["model_version"])
    assert first["reply"]["reply"]
    assert first["deleted"] == [f"endpoint {first['plan']['names']['endpoint']}"]
    assert {"look", "plan", "compute", "job", "deploy", "ask", "tear down"} <= set(first["seconds"])
    assert first["rows"]["train_sft"]["used"] >= 10


def test_the_loss_curve_lies_beside_the_report(first: dict[str, Any], command: Command) -> None:
    picture = command.home / "runs" / "latest" / "loss.png"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_what_a_person_looks_at_is_kept_with_the_run(
    first: dict[str, Any], command: Command
) -> None:
    run = {"artifacts": {"flow_run_id": {"any_": [first["flow_run_id"]]}}}
    kept = {artifact["key"]: artifact for artifact in command.ask("/artifacts/filter", run)}
    assert kept["plan"]["data"].startswith(f"# Plan {first['plan']['names']['run_key']}")
    for key, figures in {
        "lengths": f"| train_sft | {first['rows']['train_sft']['used']} of ",
        "loss-curves": f"| {first['losses']['eval_loss']['last']:.4g} |",
    }.items():
        assert "](data:image/png;base64,iVBOR" in kept[key]["data"]
        assert figures in kept[key]["data"]
        assert len(kept[key]["data"]) < 60_000
    assert kept["progress"]["data"] == 100
    assert kept["progress"]["description"].endswith("5 of 5 steps done")
    assert "| the data expect | the fine-tuned model says" in kept["reply"]["data"]
    report = kept["report"]["data"]
    assert f"[job]({first['job']['studio_url']})" in report
    assert f"{first['endpoint']['endpoint']}, deleted" in report
    assert first["metrics"]["run_id"] in first["links"]["metrics of the training"]
    assert not {"endpoint", "scoring address"} & first["links"].keys()


def test_the_model_is_recorded_as_made_from_the_data_and_the_endpoint_from_the_model(
    first: dict[str, Any], command: Command
) -> None:
    name, plan = "prefect.asset.materialization.succeeded", first["plan"]
    run = f"prefect.flow-run.{first['flow_run_id']}"
    question = {"event": {"name": [name]}, "any_resource": {"id": [run]}}
    deadline = time.monotonic() + 20
    made: dict[str, Any] = {}
    while len(made) < 2 and time.monotonic() < deadline:  # the server stores events later
        events = command.ask("/events/filter", {"filter": question})["events"]
        made = {event["resource"]["prefect.resource.id"]: event for event in events}
        time.sleep(0.2)
    below = "azureml://subscriptions/" + first["model"]["id"].partition("/subscriptions/")[2]
    below = below.replace("/providers/Microsoft.MachineLearningServices", "")
    endpoint = f"{below.partition('/models/')[0]}/onlineEndpoints/{first['endpoint']['endpoint']}"
    assert made.keys() == {below, endpoint}

    def made_from(key: str) -> set[str]:
        related = made[key]["related"]
        assets = [item for item in related if item["prefect.resource.role"] == "asset"]
        return {item["prefect.resource.id"] for item in assets}

    dataset = plan["data"]["dataset"], plan["data"]["revision"][:12]
    assert made_from(below) == {
        plan["model"]["id"],
        "huggingface://datasets/{}@{}".format(*dataset),
    }
    assert made_from(endpoint) == {below}
    assert made[below]["payload"]["job"] == first["job"]["name"]


def test_the_same_run_again_adopts_the_job_and_the_model(
    first: dict[str, Any], command: Command
) -> None:
    done = command.run("--accept-retired")
    assert done.returncode == 0, done.stdout + done.stderr
    again = command.report
    assert again["job"] == first["job"] | {"adopted": True}
    assert again["model"]["id"] == first["model"]["id"]
    assert again["model"]["adopted"] is True
    assert again["seconds"]["job"] < first["seconds"]["job"]


def test_the_plan_alone_creates_nothing(command: Command) -> None:
    done = command.run("--accept-retired", "--plan-only", compute__cluster="only-planned")
    assert done.returncode == 0, done.stderr
    assert command.report["status"] == "planned"
    assert "Training parameters" in done.stdout + done.stderr
    assert command.report["job"] is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model__name": "Phi-3-mini"}, "The registry has no model Phi-3-mini."),
        ({"dataset__name": "nobody/nothing"}, "nobody/nothing"),
        ({"dataset__train_split": "train_sfx"}, "train_sfx"),
        ({"compute__size": "Standard_ND40rs_v2"}, "not allowed for fine-tuning"),
        ({"parameters__num_train_epochs": 0}, "num_train_epochs"),
        ({"model__accept_retired": False}, "was retired"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence_before_anything_is_created(
    command: Command, settings: dict[str, Any], words: str
) -> None:
    done = command.run(**({"model__accept_retired": True, "compute__cluster": "none"} | settings))
    assert done.returncode == 1, done.stdout + done.stderr
    told = done.stderr[done.stderr.index("error: ") :]
    assert words in told
    assert "Traceback" not in done.stderr
    assert command.report["status"] == "failed"
    assert command.report["job"] is None
    assert "compute" not in command.report["seconds"]
