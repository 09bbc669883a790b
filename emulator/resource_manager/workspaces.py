"""Workspaces: the configured one, and those that clients make beside it."""

import asyncio
import re
import uuid
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.config import Config
from emulator.http import WORKSPACE, AzureError, Router, emulator_of, json_body
from emulator.operations import Operations
from emulator.resource_manager.answers import answer
from emulator.resource_manager.datastores import create_system_datastores
from emulator.resource_manager.dependents import KINDS, remember, take_storage
from emulator.resource_manager.diagnosis import diagnose
from emulator.resource_manager.resources import (
    envelope,
    found,
    listing,
    properties_of,
    workspace_path,
)
from emulator.resource_manager.user_identities import with_principals
from emulator.resource_manager.workspace_quotas import forget_shares
from emulator.store import Resource, Store

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,32}")
_CLIENTS = (
    "description",
    "friendlyName",
    "publicNetworkAccess",
    "imageBuildCompute",
    "hbiWorkspace",
    "keyVault",
    "applicationInsights",
    "containerRegistry",
    "primaryUserAssignedIdentity",
    "systemDatastoresAuthMode",
    "managedNetwork",
    "serverlessComputeSettings",
    "enableDataIsolation",
    "allowRoleAssignmentOnRG",
    "networkAcls",
)
"""Properties that a client may give and change."""
_WORDS = ("description", "friendlyName", "publicNetworkAccess", "imageBuildCompute")
_COLLECTION = (
    "/subscriptions/{subscription}/resourceGroups/{resource_group}"
    "/providers/Microsoft.MachineLearningServices/workspaces"
)


def create_workspace(config: Config, store: Store) -> bool:
    """Make sure that the configured workspace exists, with its datastores; whether it is new."""
    path = config.workspace_path
    is_new = store.get(path) is None
    if is_new:
        description = "The local Azure ML's workspace"
        group = path.partition("/providers/")[0]
        properties = {
            "friendlyName": config.workspace,
            "description": description,
            # The service makes one when the first image is built, and examples name it.
            "containerRegistry": f"{group}/providers/{KINDS['containerRegistry']}/localregistry",
        }
        store.put(path, _resource(config, store, path, config.workspace_id, {}, properties))
    create_system_datastores(config, store, path, config.blob_container)
    return is_new


def put_workspace(
    request: Request, path: str, body: Mapping[str, Any], properties: Mapping[str, Any]
) -> tuple[Resource, bool]:
    """Make a workspace with its datastores, or change one; gives it and whether it is new."""
    emulator = emulator_of(request)
    store, config = emulator.store, emulator.config
    name = path.rpartition("/")[2]
    if not _NAME.fullmatch(name):
        raise AzureError(
            400,
            "ValidationError",
            f"The workspace name '{name}' is invalid: 3 to 33 letters, digits, '-' and '_', "
            "beginning with a letter or a digit.",
        )
    _check_kind(str(body.get("kind") or "Default"))
    old = store.get(path)
    if old:
        return _changed(config, store, old, body, properties), False
    guid = str(uuid.uuid4())
    workspace = _resource(config, store, path, guid, body, properties)
    container = _container(guid)
    emulator.blobs.create_container(container)
    store.put(path, workspace)
    create_system_datastores(config, store, path, container)
    store.document("workspaces").put(path.lower(), path)
    remember(emulator, workspace)
    return workspace, True


def _container(guid: str) -> str:
    """The container of a workspace's default datastore."""
    return f"azureml-blobstore-{guid}"


def _check_kind(kind: str) -> None:
    if kind.lower() != "default":
        raise AzureError(
            501,
            "OperationNotSupported",
            f"The local Azure ML does not emulate workspaces of the kind {kind} (hubs, projects, "
            "feature stores). Nothing was created.",
        )


