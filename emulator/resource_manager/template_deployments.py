"""Deployments of the template with which the SDK makes a workspace.

No other template is deployed here: the resource manager's template language is not emulated.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.http import AzureError, Router, emulator_of, json_body, request_id, timestamp
from emulator.placeholders import is_placeholder
from emulator.resource_manager.dependents import KINDS
from emulator.resource_manager.resources import properties_of
from emulator.resource_manager.workspaces import put_workspace
from emulator.store import Resource

_DEPLOYMENT = (
    "/subscriptions/{subscription}/resourceGroups/{resource_group}"
    "/providers/Microsoft.Resources/deployments/{deployment}"
)
_WORKSPACE = "Microsoft.MachineLearningServices/workspaces"
_PROPERTIES = {
    "friendlyName": "friendlyName",
    "description": "description",
    "publicNetworkAccess": "publicNetworkAccess",
    "imageBuildCompute": "imageBuildCompute",
    "systemDatastoresAuthMode": "systemDatastoresAuthMode",
    "managedNetwork": "managedNetwork",
    "primaryUserAssignedIdentity": "primaryUserAssignedIdentity",
    "serverless_compute_settings": "serverlessComputeSettings",
}
"""The template's parameters that a workspace's properties are."""
_OPTIONS = ("keyVault", "applicationInsights", "containerRegistry")
"""What the template makes beside a workspace, or finds."""
_BOOLEANS = {"confidential_data": "hbiWorkspace", "enable_data_isolation": "enableDataIsolation"}


def register(router: Router) -> None:
    router.operation("Deployments_CreateOrUpdate", "PUT", _DEPLOYMENT)(_deploy)

    @router.operation("Deployments_Get", "GET", _DEPLOYMENT)
    async def get_deployment(request: Request) -> Response:
        return JSONResponse(_deployment(request))

    short = _DEPLOYMENT.replace("/providers/Microsoft.Resources", "")

    @router.operation("DeploymentOperations_List", "GET", short + "/operations")
    async def list_operations(request: Request) -> Response:
        return JSONResponse({"value": [_operation(_deployment(request))]})


async def _deploy(request: Request) -> Response:
    body = properties_of(await json_body(request))
    template, parameters = body.get("template"), body.get("parameters")
    resources = template.get("resources") if isinstance(template, dict) else None
    kinds = [r.get("type") for r in resources or () if isinstance(r, dict)]
    if _WORKSPACE not in kinds:
        raise AzureError(
            501,
            "OperationNotSupported",
            "The local Azure ML deploys the template of a workspace only, not one of "
            f"{', '.join(sorted(set(map(str, kinds)))) or 'nothing'}. Nothing was changed.",
        )
    pairs = parameters.items() if isinstance(parameters, dict) else ()
    given = {name: p.get("value") for name, p in pairs if isinstance(p, dict)}
    path = _workspace_path(request, str(given.get("workspaceName")))
    properties = _properties(request, given)
    put_workspace(request, path, _workspace(given), properties)
    made = [path, *_made(properties, given)]
    resource: Resource = {
        "id": request.url.path,
        "name": request.path_params["deployment"],
        "type": "Microsoft.Resources/deployments",
        "properties": {
            "provisioningState": "Succeeded",
            "correlationId": request_id(),
            "timestamp": timestamp(),
            "duration": "PT0S",
            "mode": "Incremental",
            "outputResources": [{"id": each} for each in made],
        },
    }
    emulator_of(request).store.put(request.url.path, resource)
    return JSONResponse(resource, 201)


def _workspace(given: dict[str, Any]) -> dict[str, Any]:
    return {
        "location": given.get("location"),
        "tags": given.get("tagValues"),
        "kind": given.get("kind"),
        "identity": given.get("identity"),
    }


def _properties(request: Request, given: dict[str, Any]) -> dict[str, Any]:
    properties = {target: given[name] for name, target in _PROPERTIES.items() if given.get(name)}
    for name, target in _BOOLEANS.items():
        properties[target] = str(given.get(name)).lower() == "true"
    for option in _OPTIONS:
        if given.get(f"{option}Option") != "none" and given.get(f"{option}Name"):
            subscription = request.path_params["subscription"]
            group = given.get(f"{option}ResourceGroupName")
            if not group or is_placeholder(group):
                group = request.path_params["resource_group"]
            properties[option] = (
                f"/subscriptions/{subscription}/resourceGroups/{group}"
                f"/providers/{KINDS[option]}/{given[f'{option}Name']}"
            )
    return properties


def _made(properties: dict[str, Any], given: dict[str, Any]) -> list[str]:
    """The ids of what the template makes beside the workspace: all that is not there yet."""
    made = [
        properties[option]
        for option in _OPTIONS
        if properties.get(option) and given.get(f"{option}Option") != "existing"
    ]
    logs = given.get("logAnalyticsArmId")
    return [*made, str(logs)] if logs and properties.get("applicationInsights") in made else made


def _workspace_path(request: Request, name: str) -> str:
    parameters = request.path_params
    return (
        f"/subscriptions/{parameters['subscription']}/resourceGroups/"
        f"{parameters['resource_group']}/providers/{_WORKSPACE}/{name}"
    )


def _deployment(request: Request) -> Resource:
    path = _DEPLOYMENT.format(**request.path_params)
    deployment = emulator_of(request).store.get(path)
    if deployment is None:
        name = request.path_params["deployment"]
        raise AzureError(404, "DeploymentNotFound", f"Deployment '{name}' could not be found.")
    return deployment


def _operation(deployment: Resource) -> Resource:
    target = deployment["properties"]["outputResources"][0]["id"]
    return {
        "id": f"{deployment['id']}/operations/workspace",
        "operationId": "workspace",
        "properties": {
            "provisioningOperation": "Create",
            "provisioningState": "Succeeded",
            "timestamp": deployment["properties"]["timestamp"],
            "duration": deployment["properties"]["duration"],
            "serviceRequestId": deployment["properties"]["correlationId"],
            "statusCode": "OK",
            "targetResource": {
                "id": target,
                "resourceType": _WORKSPACE,
                "resourceName": target.rpartition("/")[2],
            },
        },
    }
