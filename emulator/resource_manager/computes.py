"""Computes of all types: created, changed, listed, deleted; VM sizes and usage."""

import re
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.http import WORKSPACE, AzureError, Router, emulator_of, json_body, timestamp
from emulator.operations import Change
from emulator.resource_manager import clusters, compute_instances, instance_power
from emulator.resource_manager.answers import answer, complete
from emulator.resource_manager.changes import settle
from emulator.resource_manager.nodes import forget, node_state, release_all
from emulator.resource_manager.places import workspace_paths
from emulator.resource_manager.quotas import check_quota, usages
from emulator.resource_manager.resources import envelope, found, listing, workspace_path
from emulator.resource_manager.sizes import SIZES, describe, find_size
from emulator.resource_manager.user_identities import with_principals
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

_LOCATION = (
    "/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices/locations/{location}"
)
_NAMES = {
    clusters.KIND: (re.compile(r"[A-Za-z][A-Za-z0-9-]{1,31}"), "2 to 32"),
    compute_instances.KIND: (re.compile(r"[A-Za-z][A-Za-z0-9-]{2,23}"), "3 to 24"),
}
"""By type that is emulated: its names, and how long they are."""


def register(router: Router) -> None:
    _register_computes(router)
    clusters.register(router)
    compute_instances.register(router)

    @router.operation("VirtualMachineSizes_List", "GET", _LOCATION + "/vmSizes")
    async def list_sizes(request: Request) -> Response:
        return JSONResponse({"value": [describe(size) for size in SIZES]})

    @router.operation("Usages_List", "GET", _LOCATION + "/usages")
    async def list_usages(request: Request) -> Response:
        where = request.path_params
        rows = usages(emulator_of(request), where["subscription"], where["location"])
        return JSONResponse({"value": rows})


def _register_computes(router: Router) -> None:
    @router.operation("Compute_List", "GET", WORKSPACE + "/computes")
    async def list_computes(request: Request) -> Response:
        emulator = emulator_of(request)
        computes = emulator.store.children(workspace_path(request) + "/computes")
        return listing(request, [_shown(emulator, compute) for compute in computes])

    @router.operation("Compute_Get", "GET", WORKSPACE + "/computes/{name}")
    async def get_compute(request: Request) -> Response:
        return answer(request, _shown(emulator_of(request), _compute(request)))

    @router.operation("Compute_CreateOrUpdate", "PUT", WORKSPACE + "/computes/{name}")
    async def put_compute(request: Request) -> Response:
        path = f"{workspace_path(request)}/computes/{request.path_params['name']}"
        return _put(emulator_of(request), path, await json_body(request))

    @router.operation("Compute_Update", "PATCH", WORKSPACE + "/computes/{name}")
    async def patch_compute(request: Request) -> Response:
        compute = _compute(request)
        details = (((await json_body(request)).get("properties") or {}).get("properties")) or {}
        scale = details.get("scaleSettings")
        if compute["properties"]["computeType"] != clusters.KIND or not isinstance(scale, dict):
            raise AzureError(
                400,
                "UserError",
                f"Of a {clusters.KIND} scaleSettings can be changed, nothing else.",
            )
        known = compute["properties"]["properties"]
        known["scaleSettings"] = known["scaleSettings"] | scale
        return _put(emulator_of(request), compute["id"], compute)

    @router.operation("Compute_Delete", "DELETE", WORKSPACE + "/computes/{name}")
    async def delete_compute(request: Request) -> Response:
        return _delete(request)


def start(emulator: "Emulator") -> None:
    """What a restart finds: no node works, nothing is in the middle of a change any more, and
    instances wait for their schedules again."""
    release_all(emulator.store)
    for workspace in workspace_paths(emulator):
        for compute in emulator.store.children(f"{workspace}/computes"):
            state = settle(emulator.store, compute)
            if state == "Deleting":
                forget(emulator.store, compute["id"])
            elif compute["properties"]["computeType"] == compute_instances.KIND:
                instance_power.recover(emulator, compute)


def describe_compute(
    emulator: "Emulator", path: str, body: dict[str, Any], old: Resource | None = None
) -> Resource:
    """A compute as its resource is when it is begun or changed. AzureError for one not allowed."""
    properties = _checked(path.rpartition("/")[2], body, old)
    now = timestamp()
    whole = {"location": emulator.config.location, **body}
    resource = envelope(emulator.store, path, "computes", whole)
    resource["tags"] = body.get("tags") or {}
    resource["properties"] = {
        **properties,
        "computeLocation": resource["location"],
        "provisioningState": "Updating" if old else "Creating",
        "provisioningErrors": None,
        "createdOn": old["properties"]["createdOn"] if old else now,
        "modifiedOn": now,
        "isAttachedCompute": False,
        "disableLocalAuth": properties.get("disableLocalAuth", True),
        "properties": _details(path, properties, old),
    }
    if identity := _identity(emulator, path, body.get("identity")):
        resource["identity"] = identity
    return resource


