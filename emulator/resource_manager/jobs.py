"""Jobs: submitted, looked at, cancelled, deleted. Running them is the job runner's part."""

import json
import re
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from emulator.compute.children import default_output, services
from emulator.compute.control_flow import CONTROL_TYPES
from emulator.compute.values import read_input
from emulator.http import WORKSPACE, AzureError, Router, emulator_of, json_body
from emulator.resource_manager.answers import answer, stored
from emulator.resource_manager.resources import (
    envelope,
    listing,
    properties_of,
    workspace_path,
)
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}")
_CHANGEABLE = ("displayName", "description", "tags", "properties", "isArchived")
_READ_ONLY = ("status",)
SCHEDULE_PROPERTY = "azureml.scheduleId"
"""The property of a job that names the schedule which started it."""


def register(router: Router) -> None:
    @router.operation("Jobs_List", "GET", WORKSPACE + "/jobs")
    async def list_jobs(request: Request) -> Response:
        jobs = emulator_of(request).store.children(workspace_path(request) + "/jobs")
        return listing(request, [job for job in jobs[::-1] if _is_wanted(request, job)])

    @router.operation("Jobs_Get", "GET", WORKSPACE + "/jobs/{name}")
    async def get_job(request: Request) -> Response:
        name = request.path_params["name"]
        path = f"{workspace_path(request)}/jobs/{name}"
        job = stored(request, path)
        if job is None:
            raise not_found(name)
        emulator_of(request).jobs.unwatched.asked_about(path)
        return job

    @router.operation("Jobs_CreateOrUpdate", "PUT", WORKSPACE + "/jobs/{name}")
    async def put_job(request: Request) -> Response:
        path = f"{workspace_path(request)}/jobs/{request.path_params['name']}"
        emulator = emulator_of(request)
        known = emulator.store.get(path) is not None
        job = put(emulator, path, await json_body(request))
        if not known:
            emulator.jobs.unwatched.submitted(job["id"])
        headers = None if known else {"Location": str(request.url)}
        return answer(request, job, 200 if known else 201, headers)

    @router.operation("Jobs_Update", "PATCH", WORKSPACE + "/jobs/{name}")
    async def patch_job(request: Request) -> Response:
        return answer(request, _notify(request, properties_of(await json_body(request))))

    @router.operation("Jobs_Cancel", "POST", WORKSPACE + "/jobs/{name}/cancel")
    async def cancel_job(request: Request) -> Response:
        emulator = emulator_of(request)
        path = _job(request)["id"]
        emulator.jobs.request_cancel(path)
        return _accepted(
            emulator, emulator.operations.begin(emulator.jobs.wait(path), ends_by_restart=True)
        )

    @router.operation("Jobs_Delete", "DELETE", WORKSPACE + "/jobs/{name}")
    async def delete_job(request: Request) -> Response:
        emulator = emulator_of(request)
        path = f"{workspace_path(request)}/jobs/{request.path_params['name']}"
        job = emulator.store.get(path)
        if job is None:
            return Response(status_code=204)
        emulator.jobs.forget(job["id"])
        return _accepted(emulator, emulator.operations.begin(None))


def put(emulator: "Emulator", path: str, body: Mapping[str, Any]) -> Resource:
    """Create and start a job, or change what can be changed of one; gives its resource.

    The same body twice is one job: clients repeat a PUT when its answer was lost.
    Raises AzureError 400, 404 or 501 for a job that cannot run; then nothing is kept.
    """
    properties: dict[str, Any] = dict(body.get("properties") or {})
    old = emulator.store.get(path)
    if old is not None:
        return _update(emulator, old, properties)
    name = path.rpartition("/")[2]
    if not _NAME.fullmatch(name):
        raise AzureError(
            400,
            "UserError",
            f"The job name '{name}' is invalid: 1 to 255 letters, digits, '-' and '_', "
            "beginning with a letter or a digit.",
        )
    for key in _READ_ONLY:
        properties.pop(key, None)
    resource = envelope(emulator.store, path, "jobs", {"properties": properties})
    plan = emulator.jobs.validate(resource)
    outputs = _outputs(properties, emulator.jobs.outputs(name, plan), plan.pipeline)
    if not plan.pipeline:
        outputs["default"] = default_output(name)
    resource["properties"] = _completed(properties, name) | {
        "outputs": outputs,
        "services": {**(properties.get("services") or {}), **services(emulator, path)},
        "status": "NotStarted",
    }
    emulator.store.put(path, resource)
    emulator.jobs.submit(path)
    return emulator.store.get(path) or resource


