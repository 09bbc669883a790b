"""Storage accounts as resources: made, listed, their keys, their containers, deleted."""

import asyncio
import re
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator import authorization
from emulator.blob_store import BlobError, BlobStore
from emulator.http import ResourceManagerError, Router, emulator_of, json_body, timestamp
from emulator.resource_manager import dependents
from emulator.resource_manager.resources import listing, properties_of
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

_TYPE = "Microsoft.Storage/storageAccounts"
_SUBSCRIPTION = f"/subscriptions/{{subscription}}/providers/{_TYPE}"
_COLLECTION = f"/subscriptions/{{subscription}}/resourceGroups/{{resource_group}}/providers/{_TYPE}"
_ACCOUNT = _COLLECTION + "/{account}"
_CONTAINERS = _ACCOUNT + "/blobServices/default/containers"
_NAME = re.compile(r"[a-z0-9]{3,24}")
_KINDS = ("Storage", "StorageV2", "BlobStorage", "BlockBlobStorage", "FileStorage")
_KEYS = ("key1", "key2")


def register(router: Router) -> None:
    router.operation("StorageAccounts_Create", "PUT", _ACCOUNT)(_put)
    router.operation("StorageAccounts_Delete", "DELETE", _ACCOUNT)(_delete)
    router.operation("StorageAccounts_RegenerateKey", "POST", _ACCOUNT + "/regenerateKey")(_renew)
    router.operation("StorageAccounts_ListByResourceGroup", "GET", _COLLECTION)(_list)
    router.operation("StorageAccounts_List", "GET", _SUBSCRIPTION)(_list)
    router.operation("BlobContainers_Create", "PUT", _CONTAINERS + "/{container}")(_put_container)

    @router.operation("StorageAccounts_GetProperties", "GET", _ACCOUNT)
    async def get_account(request: Request) -> Response:
        return JSONResponse(_account(request))

    @router.operation("StorageAccounts_Update", "PATCH", _ACCOUNT)
    async def patch_account(request: Request) -> Response:
        return _patch(request, await json_body(request))

    @router.operation("StorageAccounts_ListKeys", "POST", _ACCOUNT + "/listKeys")
    async def list_keys(request: Request) -> Response:
        return JSONResponse(_keys(request, _account(request)))

    @router.operation("BlobContainers_List", "GET", _CONTAINERS)
    async def list_containers(request: Request) -> Response:
        account, store = _account(request), _blobs(request)
        return listing(request, [_container(account, name) for name in store.containers()])

    @router.operation("BlobContainers_Get", "GET", _CONTAINERS + "/{container}")
    async def get_container(request: Request) -> Response:
        account, store = _account(request), _blobs(request)
        name = _checked(request, store)
        if not store.has_container(name):
            raise ResourceManagerError(
                404, "ContainerNotFound", "The specified container does not exist."
            )
        return JSONResponse(_container(account, name))

    @router.operation("BlobContainers_Delete", "DELETE", _CONTAINERS + "/{container}")
    async def delete_container(request: Request) -> Response:
        _account(request)
        store = _blobs(request)
        name = _checked(request, store)
        if not store.has_container(name):
            return Response(status_code=204)
        await asyncio.to_thread(store.delete_container, name)
        return Response(status_code=200)


async def _put(request: Request) -> Response:
    emulator, path, body = emulator_of(request), _path(request), await json_body(request)
    name = path.rpartition("/")[2]
    if not _NAME.fullmatch(name):
        raise ResourceManagerError(
            400,
            "AccountNameInvalid",
            f"{name} is not a valid storage account name. Storage account name must be between 3 "
            "and 24 characters in length and use numbers and lower-case letters only.",
        )
    kind = body.get("kind") or "StorageV2"
    if kind not in _KINDS:
        raise ResourceManagerError(
            400, "InvalidValuesForRequestParameters", f"The kind {kind} is none of {_KINDS}."
        )
    owner = emulator.accounts.path(name)
    if owner and owner.lower() != path.lower():
        raise ResourceManagerError(
            409, "StorageAccountAlreadyTaken", f"The storage account named {name} is already taken."
        )
    old = _stored(emulator, path)
    if owner is None:
        emulator.accounts.create(name, path)
    resource = _described(emulator, path, {**(old or {}), **body, "kind": kind}, old)
    emulator.store.put(path, resource)
    return JSONResponse(resource)


def _patch(request: Request, body: dict[str, Any]) -> Response:
    emulator, old = emulator_of(request), _account(request)
    merged = {**old, **{key: body[key] for key in ("tags", "sku") if body.get(key)}}
    merged["properties"] = {**old["properties"], **properties_of(body)}
    resource = _described(emulator, old["id"], merged, old)
    emulator.store.put(old["id"], resource)
    return JSONResponse(resource)


