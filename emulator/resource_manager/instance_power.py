"""Compute instances start, stop and are resized: by hand, by their schedules, and when idle."""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from emulator.clock import CLOCK
from emulator.compute.durations import seconds
from emulator.http import AzureError, timestamp
from emulator.resource_manager.nodes import changed_at, count_nodes
from emulator.resource_manager.quotas import check_quota
from emulator.resource_manager.resources import found
from emulator.scheduling.triggers import Trigger, read_trigger
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

_log = logging.getLogger(__name__)

_POWER = {
    "Start": ("Starting", "Running", ("Stopped",)),
    "Stop": ("Stopping", "Stopped", ("Running",)),
    "Restart": ("Restarting", "Running", ("Running",)),
    "Resize": ("Resizing", "Stopped", ("Stopped",)),
}
"""By operation: the state meanwhile, the state after it, and those before it."""

_BEFORE = {
    "Starting": "Stopped",
    "Stopping": "Running",
    "Restarting": "Running",
    "Resizing": "Stopped",
}


def last_operation(name: str, status: str, by: str, time: str) -> dict[str, Any]:
    return {
        "operationName": name,
        "operationTime": time,
        "operationStatus": status,
        "operationTrigger": by,
    }


def start_stop_schedules(details: Mapping[str, Any]) -> list[dict[str, Any]]:
    schedules: list[dict[str, Any]] = (details.get("schedules") or {}).get("computeStartStop") or []
    return schedules


def schedule_trigger(schedule: Mapping[str, Any]) -> Trigger:
    kind = str(schedule.get("triggerType") or "")
    body = schedule.get(kind.lower()) or {}
    return read_trigger({"triggerType": kind, **body}, CLOCK.now())


def power(
    emulator: "Emulator", path: str, operation: str, by: str = "User", **changes: str
) -> str | None:
    """Begin to start, stop or restart an instance; gives the operation, None for nothing to do.

    `changes` are properties that it has when it ends well: the size, of one that is resized.
    Raises AzureError 409 while another operation is under way.
    """
    compute = found(emulator.store, path, f"Compute with name {path.rpartition('/')[2]}")
    during, after, before = _POWER[operation]
    state = compute["properties"]["properties"]["state"]
    if state == after and state not in before:
        return None
    if state not in before:
        raise AzureError(
            409,
            "Conflict",
            f"The compute instance {compute['name']} is in state {state}: it cannot "
            f"{operation.lower()} now. Wait until it is {' or '.join(before)}.",
        )

    async def work() -> None:
        _set(emulator, path, during, last_operation(operation, "InProgress", by, timestamp()))
        try:
            await emulator.transitions.enter("computes", during, compute["name"])
            if failure := emulator.transitions.failure("computes", compute["name"]):
                raise AzureError(400, failure.code, failure.message)
            if operation in ("Start", "Resize"):
                compute["properties"]["properties"] |= changes
                check_quota(emulator, compute)
        except AzureError:
            _set(
                emulator,
                path,
                state,
                last_operation(operation, f"{operation}Failed", by, timestamp()),
            )
            raise
        last = last_operation(operation, "Succeeded", by, timestamp())
        _set(emulator, path, after, last, **changes)
        _plan_idle(emulator, path)

    return emulator.operations.begin(work())


def plan(emulator: "Emulator", path: str) -> None:
    """Set the alarms of an instance: its schedules, and the end of its idle time."""
    key = f"{path.lower()}/"
    emulator.alarms.remove_below(key)
    compute = emulator.store.get(path)
    details = compute["properties"]["properties"] if compute else {}
    for number, schedule in enumerate(start_stop_schedules(details)):
        if str(schedule.get("status") or "Enabled").lower() == "enabled":
            ring = partial(_ring, emulator, path, schedule["action"])
            emulator.alarms.set(f"{key}schedules/{number}", schedule_trigger(schedule).after, ring)
    _plan_idle(emulator, path)


def _plan_idle(emulator: "Emulator", path: str) -> None:
    """Set the alarm for the end of an instance's idle time; it has none unless it runs."""
    compute = emulator.store.get(path)
    if compute and compute["properties"]["properties"].get("idleTimeBeforeShutdown"):
        emulator.alarms.set(
            f"{path.lower()}/idle",
            partial(_next_look, emulator, path),
            partial(_shut_down_idle, emulator, path),
        )


def recover(emulator: "Emulator", compute: Resource) -> None:
    """What a restart finds: an operation that was under way has failed."""
    details = compute["properties"]["properties"]
    before = _BEFORE.get(details.get("state", ""))
    if before:
        name = details["lastOperation"]["operationName"]
        _set(
            emulator,
            compute["id"],
            before,
            last_operation(name, f"{name}Failed", "User", timestamp()),
        )
    plan(emulator, compute["id"])


def _set(emulator: "Emulator", path: str, state: str, last: dict[str, Any], **changes: str) -> None:
    compute = emulator.store.get(path)
    if compute is not None:
        compute["properties"]["properties"] |= {
            "state": state,
            "lastOperation": last,
            **changes,
        }
        emulator.store.put(path, compute)


def _ring(emulator: "Emulator", path: str, operation: str, due: datetime) -> None:
    """Start or stop as a schedule says."""
    try:
        power(emulator, path, operation, "Schedule")
    except AzureError as error:
        _log.warning("a schedule that was due at %s did nothing: %s", due, error.message)


def _idle_end(emulator: "Emulator", path: str, now: datetime) -> datetime | None:
    """When an instance that runs has been idle for long enough; None for one that does not run."""
    compute = emulator.store.get(path)
    details = compute["properties"]["properties"] if compute else {}
    longest = seconds(details.get("idleTimeBeforeShutdown"))
    if compute is None or longest is None or details["state"] != "Running":
        return None
    since = datetime.fromisoformat(details["lastOperation"]["operationTime"])
    since = max(since, changed_at(emulator.store, path) or since)
    if count_nodes(emulator.store, compute).running:
        since = now
    return since + timedelta(seconds=longest)


def _next_look(emulator: "Emulator", path: str, moment: datetime) -> datetime | None:
    """When to look next whether an instance is idle: jobs may have come and gone until then."""
    end = _idle_end(emulator, path, moment)
    return max(end, moment + timedelta(minutes=1)) if end else None


def _shut_down_idle(emulator: "Emulator", path: str, due: datetime) -> None:
    end = _idle_end(emulator, path, due)
    if end is not None and end <= due:
        power(emulator, path, "Stop", "IdleShutdown")
