"""The deployments of managed online endpoints."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.compute.durations import seconds
from emulator.core import Emulator
from emulator.deployment_logs import storage_log
from emulator.deployment_logs import tail as last_lines
from emulator.deployment_programs import is_custom, model_path
from emulator.http import WORKSPACE, AzureError, Router, emulator_of, json_body
from emulator.probes import Probes
from emulator.resource_manager import endpoint_names
from emulator.resource_manager.answers import answer
from emulator.resource_manager.changes import Changes, set_state
from emulator.resource_manager.places import workspace_paths
from emulator.resource_manager.quotas import quota
from emulator.resource_manager.resources import envelope, found, listing, workspace_path
from emulator.resource_manager.sizes import find_size
from emulator.scoring_slots import drained
from emulator.store import Resource

_DEPLOYMENTS = WORKSPACE + "/onlineEndpoints/{endpoint}/deployments"
DEPLOYMENT = _DEPLOYMENTS + "/{name}"
_KIND = "onlineEndpoints/deployments"
_USUAL_SIZE = "Standard_F4s_v2"
"""The size of a deployment whose client names none."""
_LONGEST_REQUEST_SECONDS = 180
_CONTAINERS = {"InferenceServer": lambda log: log, "StorageInitializer": storage_log}
"""The log of each container, by the log of the deployment."""
_NEW_PROCESS_FOR = ("model", "environmentVariables", "environmentId", "codeConfiguration")
"""Properties that a running process cannot take over."""


def register(router: Router) -> None:
    @router.operation("OnlineDeployments_List", "GET", _DEPLOYMENTS)
    async def list_deployments(request: Request) -> Response:
        path = _endpoint(request)["id"]
        return listing(request, emulator_of(request).store.children(path + "/deployments"))

    @router.operation("OnlineDeployments_Get", "GET", DEPLOYMENT)
    async def get_deployment(request: Request) -> Response:
        return answer(request, deployment_of(request))

    @router.operation("OnlineDeployments_CreateOrUpdate", "PUT", DEPLOYMENT)
    async def put_deployment(request: Request) -> Response:
        return _put(request, await json_body(request))

    @router.operation("OnlineDeployments_Update", "PATCH", DEPLOYMENT)
    async def patch_deployment(request: Request) -> Response:
        return _patch(request, await json_body(request))

    @router.operation("OnlineDeployments_Delete", "DELETE", DEPLOYMENT)
    async def delete_deployment(request: Request) -> Response:
        return _delete(request)

    @router.operation("OnlineDeployments_GetLogs", "POST", DEPLOYMENT + "/getLogs")
    async def get_logs(request: Request) -> Response:
        body = await json_body(request)
        kind = body.get("containerType") or "InferenceServer"
        if kind not in _CONTAINERS:
            raise AzureError(
                400,
                "BadRequest",
                f"A deployment has no container {kind}; it has {' and '.join(_CONTAINERS)}.",
            )
        tail = body.get("tail", 500)
        if not isinstance(tail, int) or tail < 0:
            raise AzureError(400, "BadRequest", f"tail must be a number of lines, not {tail}.")
        path = deployment_of(request)["id"]
        log = emulator_of(request).deployments.log_path(path)
        return JSONResponse({"content": last_lines(_CONTAINERS[kind](log), tail)})


def _endpoint(request: Request) -> Resource:
    name = request.path_params["endpoint"]
    path = f"{workspace_path(request)}/onlineEndpoints/{name}"
    return found(emulator_of(request).store, path, f"Online endpoint '{name}'")


def _path(request: Request) -> str:
    return f"{_endpoint(request)['id']}/deployments/{request.path_params['name']}"


def deployment_of(request: Request) -> Resource:
    parameters = request.path_params
    what = f"Deployment '{parameters['name']}' of the endpoint '{parameters['endpoint']}'"
    return found(emulator_of(request).store, _path(request), what)


def _put(request: Request, body: dict[str, Any]) -> Response:
    emulator = emulator_of(request)
    store = emulator.store
    path = _path(request)
    endpoint_names.check_name("deployment", request.path_params["name"])
    changes = Changes(emulator, request)
    if repeated := changes.repeated(path, body):
        return repeated
    state = _endpoint(request)["properties"]["provisioningState"]
    if state != "Succeeded":
        raise AzureError(
            409,
            "Conflict",
            f"The endpoint {request.path_params['endpoint']} takes no deployment while its "
            f"state is {state}.",
        )
    old = store.get(path)
    properties = _checked(emulator, body, workspace_path(request))
    properties["provisioningState"] = "Updating" if old else "Creating"
    completed = {
        "location": emulator.config.location,
        "kind": "Managed",
        "tags": {},
        **body,
        "sku": {"name": "Default", "capacity": 1, **_sku(body)},
        "properties": properties,
    }
    resource = envelope(store, old["id"] if old else path, _KIND, completed)
    store.put(path, resource)
    work = _provision(emulator, resource, old)
    return changes.begin(path, resource, work, 200 if old else 201, body)


def _patch(request: Request, body: dict[str, Any]) -> Response:
    """Change tags and the number of instances, as an operation that may fail for want of quota."""
    emulator = emulator_of(request)
    old = deployment_of(request)
    changes = Changes(emulator, request)
    if repeated := changes.repeated(old["id"], body):
        return repeated
    changed = {
        **old,
        "tags": body["tags"] if body.get("tags") is not None else old.get("tags"),
        "sku": old["sku"] | _sku(body),
        "properties": old["properties"] | {"provisioningState": "Updating"},
    }
    resource = envelope(emulator.store, old["id"], _KIND, changed)
    emulator.store.put(old["id"], resource)
    return changes.begin_update(
        old["id"], resource, lambda: _provision(emulator, resource, old), body
    )


def _sku(body: dict[str, Any]) -> dict[str, Any]:
    """What a body says of the number of instances; AzureError 400 for no number."""
    given: dict[str, Any] = body.get("sku") or {}
    capacity = given.get("capacity")
    if capacity is not None and (type(capacity) is not int or capacity < 1):
        raise AzureError(
            400, "BadRequest", f"sku.capacity must be a number of instances, not {capacity}."
        )
    return {name: value for name, value in given.items() if value is not None}


def _checked(emulator: Emulator, body: dict[str, Any], workspace: str) -> dict[str, Any]:
    """The properties of a new deployment with the service's defaults, refused if unusable."""
    properties: dict[str, Any] = dict(body.get("properties") or {})
    kind = properties.setdefault("endpointComputeType", "Managed")
    if kind != "Managed":
        raise AzureError(
            501,
            "OperationNotSupported",
            f"The local Azure ML does not emulate {kind} deployments, only Managed ones.",
        )
    size = str(properties.get("instanceType") or _USUAL_SIZE)
    properties["instanceType"] = size
    if find_size(size) is None:
        raise AzureError(
            400,
            "BadRequest",
            f"The instance type '{size}' is not offered in {emulator.config.location}. "
            "MLClient.compute.list_sizes() shows what is.",
        )
    _check_times(properties)
    if model_path(emulator, properties, workspace) is None and not is_custom(properties):
        raise AzureError(400, "BadRequest", "The deployment names no model.")
    return {
        "appInsightsEnabled": False,
        "egressPublicNetworkAccess": "Enabled",
        "environmentVariables": {},
        "properties": {},
        "scaleSettings": {"scaleType": "Default"},
        **{key: value for key, value in properties.items() if value is not None},
    }


