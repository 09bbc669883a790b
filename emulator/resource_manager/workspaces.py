"""The workspace, its datastores, and the addresses of long-running operations."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.config import Config
from emulator.http import WORKSPACE, AzureError, Router, emulator_of, json_body
from emulator.resource_manager.resources import envelope, found, listing, workspace_path
from emulator.store import Store

_LOCATIONS = (
    "/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices/locations/{location}"
)


def create_workspace(config: Config, store: Store) -> None:
    """Make sure that the configured workspace exists, with its two datastores."""
    path = config.workspace_path
    if store.get(path) is None:
        resource = envelope(store, path, "", {"location": config.location, "tags": {}})
        resource["type"] = "Microsoft.MachineLearningServices/workspaces"
        resource |= {
            "kind": "Default",
            "sku": {"name": "Basic", "tier": "Basic"},
            "identity": {
                "type": "SystemAssigned",
                "principalId": config.client_id,
                "tenantId": config.tenant,
            },
            "properties": _workspace_properties(config),
        }
        store.put(path, resource)
    for name, container, default in (
        ("workspaceblobstore", config.blob_container, True),
        ("workspaceartifactstore", config.artifact_container, False),
    ):
        datastore = f"{path}/datastores/{name}"
        if store.get(datastore) is None:
            properties = _datastore_properties(config, container, default)
            body = {"properties": properties}
            store.put(datastore, envelope(store, datastore, "datastores", body))


def _workspace_properties(config: Config) -> dict[str, Any]:
    group = f"/subscriptions/{config.subscription}/resourceGroups/{config.resource_group}"
    return {
        "friendlyName": config.workspace,
        "description": "The local Azure ML's workspace",
        "workspaceId": config.workspace_id,
        "provisioningState": "Succeeded",
        "tenantId": config.tenant,
        "discoveryUrl": f"https://{config.api_host}/discovery",
        "mlFlowTrackingUri": f"azureml://{config.api_host}/mlflow/v1.0{config.workspace_path}",
        "storageAccount": f"{group}/providers/Microsoft.Storage/storageAccounts/{config.account}",
        "keyVault": f"{group}/providers/Microsoft.KeyVault/vaults/local",
        "applicationInsights": f"{group}/providers/Microsoft.Insights/components/local",
        "hbiWorkspace": False,
        "publicNetworkAccess": "Enabled",
        "v1LegacyMode": False,
        "systemDatastoresAuthMode": "accessKey",
        "enableDataIsolation": False,
    }


def _datastore_properties(config: Config, container: str, default: bool) -> dict[str, Any]:
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
    @router.operation("Metadata_Endpoints", "GET", "/metadata/endpoints")
    async def metadata(request: Request) -> Response:
        return JSONResponse([_PUBLIC_CLOUD])

    @router.operation(
        "Providers_Get",
        "GET",
        "/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices",
    )
    async def get_provider(request: Request) -> Response:
        body = {
            "id": request.url.path,
            "namespace": "Microsoft.MachineLearningServices",
            "registrationState": "Registered",
            "registrationPolicy": "RegistrationRequired",
            "resourceTypes": [],
        }
        return JSONResponse(body)

    @router.operation("Workspaces_Get", "GET", WORKSPACE)
    async def get_workspace(request: Request) -> Response:
        return JSONResponse(emulator_of(request).store.get(workspace_path(request)))

    @router.operation(
        "Workspaces_ListByResourceGroup",
        "GET",
        "/subscriptions/{subscription}/resourceGroups/{resource_group}"
        "/providers/Microsoft.MachineLearningServices/workspaces",
    )
    async def list_workspaces(request: Request) -> Response:
        return listing(request, emulator_of(request).store.children(request.url.path))

    @router.operation("Datastores_List", "GET", WORKSPACE + "/datastores")
    async def list_datastores(request: Request) -> Response:
        stores = emulator_of(request).store.children(workspace_path(request) + "/datastores")
        if request.query_params.get("isDefault", "").lower() == "true":
            stores = [store for store in stores if store["properties"]["isDefault"]]
        return listing(request, stores)

    @router.operation("Datastores_Get", "GET", WORKSPACE + "/datastores/{name}")
    async def get_datastore(request: Request) -> Response:
        return JSONResponse(_datastore(request))

    @router.operation(
        "Datastores_ListSecrets", "POST", WORKSPACE + "/datastores/{name}/listSecrets"
    )
    async def list_secrets(request: Request) -> Response:
        properties = _datastore(request)["properties"]
        emulator = emulator_of(request)
        # A client that streams logs signs with the artifact store's key: it must be one.
        wants_sas = await request.body() and (await json_body(request)).get("expirableSecret")
        if wants_sas and properties["containerName"] != emulator.config.artifact_container:
            token = emulator.blobs.sas(properties["containerName"])
            return JSONResponse({"secretsType": "Sas", "sasToken": token})
        return JSONResponse({"secretsType": "AccountKey", "key": emulator.config.account_key})

    @router.operation("Operations_Status", "GET", _LOCATIONS + "/mfeOperationsStatus/{operation}")
    async def operation_status(request: Request) -> Response:
        emulator, identifier, operation = _operation(request)
        headers = (
            emulator.operations.headers(identifier) if operation["status"] == "InProgress" else None
        )
        body = {"id": request.url.path, "name": identifier, **operation}
        return JSONResponse(body, headers=headers)

    @router.operation("Operations_Result", "GET", _LOCATIONS + "/mfeOperationResults/{operation}")
    async def operation_result(request: Request) -> Response:
        emulator, identifier, operation = _operation(request)
        if operation["status"] == "InProgress":
            headers = emulator.operations.headers(identifier, location=True)
            return JSONResponse({}, 202, headers)
        if operation["status"] == "Failed":
            error = operation["error"]
            raise AzureError(400, error["code"], error["message"])
        return Response(status_code=200)


def _operation(request: Request) -> tuple[Any, str, dict[str, Any]]:
    emulator = emulator_of(request)
    identifier = request.path_params["operation"]
    operation = emulator.operations.get(identifier)
    if operation is None:
        raise AzureError(404, "NotFound", f"The operation {identifier} was not found.")
    return emulator, identifier, operation


def _datastore(request: Request) -> dict[str, Any]:
    name = request.path_params["name"]
    store = emulator_of(request).store
    path = f"{workspace_path(request)}/datastores/{name}"
    if store.get(path) is None:
        raise AzureError(404, "UserError", f"Could not find datastore: {name}.")
    return found(store, path, name)


_PUBLIC_CLOUD = {
    "name": "AzureCloud",
    "portal": "https://portal.azure.com",
    "resourceManager": "https://management.azure.com/",
    "authentication": {
        "loginEndpoint": "https://login.microsoftonline.com",
        "audiences": ["https://management.core.windows.net/", "https://management.azure.com/"],
        "tenant": "common",
        "identityProvider": "AAD",
    },
    "suffixes": {
        "storage": "core.windows.net",
        "acrLoginServer": "azurecr.io",
        "keyVaultDns": "vault.azure.net",
    },
}
