"""A local Azure that can be made to fail, a Prefect server, and runs that may be killed."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.fleet import Fleet, Run, fast
from emulator.cli import running_emulator
from emulator.control_client import Control
from tasks.polling import status_word

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

_ROWS = 2400
"""Rows of the sample's training split; every whole number of rows is a training of its own."""


@dataclass(frozen=True)
class Left:
    """What is in the workspace under one run key."""

    jobs: tuple[str, ...] = ()
    """States of the jobs, in order of the alphabet."""
    models: int = 0
    endpoints: int = 0


CLEAN = Left(jobs=("Completed",), models=1)
"""One job, one model version, nothing else."""


@dataclass
class Rig:
    """The whole of it."""

    control: Control
    fleet: Fleet
    client: "MLClient"
    salt: float = field(default_factory=lambda: random.random() * 1e-8)
    """Makes its trainings other ones than those of other rigs on the same Prefect server."""

    def config(self, number: int, **settings: Any) -> dict[str, Any]:
        """A training of one step on data of its own, so that nothing is there already."""
        percent = (24 + number) * 100 / _ROWS
        own = {"dataset": {"percent": percent}, "compute": {"cluster": f"cluster-{number}"}}
        return fast(1e-3 + number * 1e-7 + self.salt, **(own | settings))

    def start(self, config: dict[str, Any], **more: Any) -> Run:
        return self.fleet.start(config, **more)

    def left(self) -> dict[str, Left]:
        """Everything in the workspace, by run key."""
        jobs: dict[str, list[str]] = defaultdict(list)
        for job in self.client.jobs.list():
            jobs[_key(job)].append(status_word(job.status))
        models = Counter(
            _key(version)
            for model in self.client.models.list()
            for version in self.client.models.list(name=model.name)
        )
        endpoints = Counter(_key(endpoint) for endpoint in self.client.online_endpoints.list())
        return {
            key: Left(tuple(sorted(jobs[key])), models[key], endpoints[key])
            for key in {*jobs, *models, *endpoints}
        }

    def claims(self) -> list[Path]:
        """The claims that runs have left, or hold."""
        return list((self.fleet.home / "claims").glob("*.json"))


def _key(entity: Any) -> str:
    return str((entity.tags or {}).get("run_key"))


@contextmanager
def rig(folder: Path, api: str) -> Iterator[Rig]:
    """An emulator of its own below the folder; `api`: Prefect's address."""
    from azure.ai.ml import MLClient
    from azure.identity import ClientSecretCredential

    with running_emulator(folder / "emulator") as config:
        environment = config.client_environment()
        fleet = Fleet(environment, folder / "home", api)
        credential = ClientSecretCredential(
            environment["AZURE_TENANT_ID"],
            environment["AZURE_CLIENT_ID"],
            environment["AZURE_CLIENT_SECRET"],
            **_through(environment),
        )
        client = MLClient(
            credential,
            environment["AZUREML_SUBSCRIPTION_ID"],
            environment["AZUREML_RESOURCE_GROUP"],
            environment["AZUREML_WORKSPACE_NAME"],
            enable_telemetry=False,
            **_through(environment),
        )
        control = Control(config)
        control.set_quota("*", 1_000_000)  # every training has a cluster of its own
        try:
            yield Rig(control, fleet, client)
        finally:
            fleet.stop()


def _through(environment: dict[str, str]) -> dict[str, Any]:
    """Options that lead a client to the emulator without this process's environment."""
    return {
        "proxies": {"https": environment["HTTPS_PROXY"]},
        "connection_verify": environment["REQUESTS_CA_BUNDLE"],
    }
