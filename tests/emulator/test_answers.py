"""Answers carry every property of their kind, also those that the client said nothing of."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.service import Service
from tests.emulator.wire_support import REGISTRY, ok, service

__all__ = ["service"]

ENVELOPE = "id name type properties systemData"
SYSTEM_DATA = "createdAt createdBy createdByType lastModifiedAt lastModifiedBy lastModifiedByType"
ASSET = "description isAnonymous isArchived properties tags"
CONTAINER = "description isArchived latestVersion nextVersion properties tags"
JOB = (
    "componentId computeId description displayName experimentName identity inputs isArchived "
    "jobType notificationSetting outputs properties services status tags"
)
SERVICE = "endpoint errorMessage jobServiceType nodes port properties status"
KEYS = {
    "codes/answered/versions/1": f"{ASSET} codeUri provisioningState",
    "components/answered/versions/1": f"{ASSET} componentSpec provisioningState stage",
    "components/answered": f"{CONTAINER} provisioningState",
    "data/answered/versions/1": f"{ASSET} dataType dataUri stage intellectualProperty",
    "data/answered-table/versions/1": f"{ASSET} dataType dataUri referencedUris",
    "data/answered": f"{CONTAINER} dataType",
    "environments/answered/versions/1": f"{ASSET} autoRebuild build condaFile environmentType "
    "image inferenceConfig intellectualProperty osType provisioningState stage",
    "environments/answered": f"{CONTAINER} provisioningState",
    "models/answered/versions/1": f"{ASSET} flavors intellectualProperty jobName modelType "
    "modelUri provisioningState stage",
    "models/answered": f"{CONTAINER} provisioningState",
    "datastores/workspaceblobstore": "accountName containerName credentials datastoreType "
    "description endpoint intellectualProperty isDefault properties protocol resourceGroup "
    "serviceDataAccessAuthIdentity subscriptionId tags",
    "computes/cpu-cluster": "computeLocation computeType createdOn description disableLocalAuth "
    "isAttachedCompute modifiedOn properties provisioningErrors provisioningState resourceId",
    "jobs/answered": f"{JOB} autologgerSettings codeId command distribution environmentId "
    "environmentVariables limits parameters queueSettings resources",
    "jobs/answered-graph": f"{JOB} jobs settings sourceJobId",
    "onlineEndpoints/answered": "authMode compute description mirrorTraffic properties "
    "provisioningState publicNetworkAccess scoringUri swaggerUri traffic",
    "onlineEndpoints/answered/deployments/blue": "appInsightsEnabled codeConfiguration "
    "dataCollector description egressPublicNetworkAccess endpointComputeType environmentId "
    "environmentVariables instanceType livenessProbe model modelMountPath properties "
    "provisioningState readinessProbe requestSettings scaleSettings",
    "connections/answered": "authType category createdByWorkspaceArmId credentials expiryTime "
    "group isSharedToAll metadata sharedUserList target",
    "batchEndpoints/answered-batch": "authMode defaults description properties "
    "provisioningState scoringUri swaggerUri",
    "batchEndpoints/answered-batch/deployments/blue": "codeConfiguration compute "
    "deploymentConfiguration description environmentId environmentVariables errorThreshold "
    "loggingLevel maxConcurrencyPerInstance miniBatchSize model outputAction outputFileName "
    "properties provisioningState resources retrySettings",
    "schedules/answered": "action description displayName isEnabled properties "
    "provisioningState tags trigger",
}
"""By resource, what its properties are, in whichever api-version."""
NESTED = {
    "codes/answered/versions/1 properties.properties": "hash_sha256 hash_version",
    "components/answered/versions/1 properties.componentSpec": "$schema command display_name "
    "environment inputs is_deterministic name outputs resources type version",
    "components/answered/versions/1 properties.componentSpec.inputs.word": "optional type",
    "computes/cpu-cluster properties.properties": "allocationState errors "
    "allocationStateTransitionTime currentNodeCount enableBatchPrivateLink enableNodePublicIp "
    "isolatedNetwork nodeStateCounts osType propertyBag remoteLoginPortPublicAccess "
    "scaleSettings subnet targetNodeCount userAccountCredentials virtualMachineImage vmPriority "
    "vmSize",
    "computes/cpu-cluster properties.properties.nodeStateCounts": "idleNodeCount "
    "leavingNodeCount preemptedNodeCount preparingNodeCount runningNodeCount unusableNodeCount",
    "jobs/answered properties.services.Tracking": SERVICE,
    "jobs/answered properties.services.Studio": SERVICE,
    "jobs/answered properties.properties": "_azureml.ComputeTargetType",
    "jobs/answered properties.inputs.word": "description jobInputType value",
    "jobs/answered properties.inputs.file": "description jobInputType mode pathOnCompute uri",
    "jobs/answered properties.outputs.to": "assetName assetVersion description jobOutputType "
    "mode pathOnCompute uri",
    "jobs/answered properties.outputs.default": "description jobOutputType mode uri",
    "jobs/answered properties.resources": "dockerArgs instanceCount instanceType locations "
    "properties shmSize",
    "jobs/answered-graph properties.services.Studio": SERVICE,
    "jobs/answered-graph properties.properties": "azureml.DevPlatv2 azureml.runsource "
    "azureml.parameters azureml.continue_on_step_failure azureml.defaultComputeName "
    "azureml.defaultDataStoreName azureml.pipelineComponent runSource runType",
    "jobs/answered-graph properties.jobs.greet": "_source componentId inputs name outputs type",
    "onlineEndpoints/answered properties.properties": "AzureAsyncOperationUri "
    "azureml.onlineendpointid",
    "onlineEndpoints/answered/deployments/blue properties.properties": "AzureAsyncOperationUri",
    "onlineEndpoints/answered/deployments/blue properties.livenessProbe": "failureThreshold "
    "initialDelay period successThreshold timeout",
    "onlineEndpoints/answered/deployments/blue properties.requestSettings": "maxQueueWait "
    "maxConcurrentRequestsPerInstance requestTimeout",
    "batchEndpoints/answered-batch/deployments/blue properties.resources": "instanceCount "
    "instanceType properties",
    "schedules/answered properties.trigger": "endTime expression startTime timeZone triggerType",
    "schedules/answered properties.action.jobDefinition": JOB,
}
"""By resource and place below it, what else there is."""
OF_VERSION = {
    "onlineEndpoints/answered/deployments/blue 2022-02-01-preview": "privateNetworkConnection",
    "jobs/answered 2022-02-01-preview": "schedule",
    "jobs/answered 2021-10-01": "parentJobName",
}
"""What one api-version has, and later ones not."""
VERSIONS = ("2022-02-01-preview", "2022-10-01", "2023-02-01-preview", "2024-10-01-preview")


def bodies(workspace: str) -> dict[str, dict[str, Any]]:
    """What is put, in this order: as little as the service takes."""
    files = "azureml://datastores/workspaceblobstore/paths/answered"
    cluster = f"{workspace}/computes/cpu-cluster"
    environment = f"{workspace}/environments/answered/versions/1"
    command = {
        "jobType": "Command",
        "command": "echo ${{inputs.word}}",
        "computeId": cluster,
        "environmentId": environment,
        "outputs": {"to": {"jobOutputType": "uri_folder"}},
        "inputs": {
            "word": {"jobInputType": "literal", "value": "hello"},
            "file": {"jobInputType": "uri_file", "uri": f"{files}/file"},
        },
    }
    component = f"{workspace}/components/answered/versions/1"
    node = {"type": "command", "_source": "YAML.COMPONENT", "componentId": component}
    code = "https://localstorage.blob.core.windows.net/answered/code"
    spec = {
        "type": "command",
        "command": "echo ${{inputs.word}}",
        "environment": f"azureml:{environment}",
        "inputs": {"word": {"type": "string", "default": "hello"}},
        "outputs": {"to": {"type": "uri_folder"}},
    }
    hashes = {"hash_sha256": "ab" * 32, "hash_version": "202208"}
    feed = {"authType": "None", "category": "PythonFeed", "target": "https://example.test/feed"}
    return {
        "connections/answered": feed,
        "environments/answered/versions/1": {"image": "example.test/image"},
        "codes/answered/versions/1": {"codeUri": code, "properties": hashes},
        "components/answered/versions/1": {"componentSpec": spec},
        "data/answered/versions/1": {"dataType": "uri_file", "dataUri": f"{files}/file"},
        "data/answered-table/versions/1": {"dataType": "mltable", "dataUri": f"{files}/table"},
        "models/answered/versions/1": {"modelUri": f"{files}/model"},
        "jobs/answered": command,
        "jobs/answered-graph": {
            "jobType": "Pipeline",
            "settings": {"default_compute": cluster},
            "jobs": {"greet": node},
        },
        "onlineEndpoints/answered": {"authMode": "Key"},
        "onlineEndpoints/answered/deployments/blue": {
            "endpointComputeType": "Managed",
            "instanceType": "Standard_DS3_v2",
            "environmentId": environment,
            "codeConfiguration": {
                "codeId": f"{workspace}/codes/answered/versions/1",
                "scoringScript": "score.py",
            },
        },
        "batchEndpoints/answered-batch": {"authMode": "AADToken"},
        "batchEndpoints/answered-batch/deployments/blue": {
            "compute": cluster,
            "environmentId": environment,
            "codeConfiguration": {
                "codeId": f"{workspace}/codes/answered/versions/1",
                "scoringScript": "score.py",
            },
        },
        "schedules/answered": {
            "isEnabled": False,
            "trigger": {"triggerType": "Cron", "expression": "0 0 1 1 *"},
            "action": {"actionType": "CreateJob", "jobDefinition": command},
        },
    }


@pytest.fixture(scope="module")
def made(service: Service) -> Iterator[None]:
    """One of everything; what other tests count is gone afterwards."""
    for path, properties in bodies(service.target.path).items():
        body = {"location": "eastus", "properties": properties}
        answer = service.send("PUT", f"/{path}", body)
        created = 200 if path.startswith("connections") else 201
        assert answer.status_code == created, f"{path}: {answer.text}"
        if "Endpoints/" in path and "deployments" not in path:
            service.finish(answer, 30)
        elif created == 201 and "azure-asyncoperation" not in answer.headers:
            assert answer.headers["location"].partition("?")[0].endswith(path), path
    yield
    service.send("DELETE", "/connections/answered")
    for endpoint in ("/onlineEndpoints/answered", "/batchEndpoints/answered-batch"):
        service.finish(service.send("DELETE", endpoint), 60)


def test_what_is_put_again_is_not_new_but_for_some(made: None, service: Service) -> None:
    """The service answers 201 to each PUT of an environment or a schedule."""
    always_new = ("environments", "schedules")
    for path, properties in bodies(service.target.path).items():
        if "/deployments/" in path:  # it may be under way still
            continue
        answer = service.send("PUT", f"/{path}", {"location": "eastus", "properties": properties})
        expected = 201 if path.startswith(always_new) else 200
        assert answer.status_code == expected, f"{path}: {answer.text}"
        if "azure-asyncoperation" in answer.headers:
            service.finish(answer, 30)


def missing(found: Any, names: str) -> list[str]:
    return sorted(set(names.split()) - set(found))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_resource_has_every_property(made: None, service: Service, version: str) -> None:
    lacking = {}
    for path, names in KEYS.items():
        resource = ok(service.send("GET", f"/{path}", version=version))
        special = OF_VERSION.get(f"{path} {version}", "")
        lacking[path] = [
            *missing(resource, ENVELOPE),
            *missing(resource["systemData"], SYSTEM_DATA),
            *missing(resource["properties"], f"{names} {special}"),
        ]
    assert {path: names for path, names in lacking.items() if names} == {}


def test_what_only_an_old_version_has_is_not_in_a_newer_one(made: None, service: Service) -> None:
    for place, name in OF_VERSION.items():
        path, version = place.split()
        old = ok(service.send("GET", f"/{path}", version=version))["properties"]
        assert name in old
        new = ok(service.send("GET", f"/{path}", version="2023-04-01-preview"))["properties"]
        assert name not in new


@pytest.mark.parametrize("place", NESTED)
def test_so_has_what_is_below_it(made: None, service: Service, place: str) -> None:
    path, _, where = place.partition(" ")
    found = ok(service.send("GET", f"/{path}"))
    for part in where.split("."):
        found = found[part]
    assert missing(found, NESTED[place]) == []


@pytest.mark.parametrize(
    "collection", sorted({path.partition("/")[0] for path in KEYS} - {"schedules", "codes"})
)
def test_a_list_shows_the_same(made: None, service: Service, collection: str) -> None:
    """Of assets a list shows the containers."""
    path = next(path for path in reversed(KEYS) if path.startswith(f"{collection}/"))
    path = "/".join(path.split("/")[:2])
    shown = {item["name"]: item for item in service.pages(f"/{collection}")}
    alone = ok(service.send("GET", f"/{path}"))
    assert set(shown[alone["name"]]["properties"]) == set(alone["properties"])


def test_a_workspace_has_every_property(service: Service) -> None:
    workspace = ok(service.send("GET"))
    assert missing(workspace, f"{ENVELOPE} location tags identity sku etag kind") == []
    assert missing(workspace["identity"], "type principalId tenantId") == []
    names = (
        "applicationInsights containerRegistry creationTime description discoveryUrl encryption "
        "friendlyName hbiWorkspace imageBuildCompute keyVault mlFlowTrackingUri notebookInfo "
        "privateLinkCount provisioningState publicNetworkAccess storageAccount storageHnsEnabled "
        "tenantId v1LegacyMode workspaceId"
    )
    assert missing(workspace["properties"], names) == []
    notebooks = workspace["properties"]["notebookInfo"]
    assert missing(notebooks, "fqdn isPrivateLinkEnabled notebookPreparationError resourceId") == []


def test_registry_assets_have_them_too(service: Service) -> None:
    version = "2021-10-01-dataplanepreview"
    containers = ok(service.send("GET", f"{REGISTRY}/azureml/models", version=version))["value"]
    name = containers[0]["name"]
    versions = ok(
        service.send("GET", f"{REGISTRY}/azureml/models/{name}/versions", version=version)
    )["value"]
    assert missing(versions[0]["properties"], KEYS["models/answered/versions/1"]) == []
    assert "originAssetId" in versions[0]["properties"]


def test_a_registry_s_component_is_written_as_a_workspace_s(service: Service) -> None:
    version = "2021-10-01-dataplanepreview"
    address = f"{REGISTRY}/azureml/components/chat_completion_finetune/versions"
    (component, *_) = ok(service.send("GET", address, version=version))["value"]
    spec = component["properties"]["componentSpec"]
    written = "$schema display_name is_deterministic name resources type version"
    assert missing(spec, written) == []
    assert {port["optional"] for port in spec["inputs"].values()} == {"False", "True"}
