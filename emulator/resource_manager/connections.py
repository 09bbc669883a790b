"""Connections of a workspace: kept and answered; nothing here connects to anything."""

import secrets
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.http import (
    WORKSPACE,
    AzureError,
    Router,
    emulator_of,
    inner_error,
    json_body,
    timestamp,
)
from emulator.resource_manager.answers import answer
from emulator.resource_manager.resources import envelope, listing, properties_of, workspace_path
from emulator.store import Resource

_SECRETS = "connectionSecrets"


class AccountError(AzureError):
    """An error of the service of connections, which has a shape of its own."""

    def response(self, location: str = "eastus") -> JSONResponse:
        error: dict[str, Any] = {
            "code": self.code,
            "severity": None,
            "message": self.message,
            "messageFormat": None,
            "messageParameters": None,
            "referenceCode": None,
            "detailsUri": None,
            "target": None,
            "details": [],
            "innerError": inner_error(self.inner),
            "debugInfo": None,
            "additionalInfo": None,
        }
        body = {
            "error": error,
            "correlation": {"operation": secrets.token_hex(16), "request": secrets.token_hex(8)},
            "environment": location,
            "location": location,
            "time": timestamp().replace("Z", "+00:00"),
            "componentName": "account-rp",
        }
        return JSONResponse(body, self.status, {"x-ms-response-type": "error", **self.headers})


def register(router: Router) -> None:
    base = WORKSPACE + "/connections"
    one = base + "/{name}"
    router.operation("WorkspaceConnections_List", "GET", base)(_list)
    for method, operation in (("PUT", "Create"), ("PATCH", "Update")):
        router.operation(f"WorkspaceConnections_{operation}", method, one)(_put)

    @router.operation("WorkspaceConnections_Get", "GET", one)
    async def get_connection(request: Request) -> Response:
        return answer(request, _connection(request))

    @router.operation("WorkspaceConnections_ListSecrets", "POST", one + "/listsecrets")
    async def list_secrets(request: Request) -> Response:
        connection = _connection(request)
        kept = emulator_of(request).store.document(_SECRETS).get(_path(request).lower())
        connection["properties"]["credentials"] = kept
        return answer(request, connection)

    @router.operation("WorkspaceConnections_Delete", "DELETE", one)
    async def delete_connection(request: Request) -> Response:
        store, path = emulator_of(request).store, _path(request)
        store.document(_SECRETS).delete(path.lower())
        return Response(status_code=200 if store.delete(path) else 204)


async def _list(request: Request) -> Response:
    query = request.query_params
    found = emulator_of(request).store.children(workspace_path(request) + "/connections")
    for key in ("category", "target"):
        if wanted := query.get(key, "").lower():
            found = [c for c in found if str(c["properties"].get(key)).lower() == wanted]
    return listing(request, found)


async def _put(request: Request) -> Response:
    body = await json_body(request)
    store, path = emulator_of(request).store, _path(request)
    old = store.get(path)
    given = properties_of(body, "authType", "category", "target")
    credentials = given.pop("credentials", None)
    properties = {**(old["properties"] if old else {}), **given}
    if not properties.get("authType"):
        raise AzureError(400, "UserError", "A connection needs an authType.")
    properties["credentials"] = None
    properties.setdefault("isSharedToAll", False)
    connection = envelope(store, path, "connections", {"properties": properties})
    store.put(path, connection)
    if credentials is not None:
        store.document(_SECRETS).put(path.lower(), credentials)
    return answer(request, connection)


def _path(request: Request) -> str:
    return f"{workspace_path(request)}/connections/{request.path_params['name']}"


def _connection(request: Request) -> Resource:
    connection = emulator_of(request).store.get(_path(request))
    if connection is None:
        name = request.path_params["name"]
        message = f"Connection {name} can't be found in this workspace"
        raise AccountError(404, "UserError", message, inner=("NotFoundError",))
    return connection