def _resource(
    config: Config,
    store: Store,
    path: str,
    guid: str,
    body: Mapping[str, Any],
    properties: Mapping[str, Any],
) -> Resource:
    resource = envelope(store, path, "", {"location": body.get("location") or config.location})
    given = {key: properties[key] for key in _CLIENTS if properties.get(key) is not None}
    return resource | {
        "type": "Microsoft.MachineLearningServices/workspaces",
        "kind": "Default",
        "tags": dict(body.get("tags") or {}),
        "sku": {"name": "Basic", "tier": "Basic"},
        "identity": with_principals(
            config, store, path, body.get("identity") or {"type": "SystemAssigned"}
        ),
        "properties": _service_properties(config, path, guid) | given,
    }


def _service_properties(config: Config, path: str, guid: str) -> dict[str, Any]:
    group, name = path.partition("/providers/")[0], path.rpartition("/")[2]
    own = f"/subscriptions/{config.subscription}/resourceGroups/{config.resource_group}"
    return {
        "friendlyName": name,
        "description": "",
        "workspaceId": guid,
        "provisioningState": "Succeeded",
        "tenantId": config.tenant,
        "discoveryUrl": f"https://{config.api_host}/discovery",
        "mlFlowTrackingUri": f"azureml://{config.api_host}/mlflow/v1.0{path}",
        "storageAccount": f"{own}/providers/Microsoft.Storage/storageAccounts/{config.account}",
        "keyVault": f"{group}/providers/{KINDS['keyVault']}/{name}",
        "applicationInsights": f"{group}/providers/{KINDS['applicationInsights']}/{name}",
        "hbiWorkspace": False,
        "publicNetworkAccess": "Enabled",
        "v1LegacyMode": False,
        "systemDatastoresAuthMode": "accessKey",
        "enableDataIsolation": False,
        "notebookInfo": {
            "resourceId": guid.replace("-", ""),
            "fqdn": f"{name.lower()}-{guid}.{config.location}.notebooks.azure.net",
            "isPrivateLinkEnabled": False,
            "notebookPreparationError": None,
        },
    }


def register(router: Router) -> None:
    subscription = "/subscriptions/{subscription}" + _COLLECTION.partition("{resource_group}")[2]
    router.operation("Workspaces_ListBySubscription", "GET", subscription)(_list_all)
    router.operation("Workspaces_CreateOrUpdate", "PUT", WORKSPACE)(_put)
    router.operation("Workspaces_Update", "PATCH", WORKSPACE)(_patch)
    router.operation("Workspaces_Delete", "DELETE", WORKSPACE)(_delete)
    router.operation("Workspaces_ListKeys", "POST", WORKSPACE + "/listKeys")(_list_keys)

    @router.operation("Workspaces_Get", "GET", WORKSPACE)
    async def get_workspace(request: Request) -> Response:
        path = workspace_path(request)
        return answer(request, found(emulator_of(request).store, path, path))

    @router.operation("Workspaces_ListByResourceGroup", "GET", _COLLECTION)
    async def list_workspaces(request: Request) -> Response:
        return listing(request, emulator_of(request).store.children(request.url.path))

    @router.operation(
        "Workspaces_ListStorageAccountKeys", "POST", WORKSPACE + "/listStorageAccountKeys"
    )
    async def list_storage_account_keys(request: Request) -> Response:
        workspace_path(request)
        return JSONResponse({"userStorageKey": emulator_of(request).config.account_key})

    @router.operation("WorkspaceFeatures_List", "GET", WORKSPACE + "/features")
    async def list_features(request: Request) -> Response:
        """There are no features here that some workspaces have and others not."""
        workspace_path(request)
        return JSONResponse({"value": []})

    @router.operation("Workspaces_ResyncKeys", "POST", WORKSPACE + "/resyncKeys")
    async def resync_keys(request: Request) -> Response:
        """There is one copy of each key here: nothing can be out of step."""
        workspace_path(request)
        return Response(status_code=200)

    @router.operation("Workspaces_Diagnose", "POST", WORKSPACE + "/diagnose")
    async def diagnose_workspace(request: Request) -> Response:
        emulator, path = emulator_of(request), workspace_path(request)
        return JSONResponse({"value": diagnose(emulator, found(emulator.store, path, path))})


