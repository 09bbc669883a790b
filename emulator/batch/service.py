"""Invocations of batch endpoints: `POST https://{endpoint}.{region}.inference.ml.azure.com/jobs`."""

import uuid
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.batch.definition import (
    DEPLOYMENT_PROPERTY,
    ENDPOINT_PROPERTY,
    definition,
    request_properties,
)
from emulator.http import DATA_PLANE, WORKSPACE, AzureError, Router, emulator_of, json_object
from emulator.identity import MACHINE_LEARNING
from emulator.resource_manager import jobs
from emulator.resource_manager.resources import found, listing, workspace_path
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

INVOKE = "BatchJobEndpoint_Create"
"""What the event log calls an invocation."""
_DEPLOYMENT_HEADER = "azureml-model-deployment"
_ENDPOINT_JOBS = f"{DATA_PLANE}{WORKSPACE}/batchEndpoints/{{endpoint}}/jobs"
_DEPLOYMENT_JOBS = f"{DATA_PLANE}{WORKSPACE}/batchEndpoints/{{endpoint}}/deployments/{{name}}/jobs"


def register(router: Router) -> None:
    @router.operation("BatchJobEndpoint_List", "GET", _ENDPOINT_JOBS)
    async def list_of_endpoint(request: Request) -> Response:
        return _list(request, None)

    @router.operation("BatchJobDeployment_List", "GET", _DEPLOYMENT_JOBS)
    async def list_of_deployment(request: Request) -> Response:
        return _list(request, request.path_params["name"])

    @router.operation("BatchJobEndpoint_Get", "GET", _ENDPOINT_JOBS + "/{job}")
    async def get_job(request: Request) -> Response:
        endpoint = _endpoint(request)
        name = request.path_params["job"]
        job = emulator_of(request).store.get(f"{workspace_path(request)}/jobs/{name}")
        if job is None or not _is_of(job, endpoint, None):
            raise jobs.not_found(name)
        return JSONResponse(_batch_job(job, endpoint))


async def invoke(
    request: Request, emulator: "Emulator", endpoint: Resource, body: bytes
) -> Response:
    """Start the job of an invocation; the same request id twice is one job."""
    emulator.tokens.check(request, *MACHINE_LEARNING)
    asked = request_properties(json_object(body))
    deployment = _deployment(emulator, endpoint, request.headers.get(_DEPLOYMENT_HEADER))
    properties = definition(emulator, endpoint, deployment, asked)
    repeated = request.headers.get("repeatability-request-id")
    unique = uuid.uuid5(uuid.NAMESPACE_URL, f"{endpoint['id']}?{repeated}") if repeated else None
    name = str(asked.get("name") or f"batchjob-{unique or uuid.uuid4()}")
    workspace = endpoint["id"].partition("/batchEndpoints/")[0]
    path = f"{workspace}/jobs/{name}"
    job = emulator.store.get(path) if unique else None
    if job is None:
        job = jobs.put(emulator, path, {"properties": properties})
    return JSONResponse(_batch_job(job, endpoint), 201)


def _deployment(emulator: "Emulator", endpoint: Resource, asked: str | None) -> Resource:
    name = asked or (endpoint["properties"].get("defaults") or {}).get("deploymentName")
    if not name:
        raise AzureError(
            400,
            "BadRequest",
            f"The batch endpoint {endpoint['name']} has no default deployment. Set its "
            f"defaults.deploymentName, or name one in the header {_DEPLOYMENT_HEADER}.",
        )
    deployment = emulator.store.get(f"{endpoint['id']}/deployments/{name}")
    if deployment is None:
        raise AzureError(
            404,
            "DeploymentNotFound",
            f"The batch endpoint {endpoint['name']} has no deployment named {name}.",
        )
    state = deployment["properties"]["provisioningState"]
    if state != "Succeeded":
        raise AzureError(
            409, "Conflict", f"The deployment {name} cannot be invoked: its state is {state}."
        )
    return deployment


def _endpoint(request: Request) -> Resource:
    name = request.path_params["endpoint"]
    path = f"{workspace_path(request)}/batchEndpoints/{name}"
    return found(emulator_of(request).store, path, f"Batch endpoint '{name}'")


def _list(request: Request, deployment: str | None) -> Response:
    endpoint = _endpoint(request)
    every = emulator_of(request).store.children(workspace_path(request) + "/jobs")
    own = [job for job in every[::-1] if _is_of(job, endpoint, deployment)]
    return listing(request, [_batch_job(job, endpoint) for job in own])


def _is_of(job: Resource, endpoint: Resource, deployment: str | None) -> bool:
    """Whether a job was started through an endpoint, and through a deployment if one is named."""
    own = job["properties"].get("properties") or {}
    if str(own.get(ENDPOINT_PROPERTY)).lower() != endpoint["name"].lower():
        return False
    return deployment is None or own.get(DEPLOYMENT_PROPERTY, "").lower() == deployment.lower()


def _batch_job(job: Resource, endpoint: Resource) -> dict[str, Any]:
    """A job as the endpoint's own resource."""
    properties = job["properties"]
    deployment = properties["properties"][DEPLOYMENT_PROPERTY]
    return {
        "id": f"{endpoint['id']}/deployments/{deployment}/jobs/{job['name']}",
        "name": job["name"],
        "type": "Microsoft.MachineLearningServices/workspaces/batchEndpoints/deployments/jobs",
        "properties": {
            "status": properties["status"],
            "displayName": properties["displayName"],
            "experimentName": properties["experimentName"],
            "inputData": properties.get("inputs") or {},
            "outputData": {
                name: place
                for name, place in (properties.get("outputs") or {}).items()
                if name != "default"
            },
            "services": properties.get("services") or {},
            "tags": properties.get("tags") or {},
            "properties": properties["properties"],
        },
        "systemData": job["systemData"],
    }
