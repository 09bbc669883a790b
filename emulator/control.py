"""The emulator's own address: its state, its clock, its quotas, and what was asked of it."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator import control_faults, control_transitions
from emulator.clock import CLOCK
from emulator.control_access import CONTROL_HOST, control
from emulator.core import Emulator
from emulator.events import MOST_EVENTS
from emulator.http import AzureError, Router, emulator_of, json_body
from emulator.resource_manager.places import workspace_paths
from emulator.resource_manager.quotas import matching_quotas, quota_rows
from emulator.validation import parse

HOST = CONTROL_HOST

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)
_LONGEST_ADVANCE = 10 * 366 * 86400
"""Seconds; beyond it dates end."""


class _Advance(BaseModel):
    model_config = _STRICT

    advance: Annotated[float, Field(gt=0, le=_LONGEST_ADVANCE)]


class _Quota(BaseModel):
    model_config = _STRICT

    limit: Annotated[int, Field(ge=0)] | None = None
    exhausted: bool = False

    @model_validator(mode="after")
    def _one(self) -> "_Quota":
        if (self.limit is None) == (not self.exhausted):
            raise ValueError('give "limit" in vCPUs, or "exhausted": true')
        return self


class _EventQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    after: Annotated[int, Field(ge=0)] = 0
    operation: str = "*"
    kind: Annotated[str, Field(pattern="^(read|write)$")] | None = None
    limit: Annotated[int, Field(ge=1, le=MOST_EVENTS)] = MOST_EVENTS


def register(router: Router) -> None:
    @control(router, "Control_Status", "GET", "/status")
    async def status(request: Request) -> Response:
        emulator = emulator_of(request)
        counts = {path: _counts(emulator, path) for path in workspace_paths(emulator)}
        return JSONResponse(
            {
                "workspace": emulator.config.workspace,
                "resources": counts[emulator.config.workspace_path],
                "workspaces": counts,
            }
        )

    @control(router, "Control_Reset", "POST", "/reset")
    async def reset(request: Request) -> Response:
        await emulator_of(request).reset()
        return Response(status_code=204)

    @control(router, "Control_Clear", "POST", "/clear")
    async def clear(request: Request) -> Response:
        emulator_of(request).clear_control()
        return Response(status_code=204)

    _register_events(router)
    _register_clock(router)
    _register_quotas(router)
    control_faults.register(router)
    control_transitions.register(router)


def _counts(emulator: Emulator, workspace: str) -> dict[str, int]:
    kinds = ("computes", "jobs", "data", "models", "onlineEndpoints", "batchEndpoints")
    return {kind: len(emulator.store.children(f"{workspace}/{kind}")) for kind in kinds}


def _register_events(router: Router) -> None:
    @control(router, "Control_ListEvents", "GET", "/events")
    async def events(request: Request) -> Response:
        query = parse(_EventQuery, dict(request.query_params))
        log = emulator_of(request).events
        return JSONResponse({"events": log.select(**query.model_dump()), "last": log.last})

    @control(router, "Control_DeleteEvents", "DELETE", "/events")
    async def delete_events(request: Request) -> Response:
        emulator_of(request).events.clear()
        return Response(status_code=204)


def _register_clock(router: Router) -> None:
    @control(router, "Control_GetClock", "GET", "/clock")
    async def get_clock(request: Request) -> Response:
        return JSONResponse(_clock())

    @control(router, "Control_AdvanceClock", "POST", "/clock")
    async def advance_clock(request: Request) -> Response:
        asked = parse(_Advance, await json_body(request)).advance
        if CLOCK.offset + asked > _LONGEST_ADVANCE:
            raise AzureError(
                400,
                "UserError",
                f"advance: the clock can be {_LONGEST_ADVANCE} seconds ahead at most, and it is "
                f"{CLOCK.offset:g} ahead. DELETE /clock sets it back.",
            )
        CLOCK.advance(asked)
        return JSONResponse(_clock())

    @control(router, "Control_ClearClock", "DELETE", "/clock")
    async def clear_clock(request: Request) -> Response:
        CLOCK.clear()
        return Response(status_code=204)


def _clock() -> dict[str, Any]:
    return {"now": CLOCK.now().isoformat(), "offset": CLOCK.offset}


def _register_quotas(router: Router) -> None:
    @control(router, "Control_ListQuotas", "GET", "/quotas")
    async def quotas(request: Request) -> Response:
        return JSONResponse({"quotas": quota_rows(emulator_of(request))})

    @control(router, "Control_SetQuota", "PUT", "/quotas/{family}")
    async def set_quota(request: Request) -> Response:
        asked = parse(_Quota, await json_body(request))
        emulator = emulator_of(request)
        families = matching_quotas(request.path_params["family"])
        if not families:
            raise AzureError(
                400,
                "UserError",
                f"family: there is no VM family {request.path_params['family']!r}; there are "
                f"{', '.join(matching_quotas('*'))}",
            )
        return JSONResponse({"quotas": _set_quotas(emulator, families, asked)})

    @control(router, "Control_DeleteQuotas", "DELETE", "/quotas")
    async def delete_quotas(request: Request) -> Response:
        emulator_of(request).clear_quotas()
        return Response(status_code=204)


def _set_quotas(emulator: Emulator, families: list[str], asked: _Quota) -> list[dict[str, Any]]:
    used = {quota["family"]: quota["used"] for quota in quota_rows(emulator)}
    for family in families:
        limit = used[family] if asked.exhausted else asked.limit
        emulator.store.document("quotas").put(family, limit)
    return [quota for quota in quota_rows(emulator) if quota["family"] in families]
