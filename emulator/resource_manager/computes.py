"""Compute clusters and instances, VM sizes and usage."""

import re
import uuid
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.http import WORKSPACE, AzureError, Router, emulator_of, json_body, timestamp
from emulator.operations import Change
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
DEDICATED = "Total Cluster Dedicated Regional vCPUs"
LOW_PRIORITY = "Total Cluster Low Priority Regional vCPUs"
_LIMITS = {DEDICATED: 2000, LOW_PRIORITY: 1000}


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

        _set_state(emulator.store, path, "Deleting")
        operation = emulator.operations.begin(delete(), Change("computes", path, "Deleting"))
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
    if identity := _identity(emulator.config.tenant, path, body.get("identity")):
        resource["identity"] = identity
    store.put(path, resource)
    # A cluster is made for jobs, and every job is an MLflow run: its server takes seconds to start.
    emulator.tracking.warm()

    async def provision() -> None:
        _check_quota(emulator, path, resource)
        _set_state(store, path, "Succeeded")

    change = Change("computes", path, resource["properties"]["provisioningState"])
    operation = emulator.operations.begin(provision(), change)
    return JSONResponse(resource, 200 if old else 201, emulator.operations.headers(operation))


def _identity(tenant: str, path: str, asked: dict[str, Any] | None) -> dict[str, Any] | None:
    """The managed identity of a compute: a system-assigned one gets its principal here."""
    kind = str((asked or {}).get("type") or "None")
    if asked is None or kind.lower() == "none":
        return None
    if "systemassigned" not in kind.lower().replace("_", ""):
        return asked
    principal = str(uuid.uuid5(uuid.NAMESPACE_URL, path.lower()))
    return {**asked, "principalId": principal, "tenantId": tenant}


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
    """Refuse a cluster whose maximal size exceeds what is left of its quotas."""
    details = resource["properties"]["properties"]
    size = find_size(details["vmSize"])
    if size is None:
        return
    wanted = size.vcpus * _max_nodes(details)
    used = quota_use(emulator, without=path)
    for name in (LOW_PRIORITY,) if _is_low_priority(details) else (size.family, DEDICATED):
        limit = quota(emulator, name)
        if used[name] + wanted > limit:
            raise AzureError(
                400,
                "ClusterCoreQuotaReached",
                f"Operation results in exceeding quota limits of {_spelt(name)}. Maximum allowed: "
                f"{limit}, current in use: {used[name]}, additional requested: {wanted}.",
            )


def quota(emulator: "Emulator", name: str) -> int:
    """The vCPUs that a VM family, or all sizes together, may use in the region."""
    limit: int | None = emulator.store.document("quotas").get(name)
    return _LIMITS.get(name, _VCPU_LIMIT) if limit is None else limit


def quota_names() -> list[str]:
    """Everything that has a quota: the families, and all sizes together."""
    return [*dict.fromkeys(size.family for size in SIZES), DEDICATED, LOW_PRIORITY]


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


def _is_low_priority(details: dict[str, Any]) -> bool:
    return str(details.get("vmPriority", "")).lower() == "lowpriority"


def quota_use(emulator: "Emulator", without: str = "") -> dict[str, int]:
    """vCPUs by quota: the nodes that clusters may grow to, and the instances of deployments."""
    used = dict.fromkeys(quota_names(), 0)
    store, workspace = emulator.store, emulator.config.workspace_path
    for compute in store.children(workspace + "/computes"):
        details = compute["properties"]["properties"]
        size = find_size(details["vmSize"])
        failed = compute["properties"]["provisioningState"] == "Failed"
        if size is None or failed or compute["id"].lower() == without.lower():
            continue
        for name in (LOW_PRIORITY,) if _is_low_priority(details) else (size.family, DEDICATED):
            used[name] += size.vcpus * _max_nodes(details)
    for endpoint in store.children(workspace + "/onlineEndpoints"):
        for deployment in store.children(endpoint["id"] + "/deployments"):
            size = find_size(deployment["properties"].get("instanceType") or "")
            instances = (deployment.get("sku") or {}).get("capacity") or 1
            for name in (size.family, DEDICATED) if size else ():
                used[name] += size.vcpus * instances if size else 0
    return used


def _usages(request: Request) -> list[dict[str, Any]]:
    """What is in use of every quota of the region."""
    emulator = emulator_of(request)
    subscription = request.path_params["subscription"]
    base = f"/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices"
    return [
        {
            "id": f"{base}/locations/{emulator.config.location}/usages/{name.replace(' ', '_')}",
            "type": "Microsoft.MachineLearningServices/usages",
            "unit": "Count",
            "currentValue": value,
            "limit": quota(emulator, name),
            "name": {"value": name, "localizedValue": _spelt(name)},
        }
        for name, value in quota_use(emulator).items()
    ]


def _spelt(name: str) -> str:
    return name if " " in name else f"{name} Cluster Dedicated vCPUs"
