"""Online deployments: real processes that load, fail, die, come back and end."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.emulator.endpoint_support import (
    Endpoint,
    ResourceManager,
    create_endpoint,
    deployment,
    living_endpoint,
    processes,
    route,
)
from tests.emulator.running import RunningEmulator, StartedEmulator

if TYPE_CHECKING:
    from azure.ai.ml import MLClient


@pytest.fixture(scope="module")
def endpoint(ml_client: "MLClient", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("models") / "model"
    with living_endpoint(ml_client, folder, "ep-deployments", "one") as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def manager(emulator: RunningEmulator) -> ResourceManager:
    return ResourceManager(emulator)


def test_a_process_that_dies_is_started_again(endpoint: Endpoint) -> None:
    first = endpoint.score("one").json()[1]
    assert endpoint.score("one", die=True).status_code == 502
    assert endpoint.score("one").json()[1] != first


def test_a_model_that_does_not_load_fails_the_deployment_with_its_log(
    ml_client: "MLClient", endpoint: Endpoint
) -> None:
    broken = deployment(endpoint.name, "broken", endpoint.model, BROKEN="yes")
    with pytest.raises(HttpResponseError, match="has crashed or terminated") as error:
        ml_client.online_deployments.begin_create_or_update(broken).result()
    assert error.value.error is not None
    assert error.value.error.code == "ResourceNotReady"
    assert ml_client.online_deployments.get("broken", endpoint.name).provisioning_state == "Failed"
    logs = ml_client.online_deployments.get_logs("broken", endpoint.name, lines=50)
    assert "the weights are broken" in logs
    ml_client.online_deployments.begin_delete("broken", endpoint.name).result()
    with pytest.raises(ResourceNotFoundError):
        ml_client.online_deployments.get("broken", endpoint.name)


def test_a_model_that_loads_too_slowly_fails_the_deployment(
    ml_client: "MLClient", endpoint: Endpoint, emulator: RunningEmulator
) -> None:
    from azure.ai.ml.entities import ProbeSettings

    slow = deployment(endpoint.name, "slow", endpoint.model, LOAD_SECONDS="60")
    slow.liveness_probe = ProbeSettings(initial_delay=1, period=1, failure_threshold=1)
    before = {process.pid for process in processes(emulator.state, endpoint.name)}
    with pytest.raises(HttpResponseError, match="within the 2 seconds"):
        ml_client.online_deployments.begin_create_or_update(slow).result()
    assert {process.pid for process in processes(emulator.state, endpoint.name)} == before


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"instanceType": "Standard_Nothing"}, 400, "not offered"),
        ({"endpointComputeType": "Kubernetes"}, 501, "Kubernetes"),
        ({"model": "azureml:nothing:1"}, 404, "nothing"),
        ({"model": None}, 400, "names no model"),
        ({"requestSettings": {"requestTimeout": "PT10M"}}, 400, "600 seconds"),
        ({"livenessProbe": {"initialDelay": "soon"}}, 400, "soon"),
    ],
)
def test_an_impossible_deployment_is_refused_at_once(
    manager: ResourceManager,
    endpoint: Endpoint,
    change: dict[str, Any],
    status: int,
    text: str,
) -> None:
    properties = {"model": endpoint.model, "instanceType": "Standard_DS3_v2", **change}
    path = f"/onlineEndpoints/{endpoint.name}/deployments/impossible"
    answer = manager.send("PUT", path, {"location": "eastus", "properties": properties})
    assert answer.status_code == status
    assert text in answer.json()["error"]["message"]
    assert manager.send("GET", path).status_code == 404


def test_a_repeated_put_is_one_deployment(
    manager: ResourceManager, endpoint: Endpoint, emulator: RunningEmulator
) -> None:
    before = len(processes(emulator.state, endpoint.name))
    path = f"/onlineEndpoints/{endpoint.name}/deployments/again"
    properties = {"model": endpoint.model, "instanceType": "Standard_DS3_v2"}
    first = manager.send("PUT", path, {"properties": properties})
    second = manager.send("PUT", path, {"properties": properties})
    other = manager.send("PUT", path, {"properties": properties, "tags": {"a": "b"}})
    assert (first.status_code, second.status_code, other.status_code) == (201, 201, 409)
    assert first.headers["azure-asyncoperation"] == second.headers["azure-asyncoperation"]
    assert first.json()["properties"]["provisioningState"] == "Creating"
    while manager.send("GET", path).json()["properties"]["provisioningState"] == "Creating":
        time.sleep(0.2)
    assert len(processes(emulator.state, endpoint.name)) == before + 1
    assert manager.send("DELETE", path).status_code == 202
    while manager.send("GET", path).status_code == 200:
        time.sleep(0.1)
    assert manager.send("DELETE", path).status_code == 204
    assert len(processes(emulator.state, endpoint.name)) == before


def test_a_deployment_with_traffic_is_not_deleted(
    ml_client: "MLClient", endpoint: Endpoint
) -> None:
    route(ml_client, endpoint.name, {"one": 100})
    with pytest.raises(HttpResponseError, match="100 %"):
        ml_client.online_deployments.begin_delete("one", endpoint.name).result()


def test_deleting_an_endpoint_ends_its_processes(
    ml_client: "MLClient", emulator: RunningEmulator, tmp_path: Path
) -> None:
    name = "ep-deleted"
    with living_endpoint(ml_client, tmp_path / "model", name, "demo") as endpoint:
        assert len(processes(emulator.state, name)) == 1
    assert processes(emulator.state, name) == []
    assert endpoint.score("demo").status_code == 404
    with pytest.raises(ResourceNotFoundError):
        ml_client.online_endpoints.get(name)


def test_deployments_come_back_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    state = tmp_path / "state"
    state.mkdir()

    def connect(running: RunningEmulator) -> MLClient:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        names = running.environment
        return MLClient(
            DefaultAzureCredential(),
            names["AZUREML_SUBSCRIPTION_ID"],
            names["AZUREML_RESOURCE_GROUP"],
            names["AZUREML_WORKSPACE_NAME"],
        )

    first = StartedEmulator(state)
    with first as running:
        endpoint = create_endpoint(connect(running), tmp_path / "model", "ep-back", "demo")
        left = [process.pid for process in processes(state, "ep-back")]
        first.process.kill()
        first.process.wait()
        # A killed emulator leaves its sign, and the next must not be taken for ready by it.
        (state / "ready").unlink()
    with StartedEmulator(state) as running:
        connect(running)
        answer = endpoint.score("demo").json()
        assert answer[0] == "demo"
        assert answer[1] not in left
        assert [process.pid for process in processes(state, "ep-back")] == [answer[1]]
    assert processes(state, "ep-back") == []
