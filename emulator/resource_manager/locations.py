"""What lies above all workspaces: the cloud, the provider, resource groups, operations."""

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.http import DATA_PLANE, AzureError, Router, emulator_of
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

_LOCATIONS = (
    "/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices/locations/{location}"
)


def register(router: Router) -> None:
    register_operations(router, _LOCATIONS)
    router.operation("Metadata_Endpoints", "GET", "/metadata/endpoints")(_metadata)
    router.operation(
        "Providers_Get",
        "GET",
        "/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices",
    )(_provider)
    router.operation(
        "ResourceGroups_Get", "GET", "/subscriptions/{subscription}/resourceGroups/{resource_group}"
    )(_resource_group)


def register_data_plane(router: Router) -> None:
    """The addresses of operations below the registry's host."""
    register_operations(router, DATA_PLANE + _LOCATIONS)


def register_operations(router: Router, base: str) -> None:
    router.operation("Operations_Status", "GET", base + "/mfeOperationsStatus/{operation}")(_status)
    router.operation("Operations_Result", "GET", base + "/mfeOperationResults/{operation}")(_result)


async def _metadata(request: Request) -> Response:
    return JSONResponse([_PUBLIC_CLOUD])


async def _provider(request: Request) -> Response:
    body = {
        "id": request.url.path,
        "namespace": "Microsoft.MachineLearningServices",
        "registrationState": "Registered",
        "registrationPolicy": "RegistrationRequired",
        "resourceTypes": [],
    }
    return JSONResponse(body)


async def _resource_group(request: Request) -> Response:
    """Every name is a resource group here: what lies in one makes it."""
    parameters, config = request.path_params, emulator_of(request).config
    name = parameters["resource_group"]
    return JSONResponse(
        {
            "id": f"/subscriptions/{parameters['subscription']}/resourceGroups/{name}",
            "name": name,
            "type": "Microsoft.Resources/resourceGroups",
            "location": config.location,
            "properties": {"provisioningState": "Succeeded"},
        }
    )


async def _status(request: Request) -> Response:
    emulator, identifier, operation = _operation(request)
    headers = (
        emulator.operations.headers(identifier) if operation["status"] == "InProgress" else None
    )
    body = {"id": request.url.path, "name": identifier, **operation}
    return JSONResponse(body, headers=headers)


async def _result(request: Request) -> Response:
    emulator, identifier, operation = _operation(request)
    if operation["status"] == "InProgress":
        headers = emulator.operations.headers(identifier, location=True)
        return JSONResponse({}, 202, headers)
    if operation["status"] == "Failed":
        error = operation["error"]
        raise AzureError(400, error["code"], error["message"])
    result = emulator.store.document("operationResults").get(identifier)
    return JSONResponse(result) if result is not None else Response(status_code=200)


def keep_result(emulator: "Emulator", operation: str, result: Resource) -> None:
    """Have the result's address of an operation answer with a body."""
    emulator.store.document("operationResults").put(operation, result)


def _operation(request: Request) -> tuple["Emulator", str, Resource]:
    emulator = emulator_of(request)
    identifier = request.path_params["operation"]
    operation = emulator.operations.get(identifier)
    if operation is None:
        raise AzureError(404, "NotFound", f"The operation {identifier} was not found.")
    return emulator, identifier, operation


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
