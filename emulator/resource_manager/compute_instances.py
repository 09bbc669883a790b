"""Compute instances: started, stopped, restarted, by hand, by their schedules and when idle."""

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.compute.durations import seconds
from emulator.http import WORKSPACE, AzureError, Router, emulator_of, json_body, timestamp
from emulator.resource_manager.instance_power import (
    last_operation,
    plan,
    power,
    schedule_trigger,
    start_stop_schedules,
)
from emulator.resource_manager.nodes import count_nodes
from emulator.resource_manager.resources import found, workspace_path
from emulator.resource_manager.sizes import SIZES, describe, find_size
from emulator.scheduling.triggers import spelt
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

KIND = "ComputeInstance"
_IDLE_MINUTES = (15, 3 * 24 * 60)
_IMAGE = "24.01.30"


def register(router: Router) -> None:
    compute = WORKSPACE + "/computes/{name}"

    @router.operation("Compute_Start", "POST", compute + "/start")
    async def start(request: Request) -> Response:
        return _asked(request, "Start")

    @router.operation("Compute_Stop", "POST", compute + "/stop")
    async def stop(request: Request) -> Response:
        return _asked(request, "Stop")

    @router.operation("Compute_Restart", "POST", compute + "/restart")
    async def restart(request: Request) -> Response:
        return _asked(request, "Restart")

    @router.operation("Compute_Resize", "POST", compute + "/resize")
    async def resize(request: Request) -> Response:
        size = find_size(str((await json_body(request)).get("targetVMSize") or ""))
        if size is None:
            raise AzureError(
                400,
                "InvalidPropertyValue",
                "targetVMSize must be one of the sizes of virtual machines of this region.",
            )
        return _asked(request, "Resize", vmSize=size.name)

    @router.operation(
        "Compute_getAllowedResizeSizes", "POST", compute + "/getAllowedVmSizesForResize"
    )
    async def allowed_sizes(request: Request) -> Response:
        size = _change(request, {})["properties"]["properties"]["vmSize"]
        others = [describe(each) for each in SIZES if each.name.lower() != size.lower()]
        return JSONResponse({"value": others})

    @router.operation("Compute_EnableSso", "POST", compute + "/enableSso")
    async def enable_sso(request: Request) -> Response:
        enabled = (await json_body(request)).get("enableSSO")
        if not isinstance(enabled, bool):
            raise AzureError(400, "UserError", "enableSSO must be true or false.")
        _change(request, {"enableSSO": enabled})
        return Response(status_code=200)

    @router.operation(
        "Compute_UpdateIdleShutdownSetting", "POST", compute + "/updateIdleShutdownSetting"
    )
    async def update_idle_shutdown(request: Request) -> Response:
        wanted = {
            "idleTimeBeforeShutdown": (await json_body(request)).get("idleTimeBeforeShutdown")
        }
        check_instance(wanted)
        plan(emulator_of(request), _change(request, wanted)["id"])
        return Response(status_code=200)


def check_instance(details: Mapping[str, Any]) -> None:
    """AzureError 400 for an idle time or a schedule that cannot be."""
    least, most = _IDLE_MINUTES
    if idle := details.get("idleTimeBeforeShutdown"):
        try:
            minutes = (seconds(idle) or 0) / 60
        except ValueError as error:
            raise AzureError(400, "UserError", f"idleTimeBeforeShutdown: {error}") from error
        if not least <= minutes <= most:
            raise AzureError(
                400,
                "UserError",
                f"idleTimeBeforeShutdown: {idle} is not from 15 minutes (PT15M) to 3 days (P3D).",
            )
    for schedule in start_stop_schedules(details):
        if str(schedule.get("action")).lower() not in ("start", "stop"):
            raise AzureError(
                400,
                "UserError",
                f"schedules: the action '{schedule.get('action')}' is neither Start nor Stop.",
            )
        schedule_trigger(schedule)