def _outputs(
    properties: Mapping[str, Any], places: Mapping[str, Mapping[str, str]], pipeline: bool
) -> dict[str, Any]:
    """A new job's outputs. A pipeline's have an address only where the client gave one."""
    given = properties.get("outputs") or {}
    found = {}
    for name, place in places.items():
        found[name] = {**(given.get(name) or {}), "jobOutputType": place["type"]}
        if not pipeline:
            found[name]["uri"] = place["uri"]
    return _with_mode(found, "ReadWriteMount")


def _completed(properties: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A new job's properties with what the service adds to them."""
    given = {key: value for key, value in properties.items() if value is not None}
    inputs = given.get("inputs") or {}
    common = {
        "displayName": name,
        "experimentName": "Default",
        "isArchived": False,
        "tags": {},
        "properties": {},
    }
    added = _service_properties(given)
    given["properties"] = {**(given.get("properties") or {}), **added}
    if str(given.get("jobType")).lower() == "command":
        resources = {"instanceCount": 1, "shmSize": "2g"} | (given.get("resources") or {})
        return (
            common
            | given
            | {
                "inputs": _with_mode(inputs, "ReadOnlyMount"),
                "parameters": {},
                "resources": resources,
            }
        )
    settings = given.get("settings") or {}
    jobs = {
        key: node if str(node.get("type")) in CONTROL_TYPES else {"name": key, **node}
        for key, node in (given.get("jobs") or {}).items()
    }
    return (
        common
        | given
        | {
            "inputs": _with_mode(inputs, "ReadOnlyMount"),
            "settings": settings,
            "jobs": jobs,
        }
    )


def _service_properties(given: Mapping[str, Any]) -> dict[str, str]:
    """The properties that the service gives a new job, beside the client's own."""
    if str(given.get("jobType")).lower() == "command":
        added = {"_azureml.ComputeTargetType": "amlctrain"} if given.get("computeId") else {}
        if code := given.get("codeId"):
            added["ContentSnapshotId"] = str(uuid.uuid5(uuid.NAMESPACE_URL, str(code).lower()))
        return added
    settings = given.get("settings") or {}
    inputs = (given.get("inputs") or {}).items()
    literals = {
        name: item["value"] for name, item in inputs if isinstance(item, dict) and "value" in item
    }
    compute = str(settings.get("default_compute") or given.get("computeId") or "")
    datastore = str(settings.get("default_datastore") or "workspaceblobstore")
    return {
        "azureml.DevPlatv2": "true",
        "azureml.runsource": "azureml.PipelineRun",
        "azureml.pipelineComponent": "pipelinerun",
        "runSource": "MFE",
        "runType": "HTTP",
        "azureml.parameters": json.dumps(literals),
        "azureml.continue_on_step_failure": str(
            settings.get("continue_on_step_failure", True)
        ).capitalize(),
        "azureml.continue_on_failed_optional_input": "True",
        "azureml.defaultComputeName": re.split("[/:]", compute)[-1],
        "azureml.defaultDataStoreName": re.split("[/:]", datastore)[-1],
    }


def _with_mode(items: Mapping[str, Any], mode: str) -> dict[str, Any]:
    """Inputs or outputs with the mode that the service fills in for data without one."""
    found = {}
    for name, item in items.items():
        if not isinstance(item, dict):
            continue
        kind = item.get("jobInputType") or item.get("jobOutputType")
        found[name] = item if kind == "literal" else {**item, "mode": item.get("mode") or mode}
    return found


def _update(emulator: "Emulator", old: Resource, new: dict[str, Any]) -> Resource:
    properties = old["properties"]
    if _definition(properties) != _definition(new):
        raise AzureError(
            400,
            "UserError",
            f"A job with the name {old['name']} already exists. To submit another job use another "
            f"name. Of an existing job only {', '.join(_CHANGEABLE)} can be changed.",
        )
    for key in _CHANGEABLE:
        if new.get(key) is None:
            continue
        if key == "properties":
            properties[key] = properties[key] | new[key]
        else:
            properties[key] = new[key]
    emulator.jobs.records.rename(old["name"], properties["displayName"])
    resource = envelope(emulator.store, old["id"], "jobs", {"properties": properties})
    emulator.store.put(old["id"], resource)
    return resource


def _notify(request: Request, change: dict[str, Any]) -> Resource:
    """Change whom a job tells of its end: all that a PATCH may."""
    if others := sorted(set(change) - {"notificationSetting"}):
        raise AzureError(
            400,
            "UserError",
            f"A PATCH of a job changes its notificationSetting, not {', '.join(others)}.",
        )
    store, job = emulator_of(request).store, _job(request)
    known = job["properties"].get("notificationSetting") or {}
    given = change.get("notificationSetting") or {}
    if not isinstance(given, dict):
        raise AzureError(400, "UserError", "notificationSetting must be an object.")
    properties = job["properties"] | {"notificationSetting": {**known, **given}}
    changed = envelope(store, job["id"], "jobs", {"properties": properties})
    store.put(job["id"], changed)
    return changed


def _definition(properties: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a job this job: its command or its nodes, and its inputs."""
    nodes = properties.get("jobs") or {}
    inputs = properties.get("inputs") or {}
    return {
        "jobType": str(properties.get("jobType")).lower(),
        "command": properties.get("command"),
        "jobs": {name: (n.get("componentId"), n.get("inputs") or {}) for name, n in nodes.items()},
        "inputs": {name: item.text for name, raw in inputs.items() if (item := read_input(raw))},
    }


def _is_wanted(request: Request, job: Resource) -> bool:
    """Whether a list shows a job: the list view and the filters, no steps of others."""
    query = request.query_params
    properties = job["properties"]
    if "azureml.parentrunid" in properties["properties"]:
        return False
    view = query.get("listViewType") or "ActiveOnly"
    if view != "All" and bool(properties.get("isArchived")) != (view == "ArchivedOnly"):
        return False
    kind = query.get("jobType")
    if kind and kind.lower() != str(properties["jobType"]).lower():
        return False
    by = properties["properties"].get(SCHEDULE_PROPERTY)
    if (schedule := query.get("scheduleId")) and by != schedule.rpartition("/")[2]:
        return False
    scheduled = query.get("scheduled", "").lower()
    if scheduled in ("true", "false") and (by is not None) != (scheduled == "true"):
        return False
    for wanted in filter(None, (query.get("tag") or "").split(",")):
        key, equals, value = wanted.partition("=")
        if key not in properties["tags"] or (equals and properties["tags"][key] != value):
            return False
    return True


def _job(request: Request) -> Resource:
    name = request.path_params["name"]
    job = emulator_of(request).store.get(f"{workspace_path(request)}/jobs/{name}")
    if job is None:
        raise not_found(name)
    return job


def not_found(name: str) -> AzureError:
    return AzureError(
        404,
        "UserError",
        f"Job {name} not found.",
        inner=("NotFound", "JobNotFound"),
        parameters=("Job {jobId} not found.", {"jobId": name}),
    )


def _accepted(emulator: "Emulator", operation: str) -> Response:
    headers = emulator.operations.headers(operation, location=True)
    return Response(status_code=202, headers=headers)
