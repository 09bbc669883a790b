"""The services of a job's nodes: what `jobs.show_services` asks run history for."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.http import WORKSPACE, Router, emulator_of
from emulator.resource_manager.resources import workspace_path
from emulator.runs import find_run

_OURS = frozenset({"Tracking", "Studio"})


def register(router: Router) -> None:
    @router.operation(
        "Runs_GetRunServiceInstances",
        "GET",
        f"/history/v1.0{WORKSPACE}/runs/{{run}}/serviceinstances/{{node}}",
    )
    async def service_instances(request: Request) -> Response:
        run = await find_run(
            emulator_of(request), workspace_path(request), request.path_params["run"]
        )
        declared = ((run.job or {}).get("properties") or {}).get("services") or {}
        instances = {name: _instance(name, service) for name, service in declared.items()}
        return JSONResponse({"instances": instances})


def _instance(name: str, service: dict[str, Any]) -> dict[str, Any]:
    """One service; those that a job asks for beside its command are not started, and say so."""
    instance = {
        "type": service.get("jobServiceType"),
        "port": service.get("port"),
        "status": "Running",
        "error": None,
        "endpoint": service.get("endpoint"),
        "properties": service.get("properties") or {},
    }
    if name in _OURS:
        return instance
    message = f"The local Azure ML does not start the service {name} beside a job's command."
    error = {"error": {"code": "OperationNotSupported", "message": message}}
    return instance | {"status": "Failed", "error": error}
