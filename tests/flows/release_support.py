"""Models, endpoints and clients for the tests of releases."""

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from emulator.control_client import Control
from emulator.registry import Registry
from tasks.release_config import ReleaseConfig
from tasks.releasing import deployment_name
from tasks.values import RegisteredModel
from tests.azure import local_azure

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

QUICK: dict[str, Any] = {
    "checks": {"seconds": 0.3, "requests": 4},
    "max_new_tokens": 1,
    "deploy_minutes": 2,
    "size": "Standard_DS3_v2",
}
_BODY = json.dumps(
    {
        "input_data": {
            "input_string": [[{"role": "user", "content": "Hello"}]],
            "parameters": {"max_new_tokens": 1, "do_sample": False},
        }
    }
)


def register(client: "MLClient", name: str, *versions: str) -> None:
    """The registry's base model under that name."""
    from azure.ai.ml.constants import AssetTypes
    from azure.ai.ml.entities import Model

    folder = str(Registry().model_folder("Phi-3-mini-4k-instruct"))
    for version in versions:
        model = Model(name=name, version=version, path=folder, type=AssetTypes.MLFLOW_MODEL)
        client.models.create_or_update(model)


def deployment(model: str) -> str:
    """The deployment's name of NAME:VERSION."""
    name, _, version = model.partition(":")
    return deployment_name(RegisteredModel(id="", name=name, version=version))


ONE, TWO, THREE = "served:1", "served:2", "served:3"


@contextmanager
def stage_for_releases(home: Path) -> Iterator["Stage"]:
    """A local Azure with three models; the environment leads there meanwhile."""
    from blocks.azureml import AzureMLWorkspace
    from tasks.clients import forget_clients, workspace_client

    azure = local_azure()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in azure.environment.items():
            patch.setenv(name, value)
        patch.setenv("FINETUNE_HOME", str(home))
        AzureMLWorkspace().save("default", overwrite=True, _sync=True)  # type: ignore[call-arg]
        forget_clients()
        stage = Stage(workspace_client("default"), Control.of(azure.state))
        register(stage.client, "served", "1", "2", "3")
        yield stage
        stage.control.clear()
        stage.delete()
        forget_clients()


@dataclass
class Load:
    """What clients that never stop asking have been told."""

    answers: list[tuple[int | str, float]] = field(default_factory=list)

    @property
    def failures(self) -> list[int | str]:
        return [status for status, _ in self.answers if status != 200]


@dataclass
class Stage:
    """An endpoint's name of its own, and what a test does to it."""

    client: "MLClient"
    control: Control
    endpoint: str = field(default_factory=lambda: f"rel-{uuid.uuid4().hex[:8]}")

    def config(self, **settings: Any) -> ReleaseConfig:
        return ReleaseConfig.model_validate({**QUICK, "endpoint": self.endpoint, **settings})

    def fresh(self) -> "Stage":
        """The same with an endpoint's name of its own."""
        return Stage(self.client, self.control)

    @property
    def traffic(self) -> dict[str, int]:
        found = self.client.online_endpoints.get(self.endpoint)
        return {name: share for name, share in found.traffic.items() if share}

    @property
    def mirror(self) -> dict[str, int]:
        return dict(self.client.online_endpoints.get(self.endpoint).mirror_traffic or {})

    @property
    def tags(self) -> dict[str, str]:
        return dict(self.client.online_endpoints.get(self.endpoint).tags or {})

    @property
    def deployments(self) -> set[str]:
        return {str(d.name) for d in self.client.online_deployments.list(self.endpoint)}

    def exists(self) -> bool:
        return self.endpoint in {e.name for e in self.client.online_endpoints.list()}

    def delete(self) -> None:
        if self.exists():
            self.client.online_endpoints.begin_delete(self.endpoint).result()

    @contextmanager
    def load(self, clients: int = 2) -> Iterator[Load]:
        """Clients that ask by traffic, one request after the other, while the block runs."""
        key = self.client.online_endpoints.get_keys(self.endpoint).primary_key
        uri = f"https://{self.endpoint}.eastus.inference.ml.azure.com/score"
        seen, stop = Load(), threading.Event()

        def ask() -> None:
            with requests.Session() as session:
                session.headers.update(
                    {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
                )
                while not stop.is_set():
                    began = time.monotonic()
                    try:
                        status: int | str = session.post(uri, data=_BODY, timeout=60).status_code
                    except requests.RequestException as error:
                        status = repr(error)
                    seen.answers.append((status, time.monotonic() - began))
                    stop.wait(0.02)

        threads = [threading.Thread(target=ask) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield seen
        finally:
            stop.set()
            for thread in threads:
                thread.join()
