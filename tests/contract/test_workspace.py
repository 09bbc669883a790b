"""The workspace itself."""

from typing import Any

import httpx
import pytest

from tests.contract.service import MANAGEMENT, Service


@pytest.mark.operation("Workspaces_Get")
def test_the_workspace_tells_where_its_services_are(client: Any) -> None:
    workspace = client.workspaces.get(client.workspace_name)
    assert workspace.name == client.workspace_name
    assert workspace.location
    assert workspace.discovery_url.startswith("https://")
    assert workspace.mlflow_tracking_uri.startswith("azureml://")
    assert workspace.storage_account.startswith("/subscriptions/")


@pytest.mark.operation("Workspaces_ListByResourceGroup")
def test_the_workspace_is_among_those_of_its_group(client: Any) -> None:
    assert client.workspace_name in [w.name for w in client.workspaces.list()]


@pytest.mark.operation("Discovery_Get")
def test_discovery_needs_no_token(service: Service) -> None:
    address = service.send("GET").json()["properties"]["discoveryUrl"]
    answer = httpx.get(address)
    assert answer.status_code == 200
    assert answer.json()["api"].startswith("https://")


@pytest.mark.operation("Metadata_Endpoints")
def test_the_cloud_tells_its_addresses_without_a_token() -> None:
    answer = httpx.get(f"{MANAGEMENT}/metadata/endpoints", params={"api-version": "2019-05-01"})
    assert answer.status_code == 200
    clouds = {cloud["name"]: cloud for cloud in answer.json()}
    assert clouds["AzureCloud"]["suffixes"]["storage"] == "core.windows.net"


@pytest.mark.operation("Providers_Get")
def test_the_provider_is_registered(service: Service) -> None:
    subscription = service.target.path.split("/resourceGroups/")[0]
    answer = service.send(
        "GET",
        f"{MANAGEMENT}{subscription}/providers/Microsoft.MachineLearningServices",
        version="2021-04-01",
    )
    assert answer.status_code == 200
    assert answer.json()["registrationState"] == "Registered"


@pytest.mark.operation("ResourceGroups_Get")
def test_the_resource_group_is_there(service: Service) -> None:
    group = service.target.path.split("/providers/")[0]
    answer = service.send("GET", MANAGEMENT + group, version="2021-04-01")
    assert answer.status_code == 200
    assert answer.json()["properties"]["provisioningState"] == "Succeeded"
