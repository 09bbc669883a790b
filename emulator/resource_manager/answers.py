"""What answers carry beside what is stored: each property of a kind, null where it has no value."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.compute.control_flow import CONTROL_TYPES
from emulator.http import emulator_of
from emulator.store import Resource

Properties = Mapping[str, Any]


def _nulls(names: str) -> dict[str, Any]:
    return dict.fromkeys(names.split())


_ASSET = {
    **_nulls("description autoDeleteSetting"),
    "tags": {},
    "properties": {},
    "isAnonymous": False,
    "isArchived": False,
}
_CONTAINER = {
    **_nulls("description latestVersion nextVersion"),
    "tags": {},
    "properties": {},
    "isArchived": False,
    "provisioningState": "Succeeded",
}
_DEPLOYMENT_PROBE = {
    "initialDelay": "PT10S",
    "period": "PT10S",
    "timeout": "PT2S",
    "failureThreshold": 30,
    "successThreshold": 1,
}
_REQUESTS = {
    "maxConcurrentRequestsPerInstance": 1,
    "maxQueueWait": "PT0.5S",
    "requestTimeout": "PT5S",
}
_PROPERTIES: dict[str, dict[str, Any]] = {
    "codes/versions": {**_ASSET, **_nulls("codeUri")},
    "components/versions": {**_ASSET, **_nulls("stage componentSpec")},
    "data/versions": {**_ASSET, **_nulls("stage intellectualProperty")},
    "environments/versions": {
        **_ASSET,
        **_nulls("stage intellectualProperty build image inferenceConfig"),
        "condaFile": "",
        "autoRebuild": "Disabled",
    },
    "models/versions": {
        **_ASSET,
        **_nulls("stage intellectualProperty jobName"),
        "flavors": {},
    },
    "codes": _CONTAINER,
    "components": _CONTAINER,
    "data": {k: v for k, v in _CONTAINER.items() if k != "provisioningState"},
    "environments": _CONTAINER,
    "models": _CONTAINER,
    "workspaces": {
        **_nulls("containerRegistry encryption imageBuildCompute linkedModelInventoryArmId"),
        **_nulls("primaryUserAssignedIdentity sdkTelemetryAppInsightsKey"),
        **_nulls("serviceManagedResourcesSettings serviceProvisionedResourceGroup"),
        **_nulls("associatedWorkspaces containerRegistries existingWorkspaces"),
        **_nulls("enableSoftwareBillOfMaterials featureStoreSettings hubResourceId ipAllowlist"),
        **_nulls("keyVaults managedNetwork serverlessComputeSettings storageAccounts"),
        **_nulls("softDeleteRetentionInDays workspaceHubConfig"),
        "allowPublicAccessWhenBehindVnet": False,
        "privateEndpointConnections": [],
        "privateLinkCount": 0,
        "sasGetterUri": "",
        "sharedPrivateLinkResources": [],
        "softDeleteEnabled": False,
        "storageHnsEnabled": False,
    },
    "connections": _nulls("createdByWorkspaceArmId expiryTime group metadata sharedUserList"),
    "computes": _nulls("description resourceId provisioningErrors"),
    "datastores": {
        **_nulls("description intellectualProperty resourceGroup subscriptionId"),
        "tags": {},
        "properties": {},
    },
    "batchEndpoints": {**_nulls("description defaults swaggerUri"), "properties": {}},
    "batchEndpoints/deployments": _nulls(
        "codeConfiguration compute deploymentConfiguration description environmentId model "
        "outputFileName"
    ),
    "onlineEndpoints": {
        **_nulls("description compute"),
        "traffic": {},
        "mirrorTraffic": {},
        "properties": {},
    },
    "onlineEndpoints/deployments": {
        **_nulls("codeConfiguration dataCollector description environmentId"),
        **_nulls("instanceType model modelMountPath"),
        "livenessProbe": _DEPLOYMENT_PROBE,
        "readinessProbe": _DEPLOYMENT_PROBE,
        "requestSettings": _REQUESTS,
    },
}
"""By the kind's type, what a client gets that said nothing of it."""
_DETAILS: dict[str, dict[str, Any]] = {
    "AmlCompute": _nulls("subnet errors virtualMachineImage userAccountCredentials"),
    "ComputeInstance": _nulls(
        "subnet errors personalComputeInstanceSettings autologgerSettings containers dataDisks"
        " dataMounts versions"
    ),
}
"""The same of what a compute of a type says of itself."""

_BESIDE = {
    "computes": _nulls("identity sku"),
    "batchEndpoints": _nulls("sku"),
    "batchEndpoints/deployments": _nulls("identity sku"),
    "onlineEndpoints": _nulls("sku"),
    "onlineEndpoints/deployments": _nulls("identity"),
}
"""What a kind has beside its properties."""