def instance_details(
    path: str, details: Mapping[str, Any], old: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What a compute instance shows beyond what its client sent."""
    name = path.rpartition("/")[2]
    now = timestamp()
    ssh = details.get("sshSettings") or {}
    return {
        "applicationSharingPolicy": "Shared",
        "computeInstanceAuthorizationType": "personal",
        "enableNodePublicIp": True,
        "enableSSO": True,
        "enableRootAccess": True,
        "enableOSPatching": False,
        "releaseQuotaOnStop": False,
        "customServices": None,
        "setupScripts": None,
        "idleTimeBeforeShutdown": None,
        **details,
        "sshSettings": {
            "sshPublicAccess": "Disabled",
            "adminPublicKey": None,
            "adminUserName": "azureuser",
            "sshPort": 50000,
        }
        | {key: value for key, value in ssh.items() if value is not None},
        "schedules": _shown_schedules(path, details),
        "osImageMetadata": {
            "currentImageVersion": _IMAGE,
            "latestImageVersion": _IMAGE,
            "isLatestOsImageVersion": True,
        },
        "connectivityEndpoints": {"publicIpAddress": None, "privateIpAddress": "10.0.0.4"},
        "applications": [
            {"displayName": shown, "endpointUri": f"https://{name}.instances.azureml.ms/{part}"}
            for shown, part in (("Jupyter", "tree/"), ("Jupyter Lab", "lab"))
        ],
        "createdBy": {"userName": "local", "userOrgId": None, "userId": None},
        "errors": [],
        "state": old["state"] if old else "Creating",
        "lastOperation": old["lastOperation"]
        if old
        else last_operation("Create", "InProgress", "User", now),
    }


def run_after_creation(details: dict[str, Any]) -> None:
    """A new instance runs."""
    if details["state"] == "Creating":
        details["state"] = "Running"
        details["lastOperation"] = last_operation("Create", "Succeeded", "User", timestamp())


def shown_state(emulator: "Emulator", compute: Resource) -> dict[str, Any]:
    """The state that an instance shows: it knows whether a job runs on it."""
    properties = compute["properties"]
    state = properties["properties"]["state"]
    if state == "Creating" and properties["provisioningState"] == "Failed":
        return {"state": "CreateFailed"}
    if state == "Running" and count_nodes(emulator.store, compute).running:
        return {"state": "JobRunning"}
    return {"state": state}


def check_target(compute: Resource) -> None:
    """AzureError 400 when jobs cannot run on a compute: an instance that is not running."""
    properties = compute["properties"]
    if properties["computeType"] != KIND:
        return
    state = properties["properties"].get("state")
    if state != "Running":
        raise AzureError(
            400,
            "UserError",
            f"The compute instance {compute['name']} is in state {state}. Jobs can only be "
            "submitted to a compute instance in state Running: start it and submit the job again.",
        )


def _asked(request: Request, operation: str, **changes: str) -> Response:
    path = f"{workspace_path(request)}/computes/{request.path_params['name']}"
    emulator = emulator_of(request)
    compute = found(emulator.store, path, f"Compute with name {request.path_params['name']}")
    kind = compute["properties"]["computeType"]
    if kind != KIND:
        raise AzureError(
            400,
            "UserError",
            f"Operation {operation} is not supported for compute {compute['name']} of type {kind}; "
            f"it is for computes of type {KIND}.",
        )
    begun = power(emulator, path, operation, **changes) or emulator.operations.begin(None)
    headers = emulator.operations.headers(begun, location=True)
    return Response(status_code=202, headers=headers)


def _change(request: Request, changes: Mapping[str, Any]) -> Resource:
    path = f"{workspace_path(request)}/computes/{request.path_params['name']}"
    store = emulator_of(request).store
    compute = found(store, path, f"Compute with name {request.path_params['name']}")
    if compute["properties"]["computeType"] != KIND:
        raise AzureError(400, "UserError", f"{compute['name']} is not a {KIND}.")
    compute["properties"]["properties"] |= changes
    compute["properties"]["modifiedOn"] = timestamp()
    store.put(path, compute)
    return compute


def _shown_schedules(path: str, details: Mapping[str, Any]) -> dict[str, Any] | None:
    """The start and stop schedules with ids of their own, spelt as the service does."""
    shown = []
    for number, schedule in enumerate(start_stop_schedules(details)):
        triggers = {
            key: spelt(schedule[key]) for key in ("cron", "recurrence") if schedule.get(key)
        }
        shown.append(
            {
                "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{path.lower()}/schedules/{number}")),
                "provisioningStatus": "Completed",
                "status": "Enabled",
                **schedule,
                **triggers,
                "action": str(schedule["action"]).capitalize(),
            }
        )
    return {"computeStartStop": shown} if shown else None
