"""A model that does as it is told, and what the tests of online endpoints do again and again."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from tests.emulator.running import RunningEmulator

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import ManagedOnlineDeployment

MLMODEL = """
flavors:
  python_function:
    loader_module: obedient_model
    code: code
"""
# A model that does what the deployment's variables and the request's columns say.
MODEL_CODE = """
import os, time
time.sleep(float(os.environ.get("LOAD_SECONDS", "0")))
if os.environ.get("BROKEN"):
    raise ValueError("the weights are broken")
class Model:
    def predict(self, frame, params=None):
        wish = frame.to_dict("records")[0]
        time.sleep(wish.get("sleep", 0))
        if wish.get("die"):
            os._exit(7)
        if wish.get("fail"):
            raise RuntimeError("the model cannot do this")
        return [os.environ.get("NAME"), os.getpid()]
def _load_pyfunc(path):
    return Model()
"""


def register_model(client: "MLClient", folder: Path, name: str) -> str:
    from azure.ai.ml.entities import Model

    (folder / "code").mkdir(parents=True)
    (folder / "MLmodel").write_text(MLMODEL)
    (folder / "code" / "obedient_model.py").write_text(MODEL_CODE)
    model = Model(name=name, version="1", path=str(folder), type="mlflow_model")
    return str(client.models.create_or_update(model).id)


def deployment(
    endpoint: str, name: str, model: str, request_seconds: float = 60, **variables: str
) -> "ManagedOnlineDeployment":
    from azure.ai.ml.entities import (
        ManagedOnlineDeployment,
        OnlineRequestSettings,
        ProbeSettings,
    )

    return ManagedOnlineDeployment(
        name=name,
        endpoint_name=endpoint,
        model=model,
        instance_type="Standard_DS3_v2",
        instance_count=1,
        environment_variables={"NAME": name, **variables},
        liveness_probe=ProbeSettings(initial_delay=600),
        request_settings=OnlineRequestSettings(request_timeout_ms=int(request_seconds * 1000)),
    )


def processes(state: Path, folder: str = "") -> list[psutil.Process]:
    """The scoring processes of an emulator, by where they run."""
    here = state / "deployments" / folder
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == here:
                found.append(process)
        except psutil.Error:
            continue
    return found


def route(client: "MLClient", endpoint: str, traffic: dict[str, int]) -> None:
    resource = client.online_endpoints.get(endpoint)
    resource.traffic = traffic
    client.begin_create_or_update(resource).result()


@dataclass
class Endpoint:
    """A living endpoint and the model that its deployments serve."""

    name: str
    model: str
    key: str

    def score(
        self, deployment: str | None = None, key: str | None = None, **row: Any
    ) -> httpx.Response:
        """Send a row as plain HTTP, to look at all of the answer."""
        headers = {"Authorization": f"Bearer {key or self.key}"}
        if deployment:
            headers["azureml-model-deployment"] = deployment
        url = f"https://{self.name}.eastus.inference.ml.azure.com/score"
        body = {"input_data": [{"x": 1, **row}]}
        return httpx.post(url, json=body, headers=headers, timeout=120)


def create_endpoint(client: "MLClient", folder: Path, name: str, *deployments: str) -> Endpoint:
    """An endpoint with deployments of an obedient model, without traffic."""
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    model = register_model(client, folder, name)
    client.begin_create_or_update(ManagedOnlineEndpoint(name=name, auth_mode="key")).result()
    for deployed in deployments:
        started = client.online_deployments.begin_create_or_update(
            deployment(name, deployed, model)
        )
        started.result()
    return Endpoint(name, model, client.online_endpoints.get_keys(name).primary_key)


@contextmanager
def living_endpoint(
    client: "MLClient", folder: Path, name: str, *deployments: str
) -> Iterator[Endpoint]:
    """`create_endpoint`, and its deletion when the block ends."""
    yield create_endpoint(client, folder, name, *deployments)
    client.online_endpoints.begin_delete(name).result()


class ResourceManager:
    """Requests below the workspace, without the SDK."""

    def __init__(self, emulator: RunningEmulator) -> None:
        from azure.identity import DefaultAzureCredential

        token = DefaultAzureCredential().get_token("https://management.azure.com/.default").token
        names = emulator.environment
        self._headers = {"Authorization": f"Bearer {token}"}
        self._base = (
            f"https://management.azure.com/subscriptions/{names['AZUREML_SUBSCRIPTION_ID']}"
            f"/resourceGroups/{names['AZUREML_RESOURCE_GROUP']}/providers"
            f"/Microsoft.MachineLearningServices/workspaces/{names['AZUREML_WORKSPACE_NAME']}"
        )

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        url = f"{self._base}{path}?api-version=2023-04-01-preview"
        return httpx.request(method, url, json=body, headers=self._headers, timeout=60)

    def finish(self, answer: httpx.Response) -> dict[str, Any]:
        """Wait until the operation that an answer began is done; gives how it ended."""
        while True:
            url = answer.headers["azure-asyncoperation"]
            operation: dict[str, Any] = httpx.get(url, headers=self._headers, timeout=60).json()
            if operation["status"] != "InProgress":
                return operation
            time.sleep(0.1)

    def result(self, answer: httpx.Response) -> dict[str, Any]:
        """What the Location of an answer gives."""
        got = httpx.get(answer.headers["location"], headers=self._headers, timeout=60)
        return dict(got.json())
