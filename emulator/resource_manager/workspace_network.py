"""How a workspace is reached, and what it reaches. It has no private endpoint here."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.http import WORKSPACE, AzureError, Router, emulator_of
from emulator.resource_manager.resources import found, workspace_path

_CONNECTIONS = WORKSPACE + "/privateEndpointConnections"
_GROUP = "amlworkspace"
_ZONES = ["privatelink.api.azureml.ms", "privatelink.notebooks.azure.net"]


def register(router: Router) -> None:
    @router.operation("PrivateEndpointConnections_List", "GET", _CONNECTIONS)
    async def list_connections(request: Request) -> Response:
        workspace_path(request)
        return JSONResponse({"value": []})

    @router.operation("PrivateEndpointConnections_Get", "GET", _CONNECTIONS + "/{name}")
    async def get_connection(request: Request) -> Response:
        workspace_path(request)
        name = request.path_params["name"]
        raise AzureError(
            404, "ResourceNotFound", f"The private endpoint connection {name} was not found."
        )

    @router.operation("PrivateEndpointConnections_Delete", "DELETE", _CONNECTIONS + "/{name}")
    async def delete_connection(request: Request) -> Response:
        workspace_path(request)
        return Response(status_code=204)

    router.operation("PrivateLinkResources_List", "GET", WORKSPACE + "/privateLinkResources")(
        _private_links
    )
    router.operation(
        "Workspaces_ListOutboundNetworkDependenciesEndpoints",
        "GET",
        WORKSPACE + "/outboundNetworkDependenciesEndpoints",
    )(_outbound)


async def _private_links(request: Request) -> Response:
    """What a private endpoint could be made for."""
    path = workspace_path(request)
    workspace = found(emulator_of(request).store, path, path)
    resource = {
        "id": f"{path}/privateLinkResources/{_GROUP}",
        "name": _GROUP,
        "type": "Microsoft.MachineLearningServices/workspaces/privateLinkResources",
        "location": workspace["location"],
        "sku": workspace["sku"],
        "properties": {
            "groupId": _GROUP,
            "requiredMembers": ["default"],
            "requiredZoneNames": _ZONES,
        },
    }
    return JSONResponse({"value": [resource]})


async def _outbound(request: Request) -> Response:
    """The hosts that a client and the jobs of this workspace talk to."""
    workspace_path(request)
    config = emulator_of(request).config
    hosts = {
        "Azure Active Directory": ["login.microsoftonline.com"],
        "Azure Resource Manager": [config.arm_host],
        "Azure Machine Learning": [config.api_host, f"*.{config.location}.inference.ml.azure.com"],
        "Azure Storage": [config.blob_host],
    }
    return JSONResponse({"value": [_category(name, each) for name, each in hosts.items()]})


def _category(name: str, hosts: list[str]) -> dict[str, Any]:
    endpoints = [{"domainName": host, "endpointDetails": [{"port": 443}]} for host in hosts]
    return {"properties": {"category": name, "endpoints": endpoints}}
