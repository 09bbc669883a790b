"""Managed online endpoints: their keys and their traffic."""

import secrets
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator import authorization
from emulator.clock import CLOCK
from emulator.core import Emulator
from emulator.http import WORKSPACE, AzureError, Router, emulator_of, json_body
from emulator.identity import LIFETIME_SECONDS, MACHINE_LEARNING
from emulator.resource_manager import endpoint_names, online_deployments
from emulator.resource_manager.answers import answer
from emulator.resource_manager.changes import Changes, set_state
from emulator.resource_manager.resources import (
    envelope,
    found,
    listing,
    properties_of,
    workspace_path,
)
from emulator.resource_manager.traffic import checked_mirror, checked_traffic
from emulator.resource_manager.user_identities import system_principal, with_principals
from emulator.store import Resource

_ENDPOINT = WORKSPACE + "/onlineEndpoints/{endpoint}"
_AUTH_MODES = {"key": "Key", "aadtoken": "AADToken", "amltoken": "AMLToken"}
_PATCHED = ("traffic", "mirrorTraffic", "publicNetworkAccess")
"""Properties that a PATCH may change."""
_REFRESH_SECONDS = 300
"""How long before its end a token should be asked for anew."""
_KEY_NAMES = {"primary": "primaryKey", "secondary": "secondaryKey"}


def register(router: Router) -> None:
    @router.operation("OnlineEndpoints_List", "GET", WORKSPACE + "/onlineEndpoints")
    async def list_endpoints(request: Request) -> Response:
        path = workspace_path(request)
        return listing(request, emulator_of(request).store.children(path + "/onlineEndpoints"))

    @router.operation("OnlineEndpoints_Get", "GET", _ENDPOINT)
    async def get_endpoint(request: Request) -> Response:
        return answer(request, endpoint_of(request))

    @router.operation("OnlineEndpoints_CreateOrUpdate", "PUT", _ENDPOINT)
    async def put_endpoint(request: Request) -> Response:
        return _put(request, await json_body(request))

    @router.operation("OnlineEndpoints_Update", "PATCH", _ENDPOINT)
    async def patch_endpoint(request: Request) -> Response:
        return _patch(request, await json_body(request))

    @router.operation("OnlineEndpoints_Delete", "DELETE", _ENDPOINT)
    async def delete_endpoint(request: Request) -> Response:
        return _delete(request)

    @router.operation("OnlineEndpoints_ListKeys", "POST", _ENDPOINT + "/listKeys")
    async def list_keys(request: Request) -> Response:
        return JSONResponse(_keys(request)[1])

    @router.operation("OnlineEndpoints_RegenerateKeys", "POST", _ENDPOINT + "/regenerateKeys")
    async def regenerate_keys(request: Request) -> Response:
        return _regenerate(request, await json_body(request))

    @router.operation("OnlineEndpoints_GetToken", "POST", _ENDPOINT + "/token")
    async def get_token(request: Request) -> Response:
        return JSONResponse(_token(request))

    online_deployments.register(router)


def endpoint_path(request: Request) -> str:
    return f"{workspace_path(request)}/onlineEndpoints/{request.path_params['endpoint']}"


def endpoint_of(request: Request) -> Resource:
    """The request's endpoint; 404 when there is none of that name."""
    name = request.path_params["endpoint"]
    return found(emulator_of(request).store, endpoint_path(request), f"Online endpoint '{name}'")


def _put(request: Request, body: dict[str, Any]) -> Response:
    emulator = emulator_of(request)
    store = emulator.store
    path = endpoint_path(request)
    name = request.path_params["endpoint"]
    endpoint_names.check_name("endpoint", name)
    endpoint_names.claim(emulator, name, path)
    changes = Changes(emulator, request)
    if repeated := changes.repeated(path, body):
        return repeated
    old = store.get(path)
    properties = _checked(emulator, path, name, body)
    if old and properties["authMode"] != old["properties"]["authMode"]:
        raise AzureError(400, "BadRequest", "The authMode of an endpoint cannot be changed.")
    given = properties.pop("keys", None) or {}
    if old is None:
        keys = {key: given.get(key) or _new_key() for key in _KEY_NAMES.values()}
        store.document("endpoint keys").put(path.lower(), keys)
    properties["provisioningState"] = "Updating" if old else "Creating"
    completed = {
        "location": emulator.config.location,
        "kind": "Managed",
        **body,
        "properties": properties,
        "tags": body.get("tags") or {},
        "identity": _identity(emulator, path, body.get("identity")),
    }
    resource = envelope(store, old["id"] if old else path, "onlineEndpoints", completed)
    store.put(path, resource)

    async def provision() -> None:
        if old is None and not emulator.transitions.are_set("endpoints"):
            await emulator.jobs.unwatched.ended(workspace_path(request))
        set_state(store, path, "Succeeded")

    return changes.begin(path, resource, provision(), 200 if old else 201, body)


