"""Online deployments: real processes that load, fail, die, come back and end."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from emulator.control_client import Control
from tests.emulator.endpoint_support import (
    Endpoint,
    ResourceManager,
    deployment,
    living_endpoint,
    processes,
    route,
)
from tests.emulator.running import RunningEmulator

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


def test_a_deployment_whose_client_names_no_size_has_the_usual_one(
    ml_client: "MLClient", endpoint: Endpoint
) -> None:
    asked = deployment(endpoint.name, "sizeless", endpoint.model)
    asked.instance_type = None
    made = ml_client.online_deployments.begin_create_or_update(asked).result()
    assert made.instance_type == "Standard_F4s_v2"
    ml_client.online_deployments.begin_delete("sizeless", endpoint.name).result()


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


def test_a_patch_is_an_operation_that_may_exceed_the_quota(
    manager: ResourceManager, endpoint: Endpoint, control: Control
) -> None:
    path = f"/onlineEndpoints/{endpoint.name}/deployments/one"
    pid = endpoint.score("one").json()[1]
    answer = manager.send("PATCH", path, {"sku": {"capacity": 2}, "tags": {"size": "two"}})
    assert answer.status_code == 202
    assert manager.finish(answer)["status"] == "Succeeded"
    changed = manager.result(answer)
    assert changed == manager.send("GET", path).json()
    assert changed["sku"] == {"name": "Default", "capacity": 2}
    assert changed["tags"] == {"size": "two"}
    control.set_quota("*", 0)
    end = manager.finish(manager.send("PATCH", path, {"sku": {"capacity": 3}}))
    assert (end["status"], end["error"]["code"]) == ("Failed", "OutOfQuota")
    assert manager.send("GET", path).json()["properties"]["provisioningState"] == "Failed"
    assert endpoint.score("one").json()[1] == pid  # what ran goes on
    control.clear_quotas()
    assert manager.send("PATCH", path, {"sku": {"capacity": 0}}).status_code == 400
    end = manager.finish(manager.send("PATCH", path, {"sku": {"capacity": 1}}))
    assert end["status"] == "Succeeded"


def test_a_patch_of_an_endpoint_is_an_operation(
    manager: ResourceManager, endpoint: Endpoint, control: Control
) -> None:
    path = f"/onlineEndpoints/{endpoint.name}"
    answer = manager.send("PATCH", path, {"tags": {"team": "red"}})
    assert answer.status_code == 202
    assert manager.finish(answer)["status"] == "Succeeded"
    assert manager.result(answer)["tags"] == {"team": "red"}
    manager.finish(manager.send("PATCH", path, {"properties": {"traffic": {"one": 100}}}))
    assert endpoint.score().status_code == 200
    refused = manager.send("PATCH", path, {"properties": {"traffic": {"one": 90}}})
    assert refused.status_code == 400
    failure = {"status": "Failed", "code": "Broken", "message": "it broke"}
    control.add_fault("OnlineEndpoints_Update", operation_result=failure)
    end = manager.finish(manager.send("PATCH", path, {"tags": {}}))
    assert end["error"]["code"] == "Broken"
    assert manager.finish(manager.send("PATCH", path, {"tags": {}}))["status"] == "Succeeded"


def test_a_deployment_in_a_second_workspace(
    ml_client: "MLClient", emulator: RunningEmulator, tmp_path: Path
) -> None:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import Workspace
    from azure.identity import DefaultAzureCredential

    ml_client.workspaces.begin_create(Workspace(name="two", location="eastus")).result()
    second = MLClient(
        DefaultAzureCredential(), ml_client.subscription_id, ml_client.resource_group_name, "two"
    )
    with living_endpoint(second, tmp_path / "model", "ep-second") as endpoint:
        short = f"azureml:{endpoint.model.split('/')[-3]}:1"
        asked = deployment(endpoint.name, "own", endpoint.model)
        asked.model = short
        second.online_deployments.begin_create_or_update(asked).result()
        assert endpoint.score("own").json()[0] == "own"
        with pytest.raises(ResourceNotFoundError):
            ml_client.online_endpoints.get("ep-second")


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