async def _delete(request: Request) -> Response:
    emulator, path = emulator_of(request), _path(request)
    name = path.rpartition("/")[2]
    if path.lower() == emulator.config.storage_path.lower():
        # What of it goes is settled with the workspace that is deleted with it.
        dependents.forget(emulator, path)
        return Response(status_code=200)
    if emulator.store.get(path) is None:
        return Response(status_code=204)
    emulator.store.delete(path)
    authorization.forget_scope(emulator, path)
    await asyncio.to_thread(emulator.accounts.delete, name)
    return Response(status_code=200)


async def _list(request: Request) -> Response:
    emulator = emulator_of(request)
    own = emulator.config.storage_path
    paths = [own, *emulator.accounts.paths()]
    scope = request.url.path.lower().rpartition("/providers/")[0]
    wanted = [path for path in paths if authorization.within(path, scope)]
    return listing(request, [each for path in wanted if (each := _stored(emulator, path))])


async def _put_container(request: Request) -> Response:
    account, store = _account(request), _blobs(request)
    await json_body(request)
    name = _checked(request, store)
    made = store.create_container(name)
    return JSONResponse(_container(account, name), 201 if made else 200)


async def _renew(request: Request) -> Response:
    account, body = _account(request), await json_body(request)
    name, accounts = account["name"], emulator_of(request).accounts
    key = str(body.get("keyName"))
    if key not in _KEYS[: len(accounts.keys(name))]:
        raise ResourceManagerError(400, "InvalidKeyName", f"{name} has no key named {key}.")
    if account["id"].lower() == emulator_of(request).config.storage_path.lower():
        raise ResourceManagerError(
            501,
            "OperationNotSupported",
            f"The key of {name}, which all workspaces of the local Azure ML share, stays.",
        )
    accounts.renew_key(name, _KEYS.index(key))
    return JSONResponse(_keys(request, account))


def _keys(request: Request, account: Resource) -> dict[str, Any]:
    keys = emulator_of(request).accounts.keys(account["name"])
    made = account["properties"]["creationTime"]
    return {
        "keys": [
            {"keyName": name, "value": key, "permissions": "FULL", "creationTime": made}
            for name, key in zip(_KEYS, keys, strict=False)
        ]
    }


def _account(request: Request) -> Resource:
    """The request's account; 404 when there is none."""
    parameters = request.path_params
    path = _COLLECTION.format(**parameters) + f"/{parameters['account']}"
    found = _stored(emulator_of(request), path)
    if found is None:
        raise ResourceManagerError(
            404,
            "ResourceNotFound",
            f"The Resource '{_TYPE}/{parameters['account']}' under resource group "
            f"'{parameters['resource_group']}' was not found. For more details please go to "
            "https://aka.ms/ARMResourceNotFoundFix",
        )
    return found


def _stored(emulator: "Emulator", path: str) -> Resource | None:
    if found := emulator.store.get(path):
        return found
    own = emulator.config.storage_path
    return _described(emulator, own, {}, None) if path.lower() == own.lower() else None


def _described(
    emulator: "Emulator", path: str, body: dict[str, Any], old: Resource | None
) -> Resource:
    name = path.rpartition("/")[2]
    location = body.get("location") or emulator.config.location
    sku = body.get("sku") if isinstance(body.get("sku"), dict) else None
    before = old["properties"] if old else {}
    return {
        "id": path,
        "name": name,
        "type": _TYPE,
        "location": location,
        "tags": body.get("tags") or {},
        "kind": body.get("kind") or "StorageV2",
        "sku": {"name": "Standard_LRS", "tier": "Standard", **(sku or {})},
        "properties": {
            "accessTier": "Hot",
            "allowBlobPublicAccess": False,
            "minimumTlsVersion": "TLS1_2",
            "supportsHttpsTrafficOnly": True,
            "networkAcls": {"bypass": "AzureServices", "defaultAction": "Allow"},
            **properties_of(body),
            "creationTime": before.get("creationTime") or timestamp(),
            "primaryLocation": location,
            "statusOfPrimary": "available",
            "provisioningState": "Succeeded",
            "primaryEndpoints": {"blob": f"https://{name}.blob.core.windows.net/"},
        },
    }


def _container(account: Resource, name: str) -> Resource:
    return {
        "id": f"{account['id']}/blobServices/default/containers/{name}",
        "name": name,
        "type": f"{_TYPE}/blobServices/containers",
        "properties": {
            "publicAccess": "None",
            "leaseState": "Available",
            "leaseStatus": "Unlocked",
            "hasImmutabilityPolicy": False,
            "hasLegalHold": False,
            "deleted": False,
        },
    }


def _blobs(request: Request) -> BlobStore:
    store = emulator_of(request).accounts.blobs(request.path_params["account"].lower())
    assert store is not None
    return store


def _checked(request: Request, store: BlobStore) -> str:
    """The name of the request's container, if it can be one."""
    name = str(request.path_params["container"])
    try:
        store.path(name)
    except BlobError as error:
        raise ResourceManagerError(error.status, error.code, error.message) from error
    return name


def _path(request: Request) -> str:
    return str(request.url.path).rstrip("/")
