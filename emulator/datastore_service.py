"""What readers of `azureml://` paths ask: a datastore with what opens it, a version of data.

They are azureml-fsspec, mltable, and what else reads through azureml-dataprep; the resource
manager is not asked by them.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.http import WORKSPACE, AzureError, Router, emulator_of
from emulator.resource_manager.asset_uris import resolve_uri
from emulator.resource_manager.datastores import kept_secrets
from emulator.resource_manager.places import workspace_of
from emulator.resource_manager.resources import workspace_path

_TYPES = {"uri_file": "UriFile", "uri_folder": "UriFolder", "mltable": "MLTable"}
"""How the data service calls the types of data."""


def register(router: Router) -> None:
    _register_data(router)

    @router.operation("DataStore_Get", "GET", f"/datastore/v1.0{WORKSPACE}/datastores/{{name}}")
    async def get(request: Request) -> Response:
        name = request.path_params["name"]
        path = f"{workspace_path(request)}/datastores/{name}"
        datastore = emulator_of(request).store.get(path)
        if datastore is None:
            raise AzureError(404, "UserError", f"Could not find datastore: {name}")
        properties = datastore["properties"]
        kind = properties["datastoreType"]
        if not properties.get("accountName"):
            raise AzureError(
                501,
                "OperationNotSupported",
                f"The local Azure ML tells the storage of datastores in storage accounts; {name} "
                f"is of type {kind}.",
            )
        answer = {
            "name": datastore["name"],
            "dataStoreType": kind,
            "hasBeenValidated": True,
            "isDefault": properties["isDefault"],
            "tags": properties.get("tags") or {},
            "azureStorageSection": _storage(request, path, properties),
        }
        return JSONResponse(answer)


def _register_data(router: Router) -> None:
    path = f"/data/v1.0{WORKSPACE}/dataversion/{{name}}/versions/{{version}}"

    @router.operation("DataVersion_Get", "GET", path)
    async def get(request: Request) -> Response:
        emulator, place = emulator_of(request), workspace_of(request)
        name, version = request.path_params["name"], request.path_params["version"]
        found = emulator.store.get(f"{place.path}/data/{name}/versions/{version}")
        if found is None:
            message = f"Could not find asset with ID: {place.asset_id('data', name, version)}"
            raise AzureError(404, "UserError", message, inner=("NotFoundError",))
        properties = found["properties"]
        answer = {
            "assetId": place.asset_id("data", name, version),
            "dataContainerName": name,
            "versionId": version,
            "dataType": _TYPES.get(properties["dataType"], properties["dataType"]),
            "dataUri": resolve_uri(emulator, properties["dataUri"], place.path),
            "properties": properties.get("properties") or {},
            "mutableProps": {
                "isArchived": properties.get("isArchived", False),
                "description": properties.get("description"),
                "tags": properties.get("tags") or {},
            },
        }
        return JSONResponse({"dataVersion": answer, "isV2": True})


def _storage(request: Request, path: str, properties: dict[str, Any]) -> dict[str, Any]:
    """Where the storage is, and its key or signature."""
    emulator = emulator_of(request)
    kind = properties["credentials"]["credentialsType"]
    secrets = kept_secrets(emulator.store, path) or {}
    key = secrets.get("key") or (emulator.config.account_key if kind == "AccountKey" else None)
    token = secrets.get("sasToken")
    return {
        "accountName": properties["accountName"],
        "containerName": properties.get("containerName") or properties.get("filesystem"),
        "endpoint": properties.get("endpoint") or "core.windows.net",
        "protocol": properties.get("protocol") or "https",
        "credentialType": kind,
        "credential": key or token,
        "accountKey": key,
        "sasToken": token,
        "isSas": kind == "Sas",
        "clientCredentials": None,
        "areWorkspaceManagedIdentitiesAllowed": False,
        "serviceDataAccessAuthIdentity": properties.get("serviceDataAccessAuthIdentity") or "None",
        "subscriptionId": properties.get("subscriptionId"),
        "resourceGroup": properties.get("resourceGroup"),
    }
