"""The command against a local Azure that is made to refuse, fail and go away."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulator.control_client import Control
from tests.azure import local_azure
from tests.flows.bad_input_support import Said, User, left_behind

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

FAST: dict[str, Any] = {
    "dataset__percent": 1,
    "parameters__max_steps": 1,
    "parameters__num_train_epochs": 1,
    "parameters__per_device_train_batch_size": 2,
    "parameters__per_device_eval_batch_size": 2,
    "parameters__max_seq_length": 32,
    "serving__max_new_tokens": 4,
    "compute__cluster": "bad-cloud",
    "poll_seconds": 0.2,
}
"""The real steps, one step of training."""


@dataclass
class Cloud:
    """A user of the command, and what a test does to the cloud."""

    user: User
    control: Control

    @property
    def client(self) -> "MLClient":
        """A client of the workspace, as the run's own."""
        from tasks.clients import workspace_client

        return workspace_client("default")

    def clusters(self) -> dict[str, Any]:
        """The computes of the workspace by name."""
        return {str(compute.name): compute for compute in self.client.compute.list()}

    def model_versions(self) -> list[str]:
        """The versions of every registered model."""
        models = self.client.models
        return [str(v.version) for model in models.list() for v in models.list(name=model.name)]

    def runs(self, *options: str, **settings: Any) -> Said:
        return self.user.runs(*options, **(FAST | settings))

    def training(self, number: int, **settings: Any) -> Said:
        """The same with a training that no other number has."""
        return self.runs(parameters__learning_rate=1e-3 + number * 1e-6, **settings)

    def refuses(self, said: Said, kind: str, *words: str, lines: bool = False) -> None:
        """Check that the run ended as every failing run must, with the words in its error.

        `lines`: log lines stand in the error, so that it is longer than one line.
        """
        assert said.code == 1, said.err
        assert said.error.endswith(f"[{kind}]")
        assert ("\n" in said.error) == lines, said.error
        for word in words:
            assert word in said.error
        assert said.err.count("error: ") == 1
        assert "Traceback" not in said.out + said.err
        assert said.report["status"] == "failed"
        assert said.report["error_kind"] == kind
        assert said.error == f"error: {said.report['error']} [{kind}]"
        self.leaves_nothing(said)

    def leaves_nothing(self, said: Said) -> None:
        """No job that goes on, no endpoint, no claim, no secret."""
        assert left_behind() == []
        assert set(claims(said.home)) <= {"home"}  # it has no claims, but its own name
        told = said.everything
        assert not [name for name, secret in secrets().items() if secret in told]


def claims(home: Path) -> list[str]:
    """The files below home/claims; `home` is the folder's own name."""
    return sorted(path.name for path in (home / "claims").glob("*"))


def secrets() -> dict[str, str]:
    """Everything secret that the local Azure gave out, by where it is kept."""
    environment = local_azure().environment
    return {"client secret": environment["AZURE_CLIENT_SECRET"]}


def with_proxy(port: int) -> dict[str, str]:
    """This process's environment, but the way to Azure leads over a port of this machine."""
    address = f"http://127.0.0.1:{port}"
    return {**os.environ, "HTTPS_PROXY": address, "https_proxy": address}
