"""The control API's transitions."""

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.control_access import control
from emulator.http import AzureError, Router, emulator_of, json_body
from emulator.transitions import Setting, check_kind
from emulator.validation import parse

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Error(BaseModel):
    model_config = _STRICT

    code: str = "InternalServerError"
    message: str = "The resource failed as a transition of the local Azure ML told it to."


class _Advance(BaseModel):
    model_config = _STRICT

    error: _Error | None = None


def register(router: Router) -> None:
    @control(router, "Control_ListTransitions", "GET", "/transitions")
    async def list_(request: Request) -> Response:
        return JSONResponse(emulator_of(request).transitions.as_json())

    @control(router, "Control_SetTransition", "PUT", "/transitions/{kind}")
    async def set_(request: Request) -> Response:
        transitions = emulator_of(request).transitions
        setting = parse(Setting, await json_body(request))
        transitions.set(check_kind(request.path_params["kind"]), setting)
        return JSONResponse(transitions.as_json())

    @control(router, "Control_ClearTransitions", "DELETE", "/transitions")
    async def clear_all(request: Request) -> Response:
        emulator_of(request).transitions.clear()
        return Response(status_code=204)

    @control(router, "Control_ClearTransition", "DELETE", "/transitions/{kind}")
    async def clear(request: Request) -> Response:
        emulator_of(request).transitions.clear(check_kind(request.path_params["kind"]))
        return Response(status_code=204)

    @control(router, "Control_Advance", "POST", "/transitions/{kind}/{name:path}/advance")
    async def advance(request: Request) -> Response:
        kind, name = check_kind(request.path_params["kind"]), request.path_params["name"]
        body = await json_body(request) if await request.body() else {}
        error = parse(_Advance, body).error
        transitions = emulator_of(request).transitions
        failure = AzureError(400, error.code, error.message) if error else None
        advanced = transitions.advance(kind, name, failure)
        if not advanced:
            waiting = [each["name"] for each in transitions.waiting() if each["kind"] == kind]
            raise AzureError(
                404,
                "NotFound",
                f"None of the {kind} waits under the name {name!r}. Waiting: "
                f"{', '.join(waiting) or 'none'}.",
            )
        return JSONResponse({"advanced": advanced})
