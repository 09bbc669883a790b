"""Batch endpoints: a stable name for jobs that score, with a default deployment."""

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from emulator.http import WORKSPACE, AzureError, Router, emulator_of, json_body
from emulator.resource_manager import batch_deployments, endpoint_names
from emulator.resource_manager.answers import answer
from emulator.resource_manager.changes import Changes, set_state, settle
from emulator.resource_manager.resources import (
    envelope,
    listing,
    properties_of,
    workspace_path,
)
from emulator.resource_manager.user_identities import with_principals
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

COLLECTION = "batchEndpoints"
_ENDPOINT = f"{WORKSPACE}/{COLLECTION}/{{endpoint}}"
_AUTH_MODE = "AADToken"


def register(router: Router) -> None:
    @router.operation("BatchEndpoints_List", "GET", f"{WORKSPACE}/{COLLECTION}")
    async def list_endpoints(request: Request) -> Response:
        path = f"{workspace_path(request)}/{COLLECTION}"
        return listing(request, emulator_of(request).store.children(path))

    @router.operation("BatchEndpoints_Get", "GET", _ENDPOINT)
    async def get_endpoint(request: Request) -> Response:
        return answer(request, endpoint_of(request))

    @router.operation("BatchEndpoints_CreateOrUpdate", "PUT", _ENDPOINT)
    async def put_endpoint(request: Request) -> Response:
        return _put(request, await json_body(request))

    @router.operation("BatchEndpoints_Update", "PATCH", _ENDPOINT)
    async def patch_endpoint(request: Request) -> Response:
        return _patch(request, await json_body(request))

    @router.operation("BatchEndpoints_Delete", "DELETE", _ENDPOINT)
    async def delete_endpoint(request: Request) -> Response:
        return _delete(request)

    @router.operation("BatchEndpoints_ListKeys", "POST", _ENDPOINT + "/listkeys")
    async def list_keys(request: Request) -> Response:
        endpoint = endpoint_of(request)
        raise AzureError(
            400,
            "BadRequest",
            f"The batch endpoint {endpoint['name']} has no keys: its authMode is {_AUTH_MODE}.",
        )

    batch_deployments.register(router)


def settle_all(emulator: "Emulator", endpoint: Resource) -> None:
    """End what a restart finds in the middle of a change, of an endpoint and its deployments."""
    gone = settle(emulator.store, endpoint) == "Deleting"
    for deployment in emulator.store.children(f"{endpoint['id']}/deployments"):
        if gone:
            emulator.store.delete(deployment["id"])
        else:
            settle(emulator.store, deployment)


def endpoint_path(request: Request) -> str:
    return f"{workspace_path(request)}/{COLLECTION}/{request.path_params['endpoint']}"


def endpoint_of(request: Request) -> Resource:
    """The request's batch endpoint; 404 when there is none of that name."""
    endpoint = emulator_of(request).store.get(endpoint_path(request))
    if endpoint is None:
        parameters = request.path_params
        raise endpoint_names.missing(parameters["endpoint"], parameters["workspace"])
    return endpoint


def _put(request: Request, body: dict[str, Any]) -> Response:
    emulator, path = emulator_of(request), endpoint_path(request)
    store, name = emulator.store, request.path_params["endpoint"]
    endpoint_names.check_name("endpoint", name)
    endpoint_names.claim(emulator, name, path)
    changes = Changes(emulator, request)
    if repeated := changes.repeated(path, body):
        return repeated
    old = store.get(path)
    properties = _checked(emulator, path, name, properties_of(body, "description"))
    properties["provisioningState"] = "Updating" if old else "Creating"
    completed = {
        "location": emulator.config.location,
        **body,
        "kind": None,
        "tags": body.get("tags") or {},
        "properties": properties,
        "identity": with_principals(
            emulator.config, store, path, body.get("identity") or {"type": "SystemAssigned"}
        ),
    }
    resource = envelope(store, old["id"] if old else path, COLLECTION, completed)
    store.put(path, resource)

    async def provision() -> None:
        set_state(store, path, "Succeeded")

    return changes.begin(path, resource, provision(), 200 if old else 201, body)


def _patch(request: Request, body: dict[str, Any]) -> Response:
    """Change tags, description or the default deployment."""
    emulator, old = emulator_of(request), endpoint_of(request)
    changes, path = Changes(emulator, request), old["id"]
    if repeated := changes.repeated(path, body):
        return repeated
    given = {key: value for key, value in properties_of(body).items() if value is not None}
    properties = _checked(emulator, path, old["name"], old["properties"] | given)
    changed = {**old, "properties": properties | {"provisioningState": "Updating"}}
    if body.get("tags") is not None:
        changed["tags"] = body["tags"]
    resource = envelope(emulator.store, path, COLLECTION, changed)
    emulator.store.put(path, resource)

    async def update() -> None:
        set_state(emulator.store, path, "Succeeded")

    return changes.begin_update(path, resource, update, body)


def _checked(emulator: "Emulator", path: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
    """An endpoint's properties as the service completes them; AzureError 400 for bad ones."""
    mode = str(given.get("authMode") or _AUTH_MODE)
    if mode.lower() != _AUTH_MODE.lower():
        raise AzureError(
            400,
            "BadRequest",
            f"The authMode of a batch endpoint is {_AUTH_MODE}; it cannot be {mode}.",
        )
    default = (given.get("defaults") or {}).get("deploymentName")
    if default and emulator.store.get(f"{path}/deployments/{default}") is None:
        raise AzureError(
            400,
            "BadRequest",
            f"The endpoint {name} has no deployment named {default}, so it cannot be the default.",
        )
    host = endpoint_names.host(emulator, name)
    return {
        **given,
        "authMode": _AUTH_MODE,
        "defaults": {"deploymentName": default},
        "description": given.get("description"),
        "properties": given.get("properties") or {},
        "scoringUri": f"https://{host}/jobs",
        "swaggerUri": None,
    }


def _delete(request: Request) -> Response:
    """The endpoint goes with its deployments; jobs that were started through it stay."""
    emulator, path = emulator_of(request), endpoint_path(request)
    store = emulator.store
    endpoint = store.get(path)
    if endpoint is None:
        return Response(status_code=204)
    set_state(store, path, "Deleting")

    async def remove() -> None:
        for deployment in store.children(f"{path}/deployments"):
            store.delete(deployment["id"])
        store.delete(path)
        endpoint_names.release(emulator, endpoint["name"])

    return Changes(emulator, request).begin_delete(path, remove())
