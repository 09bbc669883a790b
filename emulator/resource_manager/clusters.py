"""Compute clusters: their sizes, their scale settings, their nodes."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.compute.durations import seconds
from emulator.http import WORKSPACE, AzureError, Router, emulator_of, timestamp
from emulator.resource_manager.nodes import list_nodes
from emulator.resource_manager.resources import found, workspace_path

KIND = "AmlCompute"
_USUAL_IDLE_TIME = "PT120S"
_SECRETS = ("adminUserPassword",)


def register(router: Router) -> None:
    @router.operation("Compute_ListNodes", "POST", WORKSPACE + "/computes/{name}/listNodes")
    async def nodes(request: Request) -> Response:
        emulator, name = emulator_of(request), request.path_params["name"]
        path = f"{workspace_path(request)}/computes/{name}"
        compute = found(emulator.store, path, f"Compute with name {name}")
        kind = compute["properties"]["computeType"]
        if kind != KIND:
            raise AzureError(
                400,
                "UserError",
                f"Operation ListNodes is not supported for compute {name} of type {kind}; it is "
                f"for computes of type {KIND}.",
            )
        return JSONResponse({"nodes": list_nodes(emulator, compute), "nextLink": None})


def check_cluster(details: Mapping[str, Any]) -> None:
    """AzureError 400 for scale settings that cannot be."""
    scale = details.get("scaleSettings") or {}
    least, most = scale.get("minNodeCount") or 0, scale.get("maxNodeCount", 1)
    if not isinstance(most, int) or not isinstance(least, int) or not 0 <= least <= most:
        raise AzureError(
            400,
            "InvalidPropertyValue",
            f"scaleSettings: minNodeCount {least} and maxNodeCount {most} must be numbers, and "
            "the first no greater than the second.",
        )
    try:
        seconds(scale.get("nodeIdleTimeBeforeScaleDown"))
    except ValueError as error:
        raise AzureError(
            400, "InvalidPropertyValue", f"scaleSettings: nodeIdleTimeBeforeScaleDown: {error}"
        ) from error


def cluster_details(details: Mapping[str, Any], old: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a cluster shows beyond what its client sent. Passwords are not kept."""
    account = details.get("userAccountCredentials")
    scale = {k: v for k, v in (details.get("scaleSettings") or {}).items() if v is not None}
    return {
        "osType": "Linux",
        "vmPriority": "Dedicated",
        "virtualMachineImage": None,
        "subnet": None,
        "allocationState": "Steady",
        "allocationStateTransitionTime": (old or {}).get("allocationStateTransitionTime")
        or timestamp(),
        "errors": None,
        "isolatedNetwork": False,
        "enableNodePublicIp": True,
        "enableBatchPrivateLink": False,
        "remoteLoginPortPublicAccess": "NotSpecified",
        "propertyBag": {},
        **details,
        "scaleSettings": {
            "minNodeCount": 0,
            "maxNodeCount": 1,
            "nodeIdleTimeBeforeScaleDown": _USUAL_IDLE_TIME,
            **scale,
        },
        "userAccountCredentials": {**account, **dict.fromkeys(_SECRETS)} if account else None,
    }
