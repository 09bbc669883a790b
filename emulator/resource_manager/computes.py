"""Compute clusters and instances, VM sizes and usage."""

import re
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.http import WORKSPACE, AzureError, Router, emulator_of, json_body, timestamp
from emulator.resource_manager.resources import envelope, found, listing, workspace_path
from emulator.resource_manager.sizes import SIZES, describe, find_size
from emulator.store import Resource, Store

if TYPE_CHECKING:
    from emulator.core import Emulator

_LOCATION = (
    "/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices/locations/{location}"
)
_KINDS = ("AmlCompute", "ComputeInstance")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,31}")
_VCPU_LIMIT = 500


def register(router: Router) -> None:
    @router.operation("Compute_List", "GET", WORKSPACE + "/computes")
    async def list_computes(request: Request) -> Response:
        path = workspace_path(request)
        return listing(request, emulator_of(request).store.children(path + "/computes"))

    @router.operation("Compute_Get", "GET", WORKSPACE + "/computes/{name}")
    async def get_compute(request: Request) -> Response:
        return JSONResponse(_compute(request)[1])

    @router.operation("Compute_CreateOrUpdate", "PUT", WORKSPACE + "/computes/{name}")
    async def put_compute(request: Request) -> Response:
        return _put(request, await json_body(request))

    @router.operation("Compute_Delete", "DELETE", WORKSPACE + "/computes/{name}")
    async def delete_compute(request: Request) -> Response:
        path, _ = _compute(request)
        emulator = emulator_of(request)

        async def delete() -> None:
            emulator.store.delete(path)

        operation = emulator.operations.begin(delete())
        return Response(
            status_code=202, headers=emulator.operations.headers(operation, location=True)
        )

    @router.operation("VirtualMachineSizes_List", "GET", _LOCATION + "/vmSizes")
    async def list_sizes(request: Request) -> Response:
        return JSONResponse({"value": [describe(size) for size in SIZES]})

    @router.operation("Usages_List", "GET", _LOCATION + "/usages")
    async def list_usages(request: Request) -> Response:
        return JSONResponse({"value": _usages(request)})


def _put(request: Request, body: dict[str, Any]) -> Response:
    emulator = emulator_of(request)
    store = emulator.store
    name = request.path_params["name"]
    path = f"{workspace_path(request)}/computes/{name}"
    properties = _checked(name, body)
    old = store.get(path)
    now = timestamp()
    details = {k: v for k, v in (properties.get("properties") or {}).items() if v is not None}
    details.pop("userAccountCredentials", None)
    resource = envelope(store, path, "computes", {"location": emulator.config.location, **body})
    resource["properties"] = {
        **properties,
        "computeLocation": emulator.config.location,
        "provisioningState": "Updating" if old else "Creating",
        "provisioningErrors": None,
        "createdOn": old["properties"]["createdOn"] if old else now,
        "modifiedOn": now,
        "isAttachedCompute": False,
        "disableLocalAuth": properties.get("disableLocalAuth", True),
        "properties": {**_node_state(now), **details},
    }
    store.put(path, resource)
    # A cluster is made for jobs, and every job is an MLflow run: its server takes seconds to start.
    emulator.tracking.warm()

    async def provision() -> None:
        try:
            _check_quota(emulator, path, resource)
        except AzureError:
            _set_state(store, path, "Failed")
            raise
        _set_state(store, path, "Succeeded")

    operation = emulator.operations.begin(provision())
    return JSONResponse(resource, 200 if old else 201, emulator.operations.headers(operation))


