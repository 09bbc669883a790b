"""What a role of the provider can allow: an operation for each that is emulated."""

import re

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.http import Operation, Router
from emulator.resource_manager import not_emulated

_PROVIDER = "Microsoft.MachineLearningServices"
_VERBS = {"GET": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}


def register(router: Router) -> None:
    path = f"/providers/{_PROVIDER}/operations"

    @router.operation("Operations_List", "GET", path)
    async def list_operations(request: Request) -> Response:
        names = {name for each in router.operations if (name := _name(each))}
        return JSONResponse({"value": [_described(name) for name in sorted(names)]})


def _name(operation: Operation) -> str | None:
    """`.../workspaces/computes/start/action`: the types of the path, and what is done to them."""
    if operation.handler.__module__ == not_emulated.__name__:
        return None
    provider, _, path = operation.template.partition(f"/providers/{_PROVIDER}/")
    if not path or not provider:
        return None
    types = [part for part in re.sub(r"\{\w+(:path)?\}", "", path).split("/") if part]
    end = _VERBS.get(operation.method, "action")
    return "/".join([_PROVIDER, *types, end])


def _described(name: str) -> dict[str, object]:
    _, *types, verb = name.split("/")
    what = types.pop() if verb == "action" else verb
    return {
        "name": name,
        "isDataAction": False,
        "display": {
            "provider": "Microsoft Machine Learning Services",
            "resource": "/".join(types),
            "operation": f"{what} {types[-1]}",
            "description": f"{what} of {'/'.join(types)}",
        },
    }