def _put(emulator: "Emulator", path: str, body: dict[str, Any]) -> Response:
    store = emulator.store
    old = store.get(path)
    resource = describe_compute(emulator, path, body, old)
    store.put(path, resource)
    # A compute is made for jobs, and every job is an MLflow run: its server takes seconds to start.
    emulator.tracking.warm()

    async def provision() -> None:
        check_quota(emulator, resource)
        _provisioned(emulator, path)

    change = Change("computes", path, resource["properties"]["provisioningState"])
    operation = emulator.operations.begin(provision(), change)
    headers = emulator.operations.headers(operation)
    return JSONResponse(complete(_shown(emulator, resource)), 200 if old else 201, headers)


def _details(path: str, properties: dict[str, Any], old: Resource | None) -> dict[str, Any]:
    details = {k: v for k, v in (properties.get("properties") or {}).items() if v is not None}
    known = old["properties"]["properties"] if old else None
    if properties["computeType"] == clusters.KIND:
        return clusters.cluster_details(details, known)
    return compute_instances.instance_details(path, details, known)


def _provisioned(emulator: "Emulator", path: str) -> None:
    compute = emulator.store.get(path)
    if compute is None:
        return
    compute["properties"]["provisioningState"] = "Succeeded"
    if compute["properties"]["computeType"] == compute_instances.KIND:
        compute_instances.run_after_creation(compute["properties"]["properties"])
    emulator.store.put(path, compute)
    if compute["properties"]["computeType"] == compute_instances.KIND:
        instance_power.plan(emulator, path)


def _delete(request: Request) -> Response:
    compute = _compute(request)
    path, emulator = compute["id"], emulator_of(request)
    action = request.query_params.get("underlyingResourceAction") or "Delete"
    if action.lower() != "delete":
        raise AzureError(
            400,
            "UserError",
            f"{action} is not supported for {path.rpartition('/')[2]}: it was not attached. "
            "Delete it instead (underlyingResourceAction=Delete).",
        )

    async def delete() -> None:
        emulator.store.delete(path)
        forget(emulator.store, path)
        emulator.alarms.remove_below(f"{path.lower()}/")

    compute["properties"]["provisioningState"] = "Deleting"
    emulator.store.put(path, compute)
    operation = emulator.operations.begin(delete(), Change("computes", path, "Deleting"))
    return Response(status_code=202, headers=emulator.operations.headers(operation, location=True))


def _identity(
    emulator: "Emulator", path: str, asked: dict[str, Any] | None
) -> dict[str, Any] | None:
    """The managed identity of a compute: a system-assigned one gets its principal here."""
    kind = str((asked or {}).get("type") or "None")
    if asked is None or kind.lower() == "none":
        return None
    return with_principals(emulator.config, emulator.store, path, asked)


def _checked(name: str, body: dict[str, Any], old: Resource | None) -> dict[str, Any]:
    """The properties of a compute that can be; AzureError 400, 409 or 501 for another."""
    properties: dict[str, Any] = body.get("properties") or {}
    kind = str(properties.get("computeType"))
    if kind not in _NAMES:
        raise AzureError(
            501,
            "OperationNotSupported",
            f"The local Azure ML does not emulate computes of type '{kind}'; "
            f"it has {' and '.join(_NAMES)}. Nothing was changed.",
        )
    pattern, length = _NAMES[kind]
    if not pattern.fullmatch(name):
        raise AzureError(
            400,
            "InvalidComputeName",
            f"The compute name '{name}' is invalid: {length} letters, digits and '-', "
            "beginning with a letter.",
        )
    details = properties.get("properties") or {}
    size = details.get("vmSize") or ""
    if find_size(size) is None:
        raise AzureError(
            400,
            "InvalidPropertyValue",
            f"The specified VM size '{size}' is not available in this region. Available sizes: "
            f"{', '.join(s.name for s in SIZES)}.",
        )
    if kind == clusters.KIND:
        clusters.check_cluster(details)
    else:
        compute_instances.check_instance(details)
    _check_change(name, kind, size, old)
    return properties


def _check_change(name: str, kind: str, size: str, old: Resource | None) -> None:
    """AzureError for a change of what a compute cannot change."""
    if old is None or old["properties"]["provisioningState"] == "Failed":
        return
    if old["properties"]["computeType"] != kind:
        raise AzureError(
            409,
            "Conflict",
            f"A compute of type {old['properties']['computeType']} with the name {name} exists "
            "already. Use another name.",
        )
    known = old["properties"]["properties"]["vmSize"]
    if known.lower() != size.lower():
        raise AzureError(
            400,
            "InvalidPropertyValue",
            f"The VM size of the compute {name} cannot be changed from {known} to {size}. Delete "
            "the compute and create it again, or use another name.",
        )


def _shown(emulator: "Emulator", compute: Resource) -> Resource:
    """A compute with what follows from the jobs that run on it."""
    if compute["properties"]["computeType"] == clusters.KIND:
        now = node_state(emulator.store, compute)
    else:
        now = compute_instances.shown_state(emulator, compute)
    return {
        **compute,
        "properties": {
            **compute["properties"],
            "properties": {**compute["properties"]["properties"], **now},
        },
    }


def _compute(request: Request) -> Resource:
    name = request.path_params["name"]
    path = f"{workspace_path(request)}/computes/{name}"
    return found(emulator_of(request).store, path, f"Compute with name {name}")
