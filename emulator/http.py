"""Requests to operations: routing by host and path, and errors in Azure's own shape."""

import json
import random
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from emulator.body_check import Shape, wrong_types
from emulator.body_shapes import SHAPES
from emulator.clock import CLOCK

if TYPE_CHECKING:
    from emulator.core import Emulator

WORKSPACE = (
    "/subscriptions/{subscription}/resourceGroups/{resource_group}"
    "/providers/Microsoft.MachineLearningServices/workspaces/{workspace}"
)

DATA_PLANE = "/mferp/managementfrontend"
"""What comes before a resource's path on the region's own host."""

_BODY = "azureml_emulator.body"
_DEEPEST = 100
"""Levels of objects and lists in a body; what handles them goes down by calling itself."""
_MOST_TOLD = 5
"""Fields that one error names."""

Handler = Callable[[Request], Awaitable[Response]]


class AzureError(Exception):
    """An answer other than success, in the shape that Azure's clients expect.

    `code` is the service's error code (ResourceNotFound, UserError, Conflict ...);
    `message` is what a person reads in the client's exception; `inner` are the service's own,
    ever narrower codes; `details` are (code, message) of what lies below; `parameters` are the
    message's format and what stands in it.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        *,
        inner: Sequence[str] = (),
        details: Sequence[tuple[str, str]] = (),
        parameters: tuple[str, Mapping[str, str]] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})
        self.inner = tuple(inner)
        self.details = tuple(details)
        self.parameters = parameters

    def response(self, location: str = "eastus") -> JSONResponse:
        headers = {"x-ms-response-type": "error", **self.headers}
        return JSONResponse({"error": self._body(location)}, self.status, headers)

    def _body(self, location: str) -> dict[str, Any]:
        below = [
            {"code": code, "message": message, "details": [], "additionalInfo": []}
            for code, message in self.details
        ]
        facts: dict[str, Any] = {
            "ComponentName": "managementfrontend",
            "Correlation": {"operation": secrets.token_hex(16), "request": secrets.token_hex(8)},
            "Environment": location,
            "Location": location,
            "Time": timestamp().replace("Z", "+00:00"),
        }
        if self.inner:
            facts["InnerError"] = inner_error(self.inner)
        if self.parameters:
            facts["MessageFormat"], facts["MessageParameters"] = self.parameters
        return {
            "code": self.code,
            "message": self.message,
            "details": below,
            "additionalInfo": [
                {"type": kind, "info": {"value": value}} for kind, value in facts.items()
            ],
        }


class ResourceManagerError(AzureError):
    """An error of the resource manager itself, before any service saw the request."""

    def _body(self, location: str) -> dict[str, Any]:
        self.headers.setdefault("x-ms-failure-cause", "gateway")
        return {"code": self.code, "message": self.message}


def inner_error(codes: Sequence[str]) -> dict[str, Any] | None:
    """Codes from the widest to the narrowest, one inside of the other."""
    return {"code": codes[0], "innerError": inner_error(codes[1:])} if codes else None


@dataclass(frozen=True)
class Operation:
    """One operation of one service: its name, its method and the paths it answers."""

    name: str
    method: str
    template: str
    """The path with `{x}` for one segment and `{x:path}` for all that is left."""
    pattern: re.Pattern[str]
    handler: Handler


class Router:
    """The operations of one service. Paths match without regard to case, as Azure's do."""

    def __init__(self, service: str) -> None:
        self.service = service
        self._operations: list[Operation] = []
        self._by_shape: dict[tuple[str, int | None], list[tuple[str, Operation]]] = {}

    @property
    def operations(self) -> tuple[Operation, ...]:
        return tuple(self._operations)

    def operation(self, name: str, method: str, template: str) -> Callable[[Handler], Handler]:
        """Register a handler. `{x}` in the template is one path segment, `{x:path}` the rest."""

        def register(handler: Handler) -> Handler:
            operation = Operation(name, method, template, _pattern(template), handler)
            self._operations.append(operation)
            segments = None if ":path}" in template else template.count("/")
            of_shape = self._by_shape.setdefault((method, segments), [])
            of_shape.append((_telling(template) if segments else "", operation))
            return handler

        return register

    def find(self, method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
        told = _telling(path)
        for segments in (path.count("/"), None):
            for telling, operation in self._by_shape.get((method, segments), ()):
                if telling and telling != told:
                    continue
                if match := operation.pattern.fullmatch(path):
                    return operation, match.groupdict()
        return None

    def name(self, scope: Scope) -> str | None:
        """The name of the operation that a request asks for; remembered for its answer."""
        found = self.find(scope["method"], scope["path"].rstrip("/") or "/")
        scope["found"] = found
        return found[0].name if found else None

    async def handle(self, request: Request) -> Response:
        """Answer a request; what is not emulated says so by name."""
        path = request.scope["path"]
        found = request.scope.get("found") or self.find(request.method, path.rstrip("/") or "/")
        if found is None:
            raise AzureError(
                501,
                "OperationNotSupported",
                f"The local Azure ML does not emulate {request.method} {path} of its "
                f"{self.service} service. Nothing was changed.",
            )
        operation, parameters = found
        request.scope["path_params"] = parameters
        shape = SHAPES.get(operation.name)
        if shape is not None and await request.body():
            check_types(await json_body(request), shape)
        return await operation.handler(request)


def _telling(path: str) -> str:
    """The last segment but one, which tells most paths of one length apart; "" if it varies."""
    parts = path.rsplit("/", 2)
    segment = parts[-2] if len(parts) == 3 else ""
    return "" if "{" in segment else segment.lower()


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"(\{\w+(?::path)?\})", template)
    regex = ""
    for part in parts:
        if part.startswith("{"):
            name, _, kind = part[1:-1].partition(":")
            regex += f"(?P<{name}>.+)" if kind else f"(?P<{name}>[^/]+)"
        else:
            regex += re.escape(part)
    return re.compile(regex, re.IGNORECASE)


