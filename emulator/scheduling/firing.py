"""The jobs that a schedule starts: one for each time at which it is due."""

import copy
import logging
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from emulator.compute.children import default_output, services
from emulator.http import AzureError
from emulator.resource_manager import jobs
from emulator.resource_manager.jobs import SCHEDULE_PROPERTY
from emulator.resource_manager.resources import envelope
from emulator.scheduling.data_imports import import_job
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

_log = logging.getLogger(__name__)

_OF_A_RUN = ("status", "services", "sourceJobId")
_MERGED = ("inputs", "outputs", "tags", "properties", "settings")


def fire(emulator: "Emulator", schedule: Resource, due: datetime, name: str) -> Resource | None:
    """Start the job of one due time; None when it was started before.

    Raises AzureError when the job cannot run.
    """
    path = _job_path(schedule, name)
    if emulator.store.get(path) is not None:
        return None
    return jobs.put(emulator, path, {"properties": definition(emulator, schedule, due, name)})


def occurrence_name(schedule: Resource, due: datetime) -> str:
    """The name of a due time's job: the same one after a restart, so that none starts twice."""
    created = schedule["systemData"]["createdAt"]
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{schedule['id']}?{created}&{due.isoformat()}"))


def definition(
    emulator: "Emulator", schedule: Resource, due: datetime, name: str
) -> dict[str, Any]:
    """The properties of the job that a schedule starts at a due time."""
    written = copy.deepcopy(_written(schedule))
    source = written.get("sourceJobId")
    properties = _merged(_source(emulator, schedule, source), written) if source else written
    for key in _OF_A_RUN:
        properties.pop(key, None)
    values = {
        "${{creation_context.trigger_time}}": due.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "${{name}}": name,
    }
    for part in ("inputs", "outputs"):
        properties[part] = _filled(properties.get(part) or {}, values)
    properties["displayName"] = display_name(schedule, due)
    properties["experimentName"] = properties.get("experimentName") or "Default"
    properties["properties"] = {
        **(properties.get("properties") or {}),
        SCHEDULE_PROPERTY: schedule["name"],
        "azureml.scheduleTime": values["${{creation_context.trigger_time}}"],
    }
    return properties


def check(emulator: "Emulator", schedule: Resource, due: datetime) -> None:
    """Raise AzureError 501 when the job of a schedule is of a kind that is not emulated.

    All else that keeps it from running now may be there when it is due: a warning says it.
    """
    name = occurrence_name(schedule, due)
    path = _job_path(schedule, name)
    try:
        properties = definition(emulator, schedule, due, name)
        emulator.jobs.validate({"id": path, "name": name, "properties": properties})
    except AzureError as error:
        if error.status == 501:
            raise
        _log.warning("the job of schedule %s cannot run now: %s", schedule["name"], error.message)


def record_failure(
    emulator: "Emulator", schedule: Resource, due: datetime, name: str, error: AzureError
) -> None:
    """Keep the job of a due time that could not start, as a job that has failed."""
    path = _job_path(schedule, name)
    properties = {
        **_written(schedule),
        "displayName": display_name(schedule, due),
        "properties": {SCHEDULE_PROPERTY: schedule["name"]},
        "outputs": {"default": default_output(name)},
        "services": services(emulator, path),
    }
    resource = envelope(emulator.store, path, "jobs", {"properties": properties})
    records = emulator.jobs.records
    records.begin(path, resource, parent=None, root=name, outputs={}, logs=[])
    records.move(path, "Failed", {"code": error.code, "message": error.message})


def display_name(schedule: Resource, due: datetime) -> str:
    return f"{schedule['name']}-{due:%Y%m%dT%H%M%SZ}"


def _written(schedule: Resource) -> dict[str, Any]:
    """The job of a schedule's action, as the client wrote it or as its import means it."""
    action = schedule["properties"]["action"]
    job: dict[str, Any] = action.get("jobDefinition") or import_job(action["dataImportDefinition"])
    return job


def _job_path(schedule: Resource, name: str) -> str:
    """The path of a job in the schedule's workspace."""
    return f"{schedule['id'].rpartition('/schedules/')[0]}/jobs/{name}"


def _source(emulator: "Emulator", schedule: Resource, reference: str) -> dict[str, Any]:
    """The definition of a job that a schedule repeats, without what belongs to its run."""
    name = reference.removeprefix("azureml:").rpartition("/")[2]
    job = emulator.store.get(_job_path(schedule, name))
    if job is None:
        raise jobs.not_found(name)
    properties: dict[str, Any] = copy.deepcopy(job["properties"])
    outputs = {
        key: {k: v for k, v in output.items() if k != "uri" or f"/{name}/" not in str(v) + "/"}
        for key, output in (properties.get("outputs") or {}).items()
        if key != "default"
    }
    return {**properties, "outputs": outputs, "isArchived": False}


def _merged(source: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A job's definition with what a schedule changes of it: all that is not empty."""
    given = {key: value for key, value in overrides.items() if value not in (None, "", {}, [])}
    parts = {key: (source.get(key) or {}) | given.pop(key, {}) for key in _MERGED}
    return source | given | parts


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    """Inputs or outputs with the expressions of schedules replaced in all their texts."""
    if isinstance(value, dict):
        return {key: _filled(item, values) for key, item in value.items()}
    if isinstance(value, str):
        for expression, text in values.items():
            value = value.replace(expression, text)
    return value