def _check_times(properties: dict[str, Any]) -> None:
    settings = properties.get("requestSettings") or {}
    try:
        Probes.of(properties)
        seconds(settings.get("maxQueueWait"))
        limit = seconds(settings.get("requestTimeout")) or 0
    except ValueError as error:
        raise AzureError(400, "BadRequest", str(error)) from error
    if limit > _LONGEST_REQUEST_SECONDS:
        raise AzureError(
            400,
            "BadRequest",
            f"requestTimeout is {limit:g} seconds; the longest is {_LONGEST_REQUEST_SECONDS}.",
        )


async def _provision(emulator: Emulator, resource: Resource, old: Resource | None) -> None:
    path = resource["id"]
    try:
        _check_quota(emulator, resource)
        if old is None or _needs_new_process(old, resource):
            await emulator.deployments.start_resource(resource)
    except Exception:
        set_state(emulator.store, path, "Failed")
        raise
    set_state(emulator.store, path, "Succeeded")


def _needs_new_process(old: Resource, new: Resource) -> bool:
    before, after = old["properties"], new["properties"]
    changed = any(before.get(key) != after.get(key) for key in _NEW_PROCESS_FOR)
    changed = changed or Probes.of(before) != Probes.of(after)
    return changed or before["provisioningState"] != "Succeeded"


def _check_quota(emulator: Emulator, resource: Resource) -> None:
    """Refuse a deployment whose instances exceed what is left of their family's quota."""
    size = find_size(resource["properties"]["instanceType"])
    assert size is not None
    used = 0
    for other in _all_deployments(emulator):
        other_size = find_size(other["properties"]["instanceType"])
        if other["id"] != resource["id"] and other_size and other_size.family == size.family:
            used += other_size.vcpus * int(other["sku"]["capacity"])
    wanted = size.vcpus * int(resource["sku"]["capacity"])
    limit = quota(emulator, size.family)
    if used + wanted > limit:
        raise AzureError(
            400,
            "OutOfQuota",
            f"Not enough quota for {size.name}: the family {size.family} may use {limit} vCPUs, "
            f"online deployments use {used}, and this one needs {wanted}. Ask for more quota or "
            "choose another instance type.",
        )


def _all_deployments(emulator: Emulator) -> list[Resource]:
    """Those of every workspace: the quota is the subscription's."""
    store = emulator.store
    return [
        deployment
        for workspace in workspace_paths(emulator)
        for endpoint in store.children(f"{workspace}/onlineEndpoints")
        for deployment in store.children(f"{endpoint['id']}/deployments")
    ]


def _delete(request: Request) -> Response:
    emulator = emulator_of(request)
    endpoint = _endpoint(request)
    path = _path(request)
    deployment = emulator.store.get(path)
    if deployment is None:
        return Response(status_code=204)
    for kind, words in (("traffic", "traffic"), ("mirrorTraffic", "mirrored traffic")):
        share = (endpoint["properties"].get(kind) or {}).get(deployment["name"], 0)
        if share:
            raise AzureError(
                400,
                "BadRequest",
                f"The deployment {deployment['name']} gets {share} % of the endpoint's {words} "
                "and cannot be deleted. Send its traffic elsewhere first, or delete the endpoint.",
            )
    set_state(emulator.store, path, "Deleting")

    async def remove() -> None:
        await drained(emulator, deployment)
        await emulator.deployments.stop_one(path)
        emulator.store.delete(path)
        _forget_traffic(emulator, endpoint["id"], deployment["name"])

    return Changes(emulator, request).begin_delete(path, remove())


def _forget_traffic(emulator: Emulator, endpoint: str, deployment: str) -> None:
    resource = emulator.store.get(endpoint)
    if resource:
        resource["properties"]["traffic"].pop(deployment, None)
        emulator.store.put(endpoint, resource)