_JOB = {
    **_nulls("description computeId componentId identity notificationSetting"),
    **_nulls("secretsConfiguration"),
    "tags": {},
    "properties": {},
    "inputs": {},
    "outputs": {},
}
_JOBS: dict[str, dict[str, Any]] = {
    "command": {
        **_nulls("autologgerSettings codeId distribution limits queueSettings"),
        "environmentVariables": {},
        "parameters": {},
    },
    "pipeline": {"sourceJobId": None, "settings": {}, "jobs": {}},
}
_PARTS = {
    "services": _nulls("endpoint errorMessage nodes port properties status"),
    "inputs": _nulls("description"),
    "outputs": _nulls("description uri assetName assetVersion autoDeleteSetting pathOnCompute"),
}
"""What each item below a job's properties has."""
_PATH = _nulls("pathOnCompute")
_NODE: dict[str, Any] = {"inputs": {}, "outputs": {}}
_JOB_RESOURCES = {
    **_nulls("instanceType locations maxInstanceCount properties dockerArgs"),
    "instanceCount": 1,
    "shmSize": "2g",
}
_DEPLOYMENT_RESOURCES = _nulls("instanceType locations maxInstanceCount properties")
_WRAPPED = {"limits": _nulls("timeout"), "queueSettings": _nulls("priority")}

_OF_VERSION: dict[tuple[str, str], dict[str, Any]] = {
    ("2021-10-01", "jobs"): {"parentJobName": None},
    ("2022-02-01-preview", "jobs"): {"schedule": None},
    ("2022-02-01-preview", "onlineEndpoints/deployments"): {"privateNetworkConnection": False},
    ("2021-10-01-dataplanepreview", "models/versions"): {"originAssetId": None},
}
"""Properties that one api-version has, and later ones not: (version, kind)."""


_LONGEST_KEPT = 16 << 10
"""Characters of a resource whose answer is kept in memory."""


def api_version(request: Request) -> str:
    return request.query_params.get("api-version", "")


def answer(
    request: Request,
    resource: Resource,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """A resource as an answer to a request."""
    return JSONResponse(complete(resource, api_version(request)), status, headers)


def stored(request: Request, path: str) -> Response | None:
    """The answer that is a resource as it is stored; None when there is none."""
    text = emulator_of(request).store.text(path)
    if text is None:
        return None
    complete_text = _kept_text if len(text) <= _LONGEST_KEPT else _complete_text
    return Response(complete_text(text, api_version(request)), media_type="application/json")


@lru_cache(maxsize=500)
def _kept_text(text: str, version: str) -> str:
    """What is asked for again and again while nothing changes is made once."""
    return _complete_text(text, version)


def _complete_text(text: str, version: str) -> str:
    return json.dumps(complete(json.loads(text), version), separators=(",", ":"))


def complete(resource: Resource, version: str = "") -> Resource:
    """A resource with every property that its kind has in an api-version."""
    kind = str(resource.get("type", "")).split("/", 2)[-1]
    given = resource.get("properties")
    if not isinstance(given, dict):
        return resource
    properties = {
        **_PROPERTIES.get(kind, {}),
        **_OF_VERSION.get((version.lower(), kind), {}),
        **given,
    }
    if kind == "jobs":
        properties = _job(properties)
    elif kind == "computes":
        details = _DETAILS.get(given.get("computeType", ""), {})
        properties["properties"] = {**details, **(given.get("properties") or {})}
    elif kind == "workspaces":
        properties.setdefault("creationTime", resource["systemData"]["createdAt"])
        return {"etag": None, **resource, "properties": properties}
    elif kind == "schedules":
        properties["action"] = _action(properties.get("action") or {})
    elif kind == "data/versions" and given.get("dataType") == "mltable":
        properties.setdefault("referencedUris", None)
    elif kind == "batchEndpoints/deployments":
        properties["resources"] = {**_DEPLOYMENT_RESOURCES, **(given.get("resources") or {})}
    elif kind == "onlineEndpoints/deployments":
        for name in ("livenessProbe", "readinessProbe", "requestSettings"):
            usual = _PROPERTIES[kind][name]
            properties[name] = {**usual, **_given(properties[name])}
    return {**_BESIDE.get(kind, {}), **resource, "properties": properties}


def _given(values: Properties | None) -> dict[str, Any]:
    return {key: value for key, value in (values or {}).items() if value is not None}


def _action(action: Properties) -> dict[str, Any]:
    definition = action.get("jobDefinition")
    return {**action, "jobDefinition": _job(definition)} if definition else dict(action)


def _job(given: Properties) -> dict[str, Any]:
    kind = str(given.get("jobType")).lower()
    job = {**_JOB, **_JOBS.get(kind, {}), **given}
    for part, fields in _PARTS.items():
        if isinstance(job.get(part), dict):
            job[part] = _each(job[part], fields)
    if kind == "pipeline":
        nodes = job["jobs"] or {}
        working = {k: node for k, node in nodes.items() if _type(node) not in CONTROL_TYPES}
        job["jobs"] = {**nodes, **_each(working, _NODE)}
    else:
        job["resources"] = {**_JOB_RESOURCES, **_given(job.get("resources"))}
    for part, fields in _WRAPPED.items():
        if isinstance(job.get(part), dict):
            job[part] = {**fields, **job[part]}
    return job


def _type(node: Any) -> Any:
    return node.get("type") if isinstance(node, dict) else None


def _each(items: Mapping[str, Any], fields: Properties) -> dict[str, Any]:
    return {name: _item(item, fields) for name, item in items.items()}


def _item(item: Any, fields: Properties) -> Any:
    """An input, output, service or node. What is no literal may have a path on the compute."""
    if not isinstance(item, dict):
        return item
    path = _PATH if item.get("jobInputType", "literal") != "literal" else {}
    return {**fields, **path, **item}