def _checked(name: str, body: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = body.get("properties") or {}
    kind = properties.get("computeType")
    if kind not in _KINDS:
        raise AzureError(
            501,
            "OperationNotSupported",
            f"The local Azure ML does not emulate computes of type '{kind}'; "
            f"it has {' and '.join(_KINDS)}.",
        )
    if not _NAME.fullmatch(name):
        raise AzureError(
            400,
            "InvalidComputeName",
            f"The compute name '{name}' is invalid: 2 to 32 letters, digits and '-', "
            "beginning with a letter.",
        )
    size = (properties.get("properties") or {}).get("vmSize", "")
    if find_size(size) is None:
        raise AzureError(
            400,
            "InvalidPropertyValue",
            f"The specified VM size '{size}' is not available in this region. Available sizes: "
            f"{', '.join(s.name for s in SIZES)}.",
        )
    return properties


def _node_state(now: str) -> dict[str, Any]:
    return {
        "osType": "Linux",
        "vmPriority": "Dedicated",
        "allocationState": "Steady",
        "allocationStateTransitionTime": now,
        "currentNodeCount": 0,
        "targetNodeCount": 0,
        "nodeStateCounts": {
            "idleNodeCount": 0,
            "runningNodeCount": 0,
            "preparingNodeCount": 0,
            "unusableNodeCount": 0,
            "leavingNodeCount": 0,
            "preemptedNodeCount": 0,
        },
        "errors": None,
        "isolatedNetwork": False,
        "enableNodePublicIp": True,
        "enableBatchPrivateLink": False,
        "remoteLoginPortPublicAccess": "NotSpecified",
        "propertyBag": {},
    }


def _check_quota(emulator: "Emulator", path: str, resource: Resource) -> None:
    """Refuse a cluster whose maximal size exceeds what is left of its family's quota."""
    details = resource["properties"]["properties"]
    size = find_size(details["vmSize"])
    if size is None or details.get("vmPriority", "").lower() == "lowpriority":
        return
    wanted = size.vcpus * _max_nodes(details)
    used = sum(
        other.vcpus * _max_nodes(c["properties"]["properties"])
        for c in emulator.store.children(path.rpartition("/")[0])
        if c["name"].lower() != resource["name"].lower()
        and c["properties"]["provisioningState"] == "Succeeded"
        and (other := find_size(c["properties"]["properties"]["vmSize"]))
        and other.family == size.family
    )
    limit = quota(emulator, size.family)
    if used + wanted > limit:
        raise AzureError(
            400,
            "ClusterCoreQuotaReached",
            f"Operation results in exceeding quota limits of {size.family} Cluster Dedicated "
            f"vCPUs. Maximum allowed: {limit}, current in use: {used}, additional requested: "
            f"{wanted}.",
        )


def quota(emulator: "Emulator", family: str) -> int:
    """The vCPUs that a VM family may use in the region."""
    limit: int | None = emulator.store.document("quotas").get(family)
    return _VCPU_LIMIT if limit is None else limit


def _max_nodes(details: dict[str, Any]) -> int:
    nodes: int = (details.get("scaleSettings") or {}).get("maxNodeCount", 1)
    return nodes


def _set_state(store: Store, path: str, state: str) -> None:
    resource = store.get(path)
    if resource:
        resource["properties"]["provisioningState"] = state
        store.put(path, resource)


def _compute(request: Request) -> tuple[str, Resource]:
    name = request.path_params["name"]
    path = f"{workspace_path(request)}/computes/{name}"
    return path, found(emulator_of(request).store, path, f"Compute with name {name}")


def _usages(request: Request) -> list[dict[str, Any]]:
    """vCPUs that the clusters' maximal node counts take, by VM family, against the limit."""
    emulator = emulator_of(request)
    used: dict[str, int] = {size.family: 0 for size in SIZES}
    for compute in emulator.store.children(emulator.config.workspace_path + "/computes"):
        details = compute["properties"]["properties"]
        size = find_size(details["vmSize"])
        if size:
            used[size.family] += size.vcpus * _max_nodes(details)
    subscription = request.path_params["subscription"]
    base = f"/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices"
    return [
        {
            "id": f"{base}/locations/{emulator.config.location}/usages/{family}",
            "type": "Microsoft.MachineLearningServices/usages",
            "unit": "Count",
            "currentValue": value,
            "limit": quota(emulator, family),
            "name": {"value": family, "localizedValue": f"{family} Cluster Dedicated vCPUs"},
        }
        for family, value in used.items()
    ]
