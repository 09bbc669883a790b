"""The deployments of batch endpoints: what a job that scores will run, and on which cluster."""

import re
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from emulator.compute.components import find_component
from emulator.compute.durations import seconds
from emulator.compute.targets import NO_CLUSTER, compute_path, nodes
from emulator.deployment_programs import is_custom, model_path
from emulator.http import WORKSPACE, AzureError, Router, emulator_of, json_body
from emulator.resource_manager import endpoint_names
from emulator.resource_manager.answers import answer
from emulator.resource_manager.changes import Changes, set_state
from emulator.resource_manager.resources import (
    envelope,
    found,
    listing,
    properties_of,
    workspace_path,
)
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

_DEPLOYMENTS = WORKSPACE + "/batchEndpoints/{endpoint}/deployments"
_DEPLOYMENT = _DEPLOYMENTS + "/{name}"
_KIND = "batchEndpoints/deployments"
_DEFAULTS: dict[str, Any] = {
    "errorThreshold": -1,
    "loggingLevel": "Info",
    "maxConcurrencyPerInstance": 1,
    "miniBatchSize": 10,
    "outputAction": "AppendRow",
    "outputFileName": "predictions.csv",
}
"""The service's own, by its published specification."""
_FILE = re.compile(r"\w[\w .-]{0,254}")
_RETRIES = {"maxRetries": 3, "timeout": "PT30S"}
_ACTIONS = {"appendrow": "AppendRow", "summaryonly": "SummaryOnly"}
_NUMBERS = {"errorThreshold": -1, "maxConcurrencyPerInstance": 1, "miniBatchSize": 1}
"""Properties that are whole numbers, and the least that each can be."""


def register(router: Router) -> None:
    @router.operation("BatchDeployments_List", "GET", _DEPLOYMENTS)
    async def list_deployments(request: Request) -> Response:
        path = _endpoint(request)["id"]
        return listing(request, emulator_of(request).store.children(path + "/deployments"))

    @router.operation("BatchDeployments_Get", "GET", _DEPLOYMENT)
    async def get_deployment(request: Request) -> Response:
        return answer(request, _deployment(request))

    @router.operation("BatchDeployments_CreateOrUpdate", "PUT", _DEPLOYMENT)
    async def put_deployment(request: Request) -> Response:
        return _put(request, await json_body(request))

    @router.operation("BatchDeployments_Update", "PATCH", _DEPLOYMENT)
    async def patch_deployment(request: Request) -> Response:
        return _patch(request, await json_body(request))

    @router.operation("BatchDeployments_Delete", "DELETE", _DEPLOYMENT)
    async def delete_deployment(request: Request) -> Response:
        return _delete(request)


def component_of(properties: dict[str, Any]) -> str | None:
    """The pipeline component that a deployment runs; None for one that runs a model."""
    configuration = properties.get("deploymentConfiguration") or {}
    found: str | None = (configuration.get("componentId") or {}).get("assetId")
    return found or None


def checked_file_name(name: str) -> str:
    """The name of the file with the scores; AzureError 400 for one that leads elsewhere."""
    if not _FILE.fullmatch(name):
        raise AzureError(
            400,
            "BadRequest",
            f"The outputFileName '{name}' is invalid: letters, digits, '-', '_', '.' and spaces, "
            "beginning with a letter, a digit or '_'.",
        )
    return name


def _endpoint(request: Request) -> Resource:
    name = request.path_params["endpoint"]
    endpoint = emulator_of(request).store.get(f"{workspace_path(request)}/batchEndpoints/{name}")
    if endpoint is None:
        raise endpoint_names.missing(name, request.path_params["workspace"])
    return endpoint


def _path(request: Request) -> str:
    return f"{_endpoint(request)['id']}/deployments/{request.path_params['name']}"


def _deployment(request: Request) -> Resource:
    names = request.path_params
    what = f"Deployment '{names['name']}' of the batch endpoint '{names['endpoint']}'"
    return found(emulator_of(request).store, _path(request), what)