async def _list_all(request: Request) -> Response:
    emulator = emulator_of(request)
    made = [path for _, path in emulator.store.document("workspaces").items()]
    paths = [emulator.config.workspace_path, *made]
    prefix = f"/subscriptions/{request.path_params['subscription']}/".lower()
    wanted = [path for path in paths if path.lower().startswith(prefix)]
    return listing(request, [found(emulator.store, path, path) for path in wanted])


async def _put(request: Request) -> Response:
    body = await json_body(request)
    operations = emulator_of(request).operations
    path = request.url.path.rstrip("/")
    workspace, _ = put_workspace(request, path, body, properties_of(body, *_WORDS))
    return _done(request, operations, workspace)


async def _patch(request: Request) -> Response:
    body = await json_body(request)
    emulator = emulator_of(request)
    old = found(emulator.store, workspace_path(request), request.path_params["workspace"])
    changed = _changed(emulator.config, emulator.store, old, body, properties_of(body, *_WORDS))
    return _done(request, emulator.operations, changed)


def _done(request: Request, operations: Operations, workspace: Resource) -> Response:
    return answer(request, workspace, 200, operations.headers(operations.begin(None)))


def _changed(
    config: Config,
    store: Store,
    old: Resource,
    body: Mapping[str, Any],
    properties: Mapping[str, Any],
) -> Resource:
    workspace = old | {"systemData": envelope(store, old["id"], "", {})["systemData"]}
    if body.get("tags") is not None:
        workspace["tags"] = body["tags"]
    if body.get("identity") is not None:
        workspace["identity"] = with_principals(config, store, old["id"], body["identity"])
    for key in _CLIENTS:
        if properties.get(key) is not None:
            workspace["properties"][key] = properties[key]
    store.put(old["id"], workspace)
    return workspace


async def _delete(request: Request) -> Response:
    emulator = emulator_of(request)
    path = request.url.path.rstrip("/")
    workspace = emulator.store.get(path)
    if workspace is None:
        return Response(status_code=204)
    if path.lower() == emulator.config.workspace_path.lower():
        raise AzureError(
            409,
            "Conflict",
            f"{emulator.config.workspace} is the workspace that the local Azure ML was started "
            "with and cannot be deleted. Reset the local Azure ML to empty it.",
        )
    for deployment in _deployments(emulator.store, path):
        await emulator.deployments.stop_one(deployment["id"])
    for job in emulator.store.children(f"{path}/jobs"):
        emulator.jobs.forget(job["id"])
    container = _container(workspace["properties"]["workspaceId"])
    if take_storage(emulator) and emulator.blobs.has_container(container):
        await asyncio.to_thread(emulator.blobs.delete_container, container)
    emulator.store.delete(path)
    forget_shares(emulator, path)
    emulator.store.document("workspaces").delete(path.lower())
    operations = emulator.operations
    return Response(
        status_code=202, headers=operations.headers(operations.begin(None), location=True)
    )


def _deployments(store: Store, workspace: str) -> list[Resource]:
    endpoints = store.children(f"{workspace}/onlineEndpoints")
    return [d for e in endpoints for d in store.children(f"{e['id']}/deployments")]


async def _list_keys(request: Request) -> Response:
    emulator = emulator_of(request)
    workspace = found(emulator.store, workspace_path(request), request.path_params["workspace"])
    return JSONResponse(
        {
            "userStorageKey": emulator.config.account_key,
            "userStorageArmId": workspace["properties"]["storageAccount"],
            "appInsightsInstrumentationKey": None,
            "containerRegistryCredentials": None,
            "notebookAccessKeys": None,
        }
    )
