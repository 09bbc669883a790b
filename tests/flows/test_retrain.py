"""Retraining: skipped while nothing is new, and only what is better is released.

The tests share one workspace and go on from each other.
"""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from emulator.control_client import Control
from emulator.server import HUB_FOLDER
from tasks.retrain_config import RetrainConfig
from tests.azure import local_azure

NAME = "HuggingFaceH4/ultrachat_200k"
MODEL = "Phi-3-mini-4k-instruct-ultrachat-200k"
WEAK, STRONG, BAD = 1e-6, 4e-3, 3.0
"""Learning rates: one that hardly moves the model, a good one, one that breaks it."""


@dataclass
class Retraining:
    """Retrains in this process, against a workspace of its own."""

    state: Path
    control: Control

    def config(self, rate: float, **settings: Any) -> RetrainConfig:
        training = {
            "model": {"accept_retired": True},
            "dataset": {"percent": 1.5},
            "parameters": {
                "max_steps": 6,
                "num_train_epochs": 1,
                "per_device_train_batch_size": 4,
                "per_device_eval_batch_size": 4,
                "max_seq_length": 128,
                "learning_rate": rate,
                "precision": "32",
            },
            "poll_seconds": 0.2,
        }
        return RetrainConfig.model_validate(
            {
                "finetune": training,
                "evaluation": {"rows": 16, "replies": 2, "max_new_tokens": 4, "max_length": 128},
                "release": {
                    "endpoint": "retrained",
                    "size": "Standard_NC24ads_A100_v4",
                    "checks": {"seconds": 0.2, "requests": 2},
                    "max_new_tokens": 8,
                },
                **settings,
            }
        )

    def run(self, rate: float, **settings: Any) -> dict[str, Any]:
        """The report of one retraining."""
        from flows.retrain import retrain

        report = retrain(self.config(rate, **settings))
        written = json.loads((report.folder / "report.json").read_text())
        assert written["status"] == report.status
        return dict(written)

    def add_a_row(self) -> None:
        """A new revision of the dataset: the first row of the training split twice."""
        own = self.state / "hub" / "datasets" / NAME
        if not own.exists():
            shutil.copytree(HUB_FOLDER / "datasets" / NAME, own)
        (file,) = own.glob("data/train_sft-*.parquet")
        rows = parquet.read_table(file)
        parquet.write_table(pa.concat_tables([rows.slice(0, 1), rows]), file)

    def tags(self) -> dict[str, dict[str, str]]:
        """The tags of the registered versions."""
        from tasks.clients import workspace_client

        versions = workspace_client("default").models.list(name=MODEL)
        return {str(version.version): dict(version.tags) for version in versions}

    def live(self) -> set[str]:
        """The models that the endpoint has deployments of."""
        from tasks.clients import workspace_client

        found = workspace_client("default").online_deployments.list("retrained")
        return {str(deployment.model).rsplit("/", 1)[-1] for deployment in found}


@pytest.fixture(scope="module")
def retraining(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from flows.command_line import ensure_default_block
    from tasks.clients import forget_clients

    azure = local_azure()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in azure.environment.items():
            patch.setenv(name, value)
        patch.setenv("FINETUNE_HOME", str(tmp_path_factory.mktemp("home")))
        forget_clients()
        ensure_default_block()
        control = Control.of(azure.state)
        control.clear()
        yield Retraining(azure.state, control)
        forget_clients()
        shutil.rmtree(azure.state / "hub", ignore_errors=True)


@pytest.fixture(scope="module")
def first(retraining: Retraining) -> dict[str, Any]:
    return retraining.run(WEAK)


def test_the_first_model_is_the_champion_and_is_released(
    first: dict[str, Any], retraining: Retraining
) -> None:
    assert first["status"] == "new champion"
    assert "no champion" in first["news"][0]
    assert first["release"]["status"] == "released"
    version = first["challenger"]["version"]
    assert "champion" in retraining.tags()[version]
    assert retraining.live() == {version}


def test_nothing_new_is_skipped_in_seconds(first: dict[str, Any], retraining: Retraining) -> None:
    retraining.control.clear_events()
    started = time.monotonic()
    again = retraining.run(WEAK)
    assert time.monotonic() - started < 20
    assert again["status"] == "skipped"
    assert "Nothing has changed" in again["reason"]
    assert retraining.control.events(operation="Jobs_CreateOrUpdate", kind="write") == []


@pytest.fixture(scope="module")
def second(first: dict[str, Any], retraining: Retraining) -> dict[str, Any]:
    return retraining.run(STRONG)


def test_a_better_model_takes_the_champions_place(
    first: dict[str, Any], second: dict[str, Any], retraining: Retraining
) -> None:
    assert second["status"] == "new champion", second["reason"]
    assert second["champion"]["version"] == first["challenger"]["version"]
    assert second["challenger_scores"]["loss"] < second["champion_scores"]["loss"]
    assert second["release"]["replaced_model"] == f"{MODEL}:{first['challenger']['version']}"
    version = second["challenger"]["version"]
    assert retraining.live() == {version}
    assert [v for v, tags in retraining.tags().items() if "champion" in tags] == [version]


def test_a_worse_one_is_registered_and_goes_no_further(
    second: dict[str, Any], retraining: Retraining
) -> None:
    third = retraining.run(BAD)
    assert third["status"] == "kept the champion"
    assert third["champion"]["version"] == second["challenger"]["version"]
    assert third["release"] is None
    assert "at least 1.0% lower is asked for" in third["reason"]
    assert retraining.live() == {second["challenger"]["version"]}
    assert retraining.tags()[third["challenger"]["version"]]["verdict"] == "worse"
    again = retraining.run(BAD)
    assert again["status"] == "skipped"
    assert "is worse" in again["reason"]


def test_one_new_row_is_reason_enough(second: dict[str, Any], retraining: Retraining) -> None:
    retraining.add_a_row()
    fourth = retraining.run(STRONG, evaluation={"rows": 16, "replies": 0, "max_length": 128})
    assert any("The dataset's revision" in news for news in fourth["news"])
    assert fourth["training"]
    assert fourth["status"] in ("new champion", "kept the champion")
