"""User-assigned managed identities, and what the resources that have an identity say of it."""

import uuid
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator import authorization
from emulator.config import Config
from emulator.http import ResourceManagerError, Router, emulator_of, json_body
from emulator.resource_manager.resources import listing
from emulator.store import Resource, Store

_TYPE = "Microsoft.ManagedIdentity/userAssignedIdentities"
_COLLECTION = f"/subscriptions/{{subscription}}/resourceGroups/{{resource_group}}/providers/{_TYPE}"
_IDENTITY = _COLLECTION + "/{identity}"


def register(router: Router) -> None:
    router.operation("UserAssignedIdentities_CreateOrUpdate", "PUT", _IDENTITY)(_put)
    router.operation("UserAssignedIdentities_Update", "PATCH", _IDENTITY)(_patch)
    router.operation("UserAssignedIdentities_Delete", "DELETE", _IDENTITY)(_delete)

    @router.operation("UserAssignedIdentities_Get", "GET", _IDENTITY)
    async def get_identity(request: Request) -> Response:
        return JSONResponse(_found(request))

    @router.operation("UserAssignedIdentities_ListByResourceGroup", "GET", _COLLECTION)
    async def list_identities(request: Request) -> Response:
        return listing(request, emulator_of(request).store.children(request.url.path))


async def _put(request: Request) -> Response:
    emulator, path, body = emulator_of(request), _path(request), await json_body(request)
    old = emulator.store.get(path)
    resource: Resource = {
        "id": path,
        "name": path.rpartition("/")[2],
        "type": _TYPE,
        "location": body.get("location") or emulator.config.location,
        "tags": body.get("tags") or {},
        "properties": old["properties"]
        if old
        else {
            "tenantId": emulator.config.tenant,
            "principalId": str(uuid.uuid4()),
            "clientId": str(uuid.uuid4()),
        },
    }
    emulator.store.put(path, resource)
    return JSONResponse(resource, 200 if old else 201)


async def _patch(request: Request) -> Response:
    body, resource = await json_body(request), _found(request)
    if body.get("tags") is not None:
        resource["tags"] = body["tags"]
    emulator_of(request).store.put(_path(request), resource)
    return JSONResponse(resource)


async def _delete(request: Request) -> Response:
    emulator, path = emulator_of(request), _path(request)
    resource = emulator.store.get(path)
    if resource is None:
        return Response(status_code=204)
    authorization.forget_principal(emulator, resource["properties"]["principalId"])
    emulator.store.delete(path)
    return Response(status_code=200)


def _found(request: Request) -> Resource:
    resource = emulator_of(request).store.get(_path(request))
    if resource is None:
        parameters = request.path_params
        raise ResourceManagerError(
            404,
            "ResourceNotFound",
            f"The Resource '{_TYPE}/{parameters['identity']}' under resource group "
            f"'{parameters['resource_group']}' was not found. For more details please go to "
            "https://aka.ms/ARMResourceNotFoundFix",
        )
    return resource


def _path(request: Request) -> str:
    return str(request.url.path).rstrip("/")


def system_principal(path: str) -> str:
    """The object id of the system-assigned identity of a resource."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, path.lower()))


def with_principals(
    config: Config, store: Store, path: str, asked: Mapping[str, Any]
) -> dict[str, Any]:
    """The identity that was asked for a resource, with the ids of those that it stands for.

    A user-assigned one with the value None is to go.
    """
    identity = {key: asked[key] for key in asked if key not in ("principalId", "tenantId")}
    kind = str(identity.get("type") or "None").lower().replace("_", "")
    if kind != "none":
        identity["tenantId"] = config.tenant
    if "systemassigned" in kind:
        identity["principalId"] = system_principal(path)
    users = identity.get("userAssignedIdentities")
    if isinstance(users, dict):
        identity["userAssignedIdentities"] = {
            user: _ids(store, str(user)) or given
            for user, given in users.items()
            if given is not None
        }
    return identity


def _ids(store: Store, user: str) -> dict[str, str]:
    resource = store.get(user) or {"properties": {}}
    return {
        key: value
        for key, value in resource["properties"].items()
        if key in ("principalId", "clientId")
    }
