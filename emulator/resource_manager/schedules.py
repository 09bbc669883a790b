"""Schedules of jobs: created, enabled, listed, triggered once, deleted."""

import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.clock import CLOCK
from emulator.http import WORKSPACE, AzureError, Router, emulator_of, json_body
from emulator.operations import Change
from emulator.resource_manager.answers import answer
from emulator.resource_manager.changes import set_state
from emulator.resource_manager.resources import envelope, listing, workspace_path
from emulator.scheduling import data_imports
from emulator.scheduling.firing import check, fire
from emulator.scheduling.timezones import find_zone
from emulator.scheduling.triggers import read_trigger, spelt
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}")
_VIEWS = {"enabledonly": (True,), "disabledonly": (False,), "all": (True, False)}
_ACTION = "CreateJob"


def register(router: Router) -> None:
    @router.operation("Schedules_List", "GET", WORKSPACE + "/schedules")
    async def list_schedules(request: Request) -> Response:
        view = request.query_params.get("listViewType") or "EnabledOnly"
        if view.lower() not in _VIEWS:
            raise AzureError(
                400,
                "UserError",
                f"listViewType: '{view}' is none of EnabledOnly, DisabledOnly, All.",
            )
        shown = _VIEWS[view.lower()]
        schedules = emulator_of(request).store.children(workspace_path(request) + "/schedules")
        return listing(request, [s for s in schedules if s["properties"]["isEnabled"] in shown])

    @router.operation("Schedules_Get", "GET", WORKSPACE + "/schedules/{name}")
    async def get_schedule(request: Request) -> Response:
        return answer(request, _schedule(request))

    @router.operation("Schedules_CreateOrUpdate", "PUT", WORKSPACE + "/schedules/{name}")
    async def put_schedule(request: Request) -> Response:
        path = f"{workspace_path(request)}/schedules/{request.path_params['name']}"
        resource, headers = _put(emulator_of(request), path, await json_body(request))
        return answer(request, resource, 201, headers)

    @router.operation("Schedules_Delete", "DELETE", WORKSPACE + "/schedules/{name}")
    async def delete_schedule(request: Request) -> Response:
        path = f"{workspace_path(request)}/schedules/{request.path_params['name']}"
        return _delete(emulator_of(request), path)

    @router.operation("Schedules_Trigger", "POST", WORKSPACE + "/schedules/{name}/trigger")
    async def trigger_schedule(request: Request) -> Response:
        schedule = _schedule(request)
        due = _schedule_time((await json_body(request)).get("scheduleTime"))
        job = fire(emulator_of(request), schedule, due, str(uuid.uuid4()))
        name = job["name"] if job else None
        action = schedule["properties"]["action"]["actionType"]
        return JSONResponse({"scheduleActionType": action, "submissionId": name})


def _put(emulator: "Emulator", path: str, body: dict[str, Any]) -> tuple[Resource, dict[str, str]]:
    store = emulator.store
    name = path.rpartition("/")[2]
    if not _NAME.fullmatch(name):
        raise AzureError(
            400,
            "UserError",
            f"The schedule name '{name}' is invalid: 1 to 255 letters, digits, '-' and '_', "
            "beginning with a letter or a digit.",
        )
    old = store.get(path)
    now = CLOCK.now().replace(microsecond=0)
    properties = _completed(body.get("properties") or {}, old, now)
    properties["provisioningState"] = "Updating" if old else "Creating"
    resource = envelope(store, path, "schedules", {"properties": properties})
    trigger = read_trigger(properties["trigger"], now)
    if properties["isEnabled"]:
        if trigger.end is not None and trigger.end < now:
            raise AzureError(
                400,
                "UserError",
                f"The schedule's trigger is invalid. endTime: {trigger.end} is past.",
            )
        check(emulator, resource, trigger.after(now) or now)
    store.put(path, resource)
    asked = (body.get("properties") or {}).get("trigger") or {}
    first = now if old is None and not asked.get("startTime") else None
    emulator.schedules.plan(path)  # it does not fire while it is changed

    async def provision() -> None:
        set_state(store, path, "Succeeded")
        emulator.schedules.plan(path, first)

    change = Change("schedules", path, properties["provisioningState"])
    operation = emulator.operations.begin(provision(), change)
    return resource, emulator.operations.headers(operation)