def emulator_of(request: Request) -> "Emulator":
    return cast("Emulator", request.app.state.emulator)


async def json_body(request: Request) -> dict[str, Any]:
    """The request's JSON object; anything else is the client's error."""
    known: dict[str, Any] | None = request.scope.get(_BODY)
    if known is None:
        known = request.scope[_BODY] = json_object(await request.body())
    return known


def json_object(content: bytes) -> dict[str, Any]:
    """A body's JSON object; anything else is the client's error."""
    try:
        body = json.loads(content)
        # Python reads what no answer could repeat: NaN, too large a number, half a character.
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        raise AzureError(
            400, "UserError", f"The request body is not valid JSON: {error}"
        ) from error
    if not isinstance(body, dict):
        raise AzureError(400, "UserError", "The request body must be a JSON object.")
    if _depth(body) > _DEEPEST:
        raise _too_deep()
    return body


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return depth


def _too_deep() -> AzureError:
    return AzureError(
        400,
        "UserError",
        f"The request body is nested more than {_DEEPEST} levels deep, the most that the local "
        "Azure ML reads.",
    )


def check_types(body: Mapping[str, Any], shape: Shape) -> None:
    """Raise AzureError 400 that names the fields of other types than the shape's."""
    wrong = list(wrong_types(body, shape))
    if wrong:
        few = "; ".join(wrong[:_MOST_TOLD])
        raise AzureError(400, "ValidationError", f"One or more validation errors occurred: {few}.")


def is_count(text: str) -> bool:
    """Whether a client's text is a whole number; of more digits than anybody has of anything: no.

    Not all that str.isdigit() takes is a number to int().
    """
    return re.fullmatch("[0-9]{1,19}", text) is not None


def timestamp() -> str:
    """Now, in UTC, as the service writes it."""
    return CLOCK.now().strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


def request_id() -> str:
    # Every answer has two; the system's own randomness takes ten times as long.
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
