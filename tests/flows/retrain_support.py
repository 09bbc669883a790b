"""Retraining in this process, against a workspace that the tests of one module share."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
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


def retrain_settings(rate: float, **settings: Any) -> dict[str, Any]:
    """A retraining of a few steps with this learning rate, quickly measured and released."""
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
    return {
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


@dataclass
class Retraining:
    """Retrains in this process, against a workspace of its own."""

    state: Path
    control: Control

    def config(self, rate: float, **settings: Any) -> RetrainConfig:
        return RetrainConfig.model_validate(retrain_settings(rate, **settings))

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

    def start_over(self) -> None:
        """Without a champion, a verdict or an endpoint; models and jobs of other tests stay."""
        from tasks.clients import workspace_client

        client = workspace_client("default")
        for version in client.models.list(name=MODEL):
            version.tags = {}
            client.models.create_or_update(version)
        if "retrained" in {endpoint.name for endpoint in client.online_endpoints.list()}:
            client.online_endpoints.begin_delete("retrained").wait(60)

    def live(self) -> set[str]:
        """The models that the endpoint has deployments of."""
        from tasks.clients import workspace_client

        found = workspace_client("default").online_deployments.list("retrained")
        return {str(deployment.model).rsplit("/", 1)[-1] for deployment in found}


@contextmanager
def retraining_in(home: Path) -> Iterator[Retraining]:
    """A workspace without a champion; the environment leads there meanwhile."""
    from flows.command_line import ensure_default_block
    from tasks.clients import forget_clients

    azure = local_azure()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in azure.environment.items():
            patch.setenv(name, value)
        patch.setenv("FINETUNE_HOME", str(home))
        forget_clients()
        ensure_default_block()
        control = Control.of(azure.state)
        control.clear()
        made = Retraining(azure.state, control)
        made.start_over()
        yield made
        forget_clients()
        shutil.rmtree(azure.state / "hub", ignore_errors=True)
