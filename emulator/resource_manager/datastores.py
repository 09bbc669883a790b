"""The datastores of a workspace: addresses of storage, and the secrets that open them."""

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.blob_signatures import account_sas
from emulator.blob_store import BlobError
from emulator.config import Config
from emulator.http import WORKSPACE, AzureError, Router, emulator_of, json_body
from emulator.resource_manager.answers import answer
from emulator.resource_manager.resources import envelope, listing, properties_of, workspace_path
from emulator.store import Resource, Store

_NAME = re.compile(r"[A-Za-z0-9_]{1,255}")
_NEEDS = {
    "AzureBlob": ("accountName", "containerName"),
    "AzureDataLakeGen1": ("storeName",),
    "AzureDataLakeGen2": ("accountName", "filesystem"),
    "AzureFile": ("accountName", "fileShareName"),
    "Hdfs": ("nameNodeAddress",),
    "OneLake": ("artifact", "oneLakeWorkspaceName"),
}
"""What each type of datastore must say."""
_CREDENTIALS = (
    "AccountKey",
    "Certificate",
    "KerberosKeytab",
    "KerberosPassword",
    "None",
    "Sas",
    "ServicePrincipal",
)
_ADDRESS = ("accountName", "containerName", "filesystem", "fileShareName", "endpoint", "protocol")
_SECRETS = "datastoreSecrets"


def create_system_datastores(config: Config, store: Store, workspace: str, container: str) -> None:
    """Make sure that a workspace has the datastores that the service gives it."""
    for name, where, default in (
        ("workspaceblobstore", container, True),
        ("workspaceartifactstore", config.artifact_container, False),
    ):
        path = f"{workspace}/datastores/{name}"
        if store.get(path) is None:
            properties = _system_properties(config, where, default)
            store.put(path, envelope(store, path, "datastores", {"properties": properties}))


def _system_properties(config: Config, container: str, default: bool) -> dict[str, Any]:
    return {
        "datastoreType": "AzureBlob",
        "accountName": config.account,
        "containerName": container,
        "endpoint": "core.windows.net",
        "protocol": "https",
        "isDefault": default,
        "credentials": {"credentialsType": "AccountKey"},
        "serviceDataAccessAuthIdentity": "None",
        "subscriptionId": config.subscription,
        "resourceGroup": config.resource_group,
        "description": None,
        "tags": {},
        "properties": {},
    }


def register(router: Router) -> None:
    base = WORKSPACE + "/datastores"
    router.operation("Datastores_List", "GET", base)(_list)
    router.operation("Datastores_ListSecrets", "POST", base + "/{name}/listSecrets")(_list_secrets)

    @router.operation("Datastores_Get", "GET", base + "/{name}")
    async def get_datastore(request: Request) -> Response:
        return answer(request, _datastore(request))

    @router.operation("Datastores_CreateOrUpdate", "PUT", base + "/{name}")
    async def put_datastore(request: Request) -> Response:
        resource, created = _put(request, await json_body(request))
        headers = {"Location": str(request.url)} if created else None
        return answer(request, resource, 201 if created else 200, headers)

    @router.operation("Datastores_Delete", "DELETE", base + "/{name}")
    async def delete_datastore(request: Request) -> Response:
        store, path = emulator_of(request).store, _path(request)
        datastore = store.get(path)
        if datastore and datastore["properties"]["isDefault"]:
            name = datastore["name"]
            raise AzureError(
                400,
                "UserError",
                f"{name} is the workspace's default datastore and cannot be deleted. Make another "
                "datastore the default one first.",
            )
        deleted = store.delete(path)
        store.document(_SECRETS).delete(path.lower())
        return Response(status_code=200 if deleted else 204)


async def _list(request: Request) -> Response:
    query = request.query_params
    stores = emulator_of(request).store.children(workspace_path(request) + "/datastores")
    if is_default := query.get("isDefault", "").lower():
        stores = [s for s in stores if s["properties"]["isDefault"] == (is_default == "true")]
    if names := query.getlist("names"):
        wanted = {name for text in names for name in text.split(",")}
        stores = [s for s in stores if s["name"] in wanted]
    if text := query.get("searchText", "").lower():
        stores = [s for s in stores if text in s["name"].lower()]
    if query.get("orderByAsc", "").lower() == "false" and query.get("orderBy"):
        stores.reverse()
    return listing(request, stores)


def kept_secrets(store: Store, path: str) -> dict[str, Any] | None:
    """The secrets that a client gave a datastore, as listSecrets answers them."""
    return store.document(_SECRETS).get(path.lower())