def _patch(request: Request, body: dict[str, Any]) -> Response:
    """Change tags, identity or, as MLflow's deployment client does, the traffic."""
    emulator = emulator_of(request)
    old = endpoint_of(request)
    path = old["id"]
    changes = Changes(emulator, request)
    if repeated := changes.repeated(path, body):
        return repeated
    given = properties_of(body)
    patched = {key: given[key] for key in _PATCHED if given.get(key) is not None}
    changed = {**old, "properties": {**old["properties"], **patched}}
    changed["properties"] = _checked(emulator, path, old["name"], changed)
    changed["properties"]["provisioningState"] = "Updating"
    if body.get("tags") is not None:
        changed["tags"] = body["tags"]
    if body.get("identity"):
        changed["identity"] = _identity(emulator, path, body["identity"])
    resource = envelope(emulator.store, path, "onlineEndpoints", changed)
    emulator.store.put(path, resource)

    async def update() -> None:
        set_state(emulator.store, path, "Succeeded")

    return changes.begin_update(path, resource, update, body)


def _checked(emulator: Emulator, path: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = dict(body.get("properties") or {})
    mode = str(properties.get("authMode") or "Key")
    if mode.lower() not in _AUTH_MODES:
        raise AzureError(
            501,
            "OperationNotSupported",
            f"The local Azure ML does not emulate endpoints with authMode {mode}; it has "
            f"{' and '.join(_AUTH_MODES.values())}.",
        )
    children = emulator.store.children(f"{path}/deployments")
    deployments = {deployment["name"].lower(): deployment["name"] for deployment in children}
    traffic = checked_traffic(deployments, properties.get("traffic") or {})
    host = endpoint_names.host(emulator, name)
    return properties | {
        "authMode": _AUTH_MODES[mode.lower()],
        "traffic": traffic,
        "mirrorTraffic": checked_mirror(
            deployments, traffic, properties.get("mirrorTraffic") or {}
        ),
        "scoringUri": f"https://{host}/score",
        "swaggerUri": f"https://{host}/swagger.json",
        "publicNetworkAccess": properties.get("publicNetworkAccess") or "Enabled",
        "properties": (properties.get("properties") or {})
        | {"azureml.onlineendpointid": path.lower()},
    }


def _identity(emulator: Emulator, path: str, asked: dict[str, Any] | None) -> dict[str, Any]:
    """An endpoint's identity; a system-assigned one may read the workspace's storage, as there."""
    identity = with_principals(
        emulator.config, emulator.store, path, asked or {"type": "SystemAssigned"}
    )
    if principal := identity.get("principalId"):
        scope = emulator.config.storage_path
        authorization.assign_of_service(emulator, scope, "Storage Blob Data Reader", principal)
    return identity


def _delete(request: Request) -> Response:
    emulator = emulator_of(request)
    store = emulator.store
    path = endpoint_path(request)
    endpoint = store.get(path)
    if endpoint is None:
        return Response(status_code=204)
    set_state(store, path, "Deleting")

    async def remove() -> None:
        for deployment in store.children(f"{path}/deployments"):
            set_state(store, deployment["id"], "Deleting")
            await emulator.deployments.stop_one(deployment["id"])
        store.delete(path)
        authorization.forget_principal(emulator, system_principal(path))
        store.document("endpoint keys").delete(path.lower())
        endpoint_names.release(emulator, endpoint["name"])

    return Changes(emulator, request).begin_delete(path, remove())


def _keys(request: Request) -> tuple[Resource, dict[str, str]]:
    endpoint = endpoint_of(request)
    if endpoint["properties"]["authMode"] != "Key":
        raise AzureError(
            400,
            "BadRequest",
            f"The endpoint {endpoint['name']} has no keys: its authMode is "
            f"{endpoint['properties']['authMode']}.",
        )
    keys = emulator_of(request).store.document("endpoint keys").get(endpoint["id"].lower())
    return endpoint, keys or {}


def _token(request: Request) -> dict[str, Any]:
    """A token for the endpoint; 400 for one that has keys."""
    endpoint, emulator = endpoint_of(request), emulator_of(request)
    if endpoint["properties"]["authMode"] == "Key":
        raise AzureError(
            400,
            "BadRequest",
            f"The endpoint {endpoint['name']} has no tokens: its authMode is Key.",
        )
    end = int(CLOCK.time()) + LIFETIME_SECONDS
    return {
        "accessToken": emulator.tokens.issue(MACHINE_LEARNING[0], emulator.config.client_id),
        "tokenType": "Bearer",
        "expiryTimeUtc": end,
        "refreshAfterTimeUtc": end - _REFRESH_SECONDS,
    }


def _regenerate(request: Request, body: dict[str, Any]) -> Response:
    endpoint, keys = _keys(request)
    name = _KEY_NAMES.get(str(body.get("keyType")).lower())
    if name is None:
        raise AzureError(
            400, "BadRequest", f"keyType must be Primary or Secondary, not {body.get('keyType')}."
        )
    emulator = emulator_of(request)
    given = body.get("keyValue")
    # The SDK sends the key that it wants to be rid of as the key's new value.
    keys[name] = given if given and given != keys.get(name) else _new_key()
    emulator.store.document("endpoint keys").put(endpoint["id"].lower(), keys)
    operation = emulator.operations.begin(None)
    return Response(status_code=202, headers=emulator.operations.headers(operation, location=True))


def _new_key() -> str:
    return secrets.token_urlsafe(32)