def _put(request: Request, body: dict[str, Any]) -> Response:
    emulator, path = emulator_of(request), _path(request)
    store = emulator.store
    endpoint_names.check_name("deployment", request.path_params["name"])
    changes = Changes(emulator, request)
    if repeated := changes.repeated(path, body):
        return repeated
    old = store.get(path)
    properties = _checked(emulator, properties_of(body, "description"), workspace_path(request))
    properties["provisioningState"] = "Updating" if old else "Creating"
    completed = {
        "location": emulator.config.location,
        **body,
        "tags": body.get("tags") or {},
        "properties": properties,
    }
    resource = envelope(store, old["id"] if old else path, _KIND, completed)
    store.put(path, resource)
    return changes.begin(path, resource, _settled(emulator, path), 200 if old else 201, body)


def _patch(request: Request, body: dict[str, Any]) -> Response:
    """Change tags or description: all else makes another deployment."""
    emulator, old = emulator_of(request), _deployment(request)
    changes, path = Changes(emulator, request), old["id"]
    if repeated := changes.repeated(path, body):
        return repeated
    description = properties_of(body, "description").get("description")
    changed = {**old, "properties": old["properties"] | {"provisioningState": "Updating"}}
    if description is not None:
        changed["properties"]["description"] = description
    if body.get("tags") is not None:
        changed["tags"] = body["tags"]
    resource = envelope(emulator.store, path, _KIND, changed)
    emulator.store.put(path, resource)
    return changes.begin_update(path, resource, lambda: _settled(emulator, path), body)


async def _settled(emulator: "Emulator", path: str) -> None:
    """Nothing runs until somebody invokes the endpoint."""
    set_state(emulator.store, path, "Succeeded")


def _checked(emulator: "Emulator", given: dict[str, Any], workspace: str) -> dict[str, Any]:
    """A deployment's properties with the service's defaults; AzureError for unusable ones."""
    properties = {**_DEFAULTS, **{key: v for key, v in given.items() if v is not None}}
    checked_file_name(properties["outputFileName"])
    for key, least in _NUMBERS.items():
        if properties[key] < least:
            raise AzureError(
                400,
                "BadRequest",
                f"{key} must be a whole number of at least {least}, not {properties[key]}.",
            )
    action = str(properties["outputAction"])
    if action.lower() not in _ACTIONS:
        raise AzureError(
            400,
            "BadRequest",
            f"The outputAction {action} is unknown; it is {' or '.join(_ACTIONS.values())}.",
        )
    properties["outputAction"] = _ACTIONS[action.lower()]
    properties["retrySettings"] = _retries(properties.get("retrySettings"))
    properties["resources"] = {"instanceCount": 1, **(properties.get("resources") or {})}
    properties.setdefault("properties", {})
    properties.setdefault("environmentVariables", {})
    if component := component_of(properties):
        _check_component(emulator, component, workspace)
        return properties
    if model_path(emulator, properties, workspace) is None and not is_custom(properties):
        raise AzureError(400, "BadRequest", "The deployment names no model and no component.")
    compute = str(properties.get("compute") or "").rpartition("/")[2].removeprefix("azureml:")
    path = compute_path(workspace, compute)
    if compute not in NO_CLUSTER and nodes(emulator.store, path) is None:
        raise AzureError(
            400,
            "BadRequest",
            f"The compute target '{compute}' does not exist in the workspace. Create a cluster of "
            "that name, or name another one in the deployment's compute.",
        )
    return properties


def _retries(given: dict[str, Any] | None) -> dict[str, Any]:
    settings = {**_RETRIES, **{key: v for key, v in (given or {}).items() if v is not None}}
    try:
        seconds(settings["timeout"])
    except ValueError as error:
        raise AzureError(400, "BadRequest", f"retrySettings: {error}") from error
    return settings


def _check_component(emulator: "Emulator", reference: str, workspace: str) -> None:
    kind = find_component(emulator, reference, None, workspace).type
    if kind != "pipeline":
        raise AzureError(
            400,
            "BadRequest",
            f"The component {reference} is of type {kind}; a batch deployment runs pipeline "
            "components. Put it into one.",
        )


def _delete(request: Request) -> Response:
    emulator, endpoint, path = emulator_of(request), _endpoint(request), _path(request)
    deployment = emulator.store.get(path)
    if deployment is None:
        return Response(status_code=204)
    set_state(emulator.store, path, "Deleting")

    async def remove() -> None:
        emulator.store.delete(path)
        current = emulator.store.get(endpoint["id"])
        if current and current["properties"]["defaults"]["deploymentName"] == deployment["name"]:
            current["properties"]["defaults"]["deploymentName"] = None
            emulator.store.put(current["id"], current)

    return Changes(emulator, request).begin_delete(path, remove())
