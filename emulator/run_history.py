"""Run history: what happened in a job, and the few things of it that can still be changed."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator import data_plane, run_artifacts
from emulator.http import WORKSPACE, AzureError, Router, emulator_of, is_count, json_body
from emulator.resource_manager.resources import workspace_path
from emulator.runs import Run, find_run, run_body, run_details

_BASE = f"/history/v1.0{WORKSPACE}"
_CHANGEABLE = ("displayName", "description", "tags", "properties", "hidden")


def register(router: Router) -> None:
    data_plane.register(router)
    run_artifacts.register(router)
    for runs in ("/runs", "/experiments/{experiment}/runs", "/experimentids/{experiment}/runs"):
        _register_run(router, f"{_BASE}{runs}/{{run}}")

    @router.operation("Runs_GetRunData", "POST", f"{_BASE}/rundata")
    async def run_data(request: Request) -> Response:
        body = await json_body(request)
        run = await _run(request, str(body.get("runId")))
        # The definition and the specification are what the cloud's own scheduler reads.
        answer: dict[str, Any] = {"runDefinition": None, "jobSpecification": None}
        if body.get("selectRunMetadata"):
            answer["runMetadata"] = run_body(emulator_of(request), run)
        return JSONResponse(answer)


def _register_run(router: Router, base: str) -> None:
    @router.operation("Runs_Get", "GET", base)
    async def get(request: Request) -> Response:
        return JSONResponse(run_body(emulator_of(request), await _run(request)))

    @router.operation("Runs_GetDetails", "GET", f"{base}/details")
    async def details(request: Request) -> Response:
        return JSONResponse(run_details(emulator_of(request), await _run(request)))

    @router.operation("Runs_GetChild", "GET", f"{base}/children")
    async def children(request: Request) -> Response:
        run = await _run(request)
        top = request.query_params.get("$top") or request.query_params.get("top") or ""
        if top and not is_count(top):
            raise AzureError(400, "UserError", f"$top must be a number, not '{top}'.")
        names = run.record["children"][: int(top) if top else None]
        found = [await _run(request, name) for name in names]
        return JSONResponse({"value": [run_body(emulator_of(request), run) for run in found]})

    @router.operation("Runs_Patch", "PATCH", base)
    async def patch(request: Request) -> Response:
        changes = {k: v for k, v in (await json_body(request)).items() if v is not None}
        run = await _run(request)
        _refuse_others(run, changes)
        await _change(request, run, changes)
        return JSONResponse(run_body(emulator_of(request), await _run(request)))


async def _run(request: Request, name: str | None = None) -> Run:
    return await find_run(
        emulator_of(request), workspace_path(request), name or request.path_params["run"]
    )


def _refuse_others(run: Run, changes: dict[str, Any]) -> None:
    if changes.get("runId", run.name) != run.name:
        raise AzureError(400, "UserError", "The run id in the body is not the run id in the path.")
    others = [key for key in changes if key not in (*_CHANGEABLE, "runId")]
    if others:
        raise AzureError(
            400,
            "UserError",
            f"The local Azure ML cannot change {', '.join(others)} of the run {run.name}; it can "
            f"change {', '.join(_CHANGEABLE)}.",
        )


async def _change(request: Request, run: Run, changes: dict[str, Any]) -> None:
    """Tags and properties are merged, as the service does; the MLflow run follows."""
    emulator = emulator_of(request)
    name, tags = changes.get("displayName"), changes.get("tags") or {}
    if run.job is not None:
        properties = run.job["properties"]
        for key in ("displayName", "description"):
            if key in changes:
                properties[key] = changes[key]
        for key in ("tags", "properties"):
            properties[key] = (properties.get(key) or {}) | changes.get(key, {})
        if "hidden" in changes:
            properties["isArchived"] = changes["hidden"]
        emulator.store.put(run.job["id"], run.job)
        if name:
            runs = emulator.store.document("runs")
            runs.put(run.name, run.record | {"displayName": name})
    try:
        await emulator.tracking.update_run(run.name, name, tags)
    except AzureError as error:
        # A job that was refused or is still waiting has no MLflow run yet.
        if error.status != 404 or run.job is None:
            raise
