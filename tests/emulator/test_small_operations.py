"""Small operations of the provider, of a workspace and of its computes, by plain HTTP."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from emulator.control_client import Control
from tests.contract.service import MANAGEMENT, Service
from tests.emulator.wire_support import done, job_ended, ok, service

__all__ = ["service"]

FAMILY = "standardDSv2Family"
SIZE = "Standard_DS3_v2"
"""Of that family; it has 4 vCPUs."""


def locations(service: Service, operation: str) -> str:
    return (
        f"{MANAGEMENT}/subscriptions/{service.target.subscription}"
        f"/providers/Microsoft.MachineLearningServices/locations/eastus/{operation}"
    )


def cluster(most: int) -> dict[str, Any]:
    scale = {"minNodeCount": 0, "maxNodeCount": most}
    details = {"vmSize": SIZE, "scaleSettings": scale}
    return {"properties": {"computeType": "AmlCompute", "properties": details}}


def test_what_roles_can_allow(service: Service) -> None:
    path = f"{MANAGEMENT}/providers/Microsoft.MachineLearningServices/operations"
    found = {each["name"]: each for each in ok(service.send("GET", path))["value"]}
    provider = "Microsoft.MachineLearningServices"
    for name in ("computes/start/action", "jobs/write", "jobs/delete", "data/versions/read"):
        assert f"{provider}/workspaces/{name}" in found
    read = found[f"{provider}/registries/read"]
    assert read["isDataAction"] is False
    assert set(read["display"]) == {"provider", "resource", "operation", "description"}


def test_a_role_is_found_by_its_id(service: Service) -> None:
    base = f"{MANAGEMENT}{service.target.path}/providers/Microsoft.Authorization/roleDefinitions"
    role = ok(service.send("GET", base))["value"][0]
    found = ok(service.send("GET", f"{base}/{role['name']}"))
    assert found["properties"] == role["properties"]
    assert service.send("GET", f"{base}/none").status_code == 404


@pytest.fixture
def share(service: Service) -> Iterator[str]:
    """The id of the workspace's share of a family's quota; it is as new after the test."""
    quota = f"{service.target.path}/quotas/{FAMILY}"
    yield quota
    asked = {"value": [{"id": quota, "limit": -1}]}
    ok(service.send("POST", locations(service, "updateQuotas"), asked))


def test_a_workspace_has_a_share_of_the_quota(service: Service, share: str) -> None:
    def limit() -> int:
        rows = ok(service.send("GET", locations(service, "quotas")))["value"]
        return int({row["id"]: row for row in rows}[share]["limit"])

    def update(limit: int, quota: str = share) -> str:
        asked = {"value": [{"id": quota, "limit": limit, "unit": "Count"}]}
        (row,) = ok(service.send("POST", locations(service, "updateQuotas"), asked))["value"]
        return str(row["status"])

    everything = limit()
    assert update(everything + 1) == "InvalidQuotaExceedsSubscriptionLimit"
    assert update(8, share.replace(FAMILY, "standardNoneFamily")) == "InvalidVMFamilyName"
    done(service, service.send("PUT", "/computes/shared", cluster(2)))
    assert update(4) == "InvalidQuotaBelowClusterMinimum"
    used = next(
        row["currentValue"]
        for row in ok(service.send("GET", locations(service, "usages")))["value"]
        if row["name"]["value"] == FAMILY
    )
    assert update(used) == "Success"
    assert limit() == used
    end = service.finish(service.send("PUT", "/computes/shared", cluster(3)), 30)
    assert end["error"]["code"] == "ClusterCoreQuotaReached"
    assert "limits of the workspace" in end["error"]["message"]
    assert update(-1) == "Success"
    assert limit() == everything
    done(service, service.send("PUT", "/computes/shared", cluster(3)))
    done(service, service.send("DELETE", "/computes/shared", underlyingResourceAction="Delete"))


def test_what_opens_the_storage(service: Service) -> None:
    found = ok(service.send("POST", "/listStorageAccountKeys"))
    secrets = ok(service.send("POST", "/datastores/workspaceblobstore/listSecrets"))
    assert found == {"userStorageKey": secrets["key"]}
    assert ok(service.send("GET", "/features")) == {"value": []}


def test_how_a_workspace_is_reached(service: Service) -> None:
    links = ok(service.send("GET", "/privateLinkResources"))["value"]
    assert [link["properties"]["groupId"] for link in links] == ["amlworkspace"]
    assert ok(service.send("GET", "/privateEndpointConnections")) == {"value": []}
    assert service.send("GET", "/privateEndpointConnections/one").status_code == 404
    assert service.send("DELETE", "/privateEndpointConnections/one").status_code == 204
    refused = service.send("PUT", "/privateEndpointConnections/one", {"properties": {}})
    assert refused.status_code == 501
    categories = ok(service.send("GET", "/outboundNetworkDependenciesEndpoints"))["value"]
    hosts = {
        endpoint["domainName"]
        for category in categories
        for endpoint in category["properties"]["endpoints"]
    }
    assert {"login.microsoftonline.com", "management.azure.com"} <= hosts


def test_the_sizes_that_an_instance_may_take(service: Service) -> None:
    path = "/computes/resizable"
    body = {"properties": {"computeType": "ComputeInstance", "properties": {"vmSize": SIZE}}}
    done(service, service.send("PUT", path, body))
    sizes = ok(service.send("POST", f"{path}/getAllowedVmSizesForResize"))["value"]
    names = {size["name"] for size in sizes}
    assert "Standard_DS4_v2" in names
    assert SIZE not in names
    refused = service.send("POST", "/computes/cpu-cluster/getAllowedVmSizesForResize")
    assert refused.status_code == 400
    done(service, service.send("DELETE", path, underlyingResourceAction="Delete"))


def test_whom_a_job_tells_is_changed(service: Service) -> None:
    workspace = service.target.path
    environment = {"properties": {"image": "example.test/image"}}
    service.send("PUT", "/environments/small/versions/1", environment)
    properties = {
        "jobType": "Command",
        "command": "true",
        "computeId": f"{workspace}/computes/cpu-cluster",
        "environmentId": f"{workspace}/environments/small/versions/1",
    }
    ok(service.send("PUT", "/jobs/told", {"properties": properties}), 201)
    hook = {"mine": {"webhookType": "AzureDevOps", "eventType": "JobCompleted"}}
    change = {"properties": {"notificationSetting": {"webhooks": hook}}}
    answer = ok(service.send("PATCH", "/jobs/told", change))
    assert answer["properties"]["notificationSetting"] == {"webhooks": hook}
    assert job_ended(service, "told") == "Completed"
    assert ok(service.send("GET", "/jobs/told"))["properties"]["notificationSetting"]
    refused = service.send("PATCH", "/jobs/told", {"properties": {"command": "false"}})
    assert refused.status_code == 400
    assert service.send("PATCH", "/jobs/told-not", change).status_code == 404


def test_how_many_instances_a_deployment_may_have(service: Service, control: Control) -> None:
    workspace = service.target.path
    environment = {"properties": {"image": "example.test/image"}}
    service.send("PUT", "/environments/small/versions/1", environment)
    endpoint = "/onlineEndpoints/small"
    body = {"location": "eastus", "properties": {"authMode": "Key"}}
    done(service, service.send("PUT", endpoint, body))
    deployment = {
        "endpointComputeType": "Managed",
        "instanceType": SIZE,
        "environmentId": f"{workspace}/environments/small/versions/1",
        "codeConfiguration": {"scoringScript": "score.py", "codeId": "none"},
    }
    path = f"{endpoint}/deployments/blue"
    ok(service.send("PUT", path, {"location": "eastus", "properties": deployment}), 201)
    control.set_quota(FAMILY, 42)
    (sku,) = ok(service.send("GET", f"{path}/skus"))["value"]
    assert sku["sku"] == {"name": "Default", "tier": "Standard"}
    assert sku["capacity"]["maximum"] == 10
    done(service, service.send("DELETE", endpoint))


@pytest.mark.parametrize("kind", ["codes", "data", "environments", "models"])
def test_an_asset_is_published_to_a_registry(service: Service, kind: str) -> None:
    group = service.target.path.rpartition("/workspaces/")[0]
    own = f"{MANAGEMENT}{group}/registries/published-{kind}"
    done(service, service.send("PUT", own, {"location": "eastus", "properties": {}}))
    uri = {"codes": "codeUri", "data": "dataUri", "models": "modelUri"}.get(kind)
    properties: dict[str, Any] = {"image": "example.test/image", "tags": {"a": "1"}}
    if uri:
        start = f"/{kind}/publish/versions/1/startPendingUpload"
        place = ok(service.send("POST", start, {}))["blobReferenceForConsumption"]
        container, _, signature = place["credential"]["sasUri"].partition("?")
        file = f"{container}/folder/file.txt"
        headers = {"x-ms-blob-type": "BlockBlob"}
        sent = httpx.put(f"{file}?{signature}", content=b"here", headers=headers)
        assert sent.status_code == 201
        properties = {uri: f"{container}/folder", "tags": {"a": "1"}}
    ok(service.send("PUT", f"/{kind}/publish/versions/1", {"properties": properties}), 201)
    publish = f"/{kind}/publish/versions/1/publish"
    asked = {"registryName": f"published-{kind}", "destinationName": "shared"}
    done(service, service.send("POST", publish, asked))
    address = (
        f"https://eastus.api.azureml.ms/mferp/managementfrontend{own.removeprefix(MANAGEMENT)}"
    )
    shared = ok(service.send("GET", f"{address}/{kind}/shared/versions/1"))["properties"]
    assert shared["tags"] == {"a": "1"}
    if uri:
        assert shared[uri] != properties[uri]
    assert service.send("POST", publish, asked).status_code == 409
    assert service.send("POST", publish, {"registryName": "none"}).status_code == 404
    missing = f"/{kind}/publish/versions/2/publish"
    assert service.send("POST", missing, asked).status_code == 404
    done(service, service.send("DELETE", own))


def test_a_region_of_a_registry_is_removed(service: Service) -> None:
    group = service.target.path.rpartition("/workspaces/")[0]
    own = f"{MANAGEMENT}{group}/registries/regions"
    regions = [{"location": "eastus"}, {"location": "westus2"}]
    body = {"location": "eastus", "properties": {"regionDetails": regions}}
    done(service, service.send("PUT", own, body))
    removed = {"location": "eastus", "properties": {"regionDetails": [{"location": "westus2"}]}}
    done(service, service.send("POST", f"{own}/removeRegions", removed))
    left = ok(service.send("GET", own))["properties"]["regionDetails"]
    assert [region["location"] for region in left] == ["eastus"]
    assert service.send("POST", f"{own}/removeRegions", body).status_code == 400
    done(service, service.send("DELETE", own))