async def _list_secrets(request: Request) -> Response:
    properties = _datastore(request)["properties"]
    emulator = emulator_of(request)
    kept = emulator.store.document(_SECRETS).get(_path(request).lower())
    if kept is not None:
        return JSONResponse(kept)
    if properties["credentials"]["credentialsType"] == "None":
        raise AzureError(
            400,
            "UserError",
            f"The datastore {request.path_params['name']} has no secrets: it is read with the "
            "identity of its user.",
        )
    asked = await json_body(request) if await request.body() else {}
    config = emulator.config
    # With what they get for the artifacts clients sign addresses of logs: that must be a key.
    if (
        asked.get("expirableSecret") is True
        and properties["containerName"] == config.blob_container
    ):
        hours = asked.get("expireAfterHours") or 1
        token = account_sas(config.account, config.account_key, "rwdlac", hours=float(hours))
        return JSONResponse({"secretsType": "Sas", "sasToken": token})
    return JSONResponse({"secretsType": "AccountKey", "key": config.account_key})


def _put(request: Request, body: dict[str, Any]) -> tuple[Resource, bool]:
    emulator = emulator_of(request)
    store, path = emulator.store, _path(request)
    name = request.path_params["name"]
    if not _NAME.fullmatch(name):
        raise AzureError(
            400,
            "UserError",
            f"The datastore name '{name}' is invalid: 1 to 255 letters, digits and '_'.",
        )
    properties = _checked(properties_of(body, "datastoreType", *_ADDRESS), name)
    secrets = properties["credentials"].pop("secrets", None)
    if not isinstance(secrets, dict | None):
        raise AzureError(400, "UserError", "secrets must be an object.")
    old = store.get(path)
    properties["isDefault"] = bool(properties.get("isDefault")) or bool(
        old and old["properties"]["isDefault"]
    )
    _create_container(request, properties)
    resource = envelope(store, path, "datastores", {"properties": properties})
    store.put(path, resource)
    if properties["isDefault"]:
        _make_default(store, path)
    _keep_secrets(request, path, properties, secrets)
    return resource, old is None


def _checked(known: dict[str, Any], name: str) -> dict[str, Any]:
    """The client's properties with what the service adds; 400 for what it would refuse."""
    kind = known.get("datastoreType")
    if kind not in _NEEDS:
        raise AzureError(
            400,
            "UserError",
            f"The datastore {name} has the type {kind}; there are: {', '.join(_NEEDS)}.",
        )
    missing = [key for key in _NEEDS[kind] if not known.get(key)]
    if missing:
        raise AzureError(
            400, "UserError", f"The datastore {name} needs {' and '.join(missing)} for its type."
        )
    credentials = known.get("credentials")
    kind_of = credentials.get("credentialsType") if isinstance(credentials, dict) else None
    if not isinstance(credentials, dict) or kind_of not in _CREDENTIALS:
        raise AzureError(
            400,
            "UserError",
            f"The datastore {name} needs credentials with a credentialsType: "
            f"{', '.join(_CREDENTIALS)}.",
        )
    if kind not in ("Hdfs", "AzureDataLakeGen1"):
        known["endpoint"] = known.get("endpoint") or "core.windows.net"
    if kind.startswith(("AzureBlob", "AzureFile", "AzureDataLakeGen2")):
        known["protocol"] = known.get("protocol") or "https"
    if kind != "Hdfs":
        known["serviceDataAccessAuthIdentity"] = (
            known.get("serviceDataAccessAuthIdentity") or "None"
        )
    return {
        **known,
        "credentials": dict(credentials),
        "description": known.get("description"),
        "tags": known.get("tags") or {},
        "properties": known.get("properties") or {},
    }


def _create_container(request: Request, properties: dict[str, Any]) -> None:
    """A container of the local account exists from the moment that a datastore names it."""
    emulator = emulator_of(request)
    container = properties.get("containerName") or properties.get("filesystem")
    if container and properties.get("accountName") == emulator.config.account:
        try:
            emulator.blobs.create_container(container)
        except BlobError as error:
            raise AzureError(400, "UserError", error.message) from error


def _keep_secrets(
    request: Request, path: str, properties: dict[str, Any], secrets: dict[str, Any] | None
) -> None:
    """Keep a client's secrets where no GET shows them; the local account's key is known."""
    emulator = emulator_of(request)
    kept = emulator.store.document(_SECRETS)
    kind = properties["credentials"]["credentialsType"]
    own = properties.get("accountName") == emulator.config.account and kind == "AccountKey"
    if own or kind == "None" or not secrets:
        kept.delete(path.lower())
    else:
        kept.put(path.lower(), {"secretsType": kind, **secrets})


def _make_default(store: Store, path: str) -> None:
    """A workspace has one default datastore."""
    for other in store.children(path.rpartition("/")[0]):
        is_this = other["id"].lower() == path.lower()
        if other["properties"]["isDefault"] != is_this:
            other["properties"]["isDefault"] = is_this
            store.put(other["id"], other)


def _path(request: Request) -> str:
    return f"{workspace_path(request)}/datastores/{request.path_params['name']}"


def _datastore(request: Request) -> Resource:
    datastore = emulator_of(request).store.get(_path(request))
    if datastore is None:
        name = request.path_params["name"]
        raise AzureError(
            404, "UserError", f"Could not find datastore: {name}.", inner=("NotFoundError",)
        )
    return datastore