def _delete(emulator: "Emulator", path: str) -> Response:
    schedule = emulator.store.get(path)
    if schedule is None:
        return Response(status_code=204)

    async def delete() -> None:
        current = emulator.store.get(path)
        if current is not None and current["properties"]["isEnabled"]:
            raise AzureError(400, "UserError", "Cannot delete an active trigger")
        emulator.store.delete(path)
        emulator.schedules.plan(path)

    change = None if schedule["properties"]["isEnabled"] else Change("schedules", path, "Deleting")
    operation = emulator.operations.begin(delete(), change)
    headers = emulator.operations.headers(operation, location=True)
    return Response(status_code=202, headers=headers)


def _completed(given: Mapping[str, Any], old: Resource | None, now: datetime) -> dict[str, Any]:
    """A schedule's properties with what the service adds to them."""
    action = _completed_action(given.get("action") or {})
    trigger: dict[str, Any] = given.get("trigger") or {}
    known = old["properties"]["trigger"] if old else {}
    zone = find_zone(str(trigger.get("timeZone") or "UTC"))
    enabled = given.get("isEnabled")
    return {
        "description": given.get("description"),
        "tags": given.get("tags") or {},
        "properties": given.get("properties") or {},
        "displayName": given.get("displayName"),
        "isEnabled": True if enabled is None else bool(enabled),
        "trigger": {
            "endTime": None,
            "timeZone": "UTC",
            **spelt(trigger),
            "startTime": trigger.get("startTime")
            or known.get("startTime")
            or now.astimezone(zone).strftime("%Y-%m-%dT%H:%M:%S"),
        },
        "action": action,
    }


def _completed_action(action: Mapping[str, Any]) -> dict[str, Any]:
    """What a schedule does; 501 for what is not emulated."""
    kind = action.get("actionType")
    if kind == data_imports.ACTION:
        definition = data_imports.completed_import(action.get("dataImportDefinition"))
        return {"actionType": kind, "dataImportDefinition": definition}
    if kind != _ACTION:
        raise AzureError(
            501,
            "OperationNotSupported",
            f"The local Azure ML does not emulate schedules with the action '{kind}'; it has "
            f"{_ACTION} and {data_imports.ACTION}. Nothing was changed.",
        )
    job = action.get("jobDefinition")
    if not isinstance(job, dict):
        raise AzureError(400, "UserError", "The schedule's action has no jobDefinition.")
    return {"actionType": kind, "jobDefinition": _completed_job(job)}


def _completed_job(job: dict[str, Any]) -> dict[str, Any]:
    """A job's definition as the service shows it in a schedule: with modes and nulls."""
    parts: dict[str, Any] = {}
    for part, mode in (("inputs", "ReadOnlyMount"), ("outputs", "ReadWriteMount")):
        parts[part] = {
            name: item
            if not isinstance(item, dict) or item.get("jobInputType") == "literal"
            else {**item, "mode": item.get("mode") or mode}
            for name, item in (job.get(part) or {}).items()
        }
    return {
        "description": None,
        "tags": {},
        "properties": {},
        "displayName": None,
        "status": "NotStarted",
        "experimentName": "Default",
        "services": None,
        "computeId": None,
        "isArchived": False,
        "identity": None,
        "componentId": None,
        "notificationSetting": None,
        **job,
        **parts,
    }


def _schedule_time(text: Any) -> datetime:
    if not text:
        return CLOCK.now()
    try:
        moment = datetime.fromisoformat(str(text))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise AzureError(
            400,
            "UserError",
            f"scheduleTime: '{text}' is no date and time such as 2026-06-01T00:00:01.",
        ) from error


def _schedule(request: Request) -> Resource:
    name = request.path_params["name"]
    schedule = emulator_of(request).store.get(f"{workspace_path(request)}/schedules/{name}")
    if schedule is None:
        message = f"Resource Trigger {name} not found"
        raise AzureError(404, "UserError", message, inner=("NotFound",))
    return schedule
