"""The command as a user gives it, in this process, and what it said, wrote and left behind."""

import json
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.emulator.running import ROOT

CONFIG = ROOT / "deployments" / "local.yaml"
BASE = {"dataset.percent": 8, "parameters.num_train_epochs": 1, "poll_seconds": 1}


@dataclass
class Said:
    """What a run of the command left for its user."""

    code: int
    out: str
    err: str
    home: Path

    @property
    def error(self) -> str:
        """The last thing on stderr: the error line and what follows it."""
        start = self.err.rindex("error: ")
        return self.err[start:].strip()

    @property
    def report(self) -> dict[str, Any]:
        written = (self.home / "runs" / "latest" / "report.json").read_text()
        return dict(json.loads(written))

    @property
    def everything(self) -> str:
        """All that could be read by somebody else: both streams and every file of the run."""
        files = [
            path.read_text(errors="replace")
            for path in self.home.rglob("*")
            if path.is_file() and path.suffix in (".json", ".log", ".md", ".txt")
        ]
        return "\n".join([self.out, self.err, *files])


@dataclass
class User:
    """Runs the command in one home folder."""

    home: Path
    capsys: pytest.CaptureFixture[str]

    def runs(self, *options: str, **settings: Any) -> Said:
        from flows.finetune_command import main
        from tasks.clients import forget_clients

        forget_clients()
        self.capsys.readouterr()
        follow_stderr()
        arguments = [*arguments_of(settings), *options]
        code = main(arguments)
        shown = self.capsys.readouterr()
        return Said(code, shown.out, shown.err, self.home)


def follow_stderr() -> None:
    """Let Prefect's console write to the stderr of now: it keeps the one it was made with."""
    names = [None, *logging.Logger.manager.loggerDict]
    for handler in {h for name in names for h in logging.getLogger(name).handlers}:
        console = getattr(handler, "console", None)
        if console is not None:
            console.file = sys.stderr


def arguments_of(settings: Mapping[str, Any]) -> list[str]:
    """`--config` and one `--set` a setting; `__` in a keyword stands for the dot of its path."""
    chosen = BASE | {name.replace("__", "."): value for name, value in settings.items()}
    flags = [part for name, value in chosen.items() for part in ("--set", f"{name}={value}")]
    return ["--config", str(CONFIG), *flags]


def left_behind() -> list[str]:
    """Jobs that are not over and endpoints of the workspace that the environment names."""
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    client = MLClient(
        DefaultAzureCredential(),
        os.environ["AZUREML_SUBSCRIPTION_ID"],
        os.environ["AZUREML_RESOURCE_GROUP"],
        os.environ["AZUREML_WORKSPACE_NAME"],
        enable_telemetry=False,
    )
    over = ("Completed", "Failed", "Canceled")
    jobs = [f"job {job.name}" for job in client.jobs.list() if job.status not in over]
    return jobs + [f"endpoint {endpoint.name}" for endpoint in client.online_endpoints.list()]
