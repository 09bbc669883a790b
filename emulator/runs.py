"""One run as run history tells it, from the job's record or, without a job, from MLflow."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from emulator.clock import CLOCK
from emulator.data_plane import output_asset_id, output_type
from emulator.http import AzureError
from emulator.run_artifacts import folder, signed_url
from emulator.run_fields import COMPUTE, DETAILS, ERROR, RUN, SERVICE, USER
from emulator.store import Resource
from emulator.tracking import STATUSES
from emulator.tracking_server import PARENT_TAG, ROOT_TAG

if TYPE_CHECKING:
    from emulator.core import Emulator

_MLFLOW_STATUSES = {word: status for status, word in STATUSES.items()} | {
    "RUNNING": "Running",
    "SCHEDULED": "NotStarted",
}


@dataclass(frozen=True)
class Run:
    """A run: its record (the document `runs`), and its job's resource if it is a job."""

    name: str
    record: dict[str, Any]
    job: Resource | None


async def find_run(emulator: "Emulator", workspace: str, name: str) -> Run:
    """The run of a job, or one that a client created through MLflow; 404 if there is none."""
    record = emulator.store.document("runs").get(name)
    if record is not None:
        return Run(name, record, emulator.store.get(f"{workspace}/jobs/{name}"))
    try:
        answer = await emulator.tracking.request("GET", "/api/2.0/mlflow/runs/get", run_id=name)
    except AzureError as error:
        if error.status not in (400, 404):
            raise
        raise AzureError(404, "UserError", f"Run {name} was not found.") from error
    return Run(name, _record(answer["run"]), None)


def _record(run: dict[str, Any]) -> dict[str, Any]:
    info = run["info"]
    tags = {tag["key"]: tag["value"] for tag in run["data"].get("tags", [])}
    return {
        "status": _MLFLOW_STATUSES[info["status"]],
        "startTimeUtc": _instant(info.get("start_time")),
        "endTimeUtc": _instant(info.get("end_time")),
        "error": None,
        "parent": tags.get(PARENT_TAG),
        "root": tags.get(ROOT_TAG, info["run_id"]),
        "children": [],
        "experiment": info["experiment_id"],
        "displayName": info.get("run_name"),
        "outputs": {},
        "logs": [],
        "tags": tags,
    }


def run_body(emulator: "Emulator", run: Run) -> dict[str, Any]:
    """The service's Run."""
    properties = (run.job or {}).get("properties") or {}
    created = _created(run)
    return {
        **RUN,
        **_common(emulator, run),
        "experimentId": _identity(emulator, f"experiment/{run.record['experiment']}"),
        "createdUtc": created,
        "displayName": run.record["displayName"],
        "description": properties.get("description"),
        "dataContainerId": f"dcid.{run.name}",
        "hidden": bool(properties.get("isArchived")),
        "runType": _run_type(run),
    }


def run_details(emulator: "Emulator", run: Run) -> dict[str, Any]:
    """The service's RunDetails: also the addresses of the logs that exist."""
    container, start = emulator.config.artifact_container, folder(run.name)
    logs = [name for name in run.record["logs"] if emulator.blobs.get(container, name)]
    return {
        **DETAILS,
        **_common(emulator, run),
        "createdTimeUtc": _created(run),
        "logFiles": {name.removeprefix(start): signed_url(emulator, name, "r") for name in logs},
    }


def _common(emulator: "Emulator", run: Run) -> dict[str, Any]:
    record = run.record
    properties = (run.job or {}).get("properties") or {}
    target = (properties.get("computeId") or "").rpartition("/")[2] or None
    services = properties.get("services") or {}
    parent = record["parent"]
    created = _created(run)
    user = USER | {"userTenantId": emulator.config.tenant, "userName": "local"}
    return {
        "runId": run.name,
        "runNumber": int(datetime.fromisoformat(created).timestamp()) if created else None,
        "createdBy": user,
        "userId": emulator.config.client_id,
        "lastModifiedBy": user,
        "lastModifiedUtc": (run.job or {}).get("systemData", {}).get("lastModifiedAt") or created,
        "runUuid": _identity(emulator, f"run/{run.name}"),
        "parentRunId": parent,
        "parentRunUuid": _identity(emulator, f"run/{parent}") if parent else None,
        "rootRunId": record["root"],
        "rootRunUuid": _identity(emulator, f"run/{record['root']}"),
        "status": record["status"],
        "startTimeUtc": record["startTimeUtc"],
        "endTimeUtc": record["endTimeUtc"],
        "duration": _duration(record["startTimeUtc"], record["endTimeUtc"]),
        "error": _error(emulator, record),
        "warnings": [],
        "tags": record.get("tags") or properties.get("tags") or {},
        "properties": properties.get("properties") or {},
        "target": target,
        "compute": COMPUTE | {"target": target} if target else None,
        "services": {
            name: {
                **SERVICE,
                "type": service.get("jobServiceType"),
                "endpoint": service.get("endpoint"),
            }
            for name, service in services.items()
        },
        "inputs": {},
        "inputDatasets": [],
        "outputDatasets": [],
        "outputs": {
            name: {
                "assetId": output_asset_id(emulator, run.name, name),
                "type": output_type(emulator, output),
            }
            for name, output in record["outputs"].items()
        },
    }


def _created(run: Run) -> str | None:
    system = (run.job or {}).get("systemData") or {}
    created: str | None = system.get("createdAt") or run.record["startTimeUtc"]
    return created


def _error(emulator: "Emulator", record: dict[str, Any]) -> dict[str, Any] | None:
    if not record["error"]:
        return None
    return {
        "componentName": None,
        "error": ERROR | record["error"],
        "correlation": None,
        "environment": "local",
        "location": emulator.config.location,
        "time": record["endTimeUtc"],
    }


def _run_type(run: Run) -> str:
    """What kind of run the service calls this: a pipeline, a step of one, a script, or plain."""
    if run.job is None:
        return "azureml.run"
    if run.record["parent"]:
        return "azureml.StepRun"
    pipeline = run.job["properties"]["jobType"].lower() == "pipeline"
    return "azureml.PipelineRun" if pipeline else "azureml.scriptrun"


def _identity(emulator: "Emulator", name: str) -> str:
    """A UUID that stays the same for the same name in this workspace."""
    return str(uuid.uuid5(uuid.UUID(emulator.config.workspace_id), name))


def _instant(milliseconds: int | None) -> str | None:
    if not milliseconds:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()


def _duration(start: str | None, end: str | None) -> str | None:
    """From start to end, or to now, as HH:MM:SS.ffffff with days before a dot."""
    if not start:
        return None
    last = datetime.fromisoformat(end) if end else CLOCK.now()
    length: timedelta = last - datetime.fromisoformat(start)
    hours, rest = divmod(length.seconds, 3600)
    days = f"{length.days}." if length.days else ""
    return f"{days}{hours:02}:{rest // 60:02}:{rest % 60:02}.{length.microseconds:06}"
