"""The share of a region's vCPUs that each workspace may use: without one, all that is left."""

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.http import AzureError, Router, emulator_of, json_body
from emulator.resource_manager.places import workspace_paths
from emulator.resource_manager.quotas import SHARES, quota, quota_names, quota_use, spelt
from emulator.resource_manager.sizes import SIZES

if TYPE_CHECKING:
    from emulator.core import Emulator

_LOCATION = (
    "/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices/locations/{location}"
)
_TYPE = "Microsoft.MachineLearningServices/workspaces/quotas"
_FAMILIES = {size.family.lower(): size.family for size in SIZES}


def register(router: Router) -> None:
    @router.operation("Quotas_List", "GET", _LOCATION + "/quotas")
    async def list_quotas(request: Request) -> Response:
        emulator = emulator_of(request)
        here = request.path_params["location"].lower() == emulator.config.location.lower()
        prefix = f"/subscriptions/{request.path_params['subscription']}/".lower()
        paths = [path for path in workspace_paths(emulator) if path.lower().startswith(prefix)]
        rows = [_row(emulator, path, name) for path in paths for name in _FAMILIES.values()]
        return JSONResponse({"value": rows if here else []})

    @router.operation("Quotas_Update", "POST", _LOCATION + "/updateQuotas")
    async def update_quotas(request: Request) -> Response:
        asked = (await json_body(request)).get("value")
        if not isinstance(asked, list) or not all(isinstance(each, dict) for each in asked):
            raise AzureError(400, "UserError", 'The body needs "value", a list of quotas.')
        return JSONResponse({"value": [_update(emulator_of(request), each) for each in asked]})


def _row(emulator: "Emulator", workspace: str, family: str) -> dict[str, Any]:
    share = _share(emulator, workspace, family)
    return {
        "id": f"{workspace}/quotas/{family}",
        "amlWorkspaceLocation": emulator.config.location,
        "type": _TYPE,
        "name": {"value": family, "localizedValue": spelt(family)},
        "limit": quota(emulator, family) if share is None else share,
        "unit": "Count",
    }


def _share(emulator: "Emulator", workspace: str, family: str) -> int | None:
    shares = emulator.store.document(SHARES)
    share: int | None = shares.get(f"{workspace.lower()}/{family}")
    return share


def _update(emulator: "Emulator", asked: dict[str, Any]) -> dict[str, Any]:
    """Give a workspace another share; -1 takes it away. The answer says why not, if not."""
    path, _, name = str(asked.get("id")).partition("/quotas/")
    limit = asked.get("limit")
    if type(limit) is not int or limit < -1:
        raise AzureError(
            400, "UserError", f"A quota's limit is a number of vCPUs or -1, not {limit}."
        )
    workspace = next((p for p in workspace_paths(emulator) if p.lower() == path.lower()), None)
    family = _FAMILIES.get(name.lower())
    if workspace is None:
        status = "Failure"
    elif family is None:
        status = "InvalidVMFamilyName"
    elif limit > quota(emulator, family):
        status = "InvalidQuotaExceedsSubscriptionLimit"
    elif 0 <= limit < quota_use(emulator, only=workspace)[family]:
        status = "InvalidQuotaBelowClusterMinimum"
    else:
        status = "Success"
        shares = emulator.store.document(SHARES)
        key = f"{workspace.lower()}/{family}"
        if limit < 0:
            shares.delete(key)
        else:
            shares.put(key, limit)
    return {
        "id": asked.get("id"),
        "type": asked.get("type") or _TYPE,
        "limit": limit,
        "unit": "Count",
        "status": status,
    }


def forget_shares(emulator: "Emulator", workspace: str) -> None:
    """Of a workspace that is deleted."""
    shares = emulator.store.document(SHARES)
    for family in quota_names():
        shares.delete(f"{workspace.lower()}/{family}")
