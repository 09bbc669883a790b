"""The control API's faults."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.control_access import control
from emulator.faults import Fault, FaultRule
from emulator.http import AzureError, Router, emulator_of, json_body
from emulator.validation import parse


def register(router: Router) -> None:
    @control(router, "Control_AddFault", "POST", "/faults")
    async def add(request: Request) -> Response:
        rule = parse(FaultRule, await json_body(request))
        return JSONResponse(emulator_of(request).faults.add(rule).as_json(), 201)

    @control(router, "Control_ListFaults", "GET", "/faults")
    async def list_(request: Request) -> Response:
        faults = emulator_of(request).faults.all()
        return JSONResponse({"faults": [fault.as_json() for fault in faults]})

    @control(router, "Control_ClearFaults", "DELETE", "/faults")
    async def clear(request: Request) -> Response:
        emulator_of(request).faults.clear()
        return Response(status_code=204)

    @control(router, "Control_GetFault", "GET", "/faults/{id}")
    async def get(request: Request) -> Response:
        return JSONResponse(_fault(request).as_json())

    @control(router, "Control_RemoveFault", "DELETE", "/faults/{id}")
    async def remove(request: Request) -> Response:
        fault = _fault(request)
        emulator_of(request).faults.remove(fault.id)
        return JSONResponse(fault.as_json())

    @control(router, "Control_ReleaseFault", "POST", "/faults/{id}/release")
    async def release(request: Request) -> Response:
        fault = _fault(request)
        if fault.rule.action.hold is None:
            raise AzureError(
                400, "UserError", f"The fault {fault.id} holds nothing: it has no action hold."
            )
        return JSONResponse({"released": fault.release()})


def _fault(request: Request) -> Fault:
    identifier = request.path_params["id"]
    fault = emulator_of(request).faults.get(identifier)
    if fault is None:
        raise AzureError(404, "NotFound", f"There is no fault {identifier}. GET /faults lists all.")
    return fault
