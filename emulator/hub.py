"""A stand-in for the Hugging Face hub: the datasets and models of some folders, read-only.

A folder holds `datasets/OWNER/NAME/...` and `models/OWNER/NAME/...`, files as on the hub. Of two
folders with the same repository the first one's is served.
Clients come here through HF_ENDPOINT. A repository has one revision, `main`, whose commit
is a hash of its contents: it stays the same until a file changes.
"""

import re
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Scope

from emulator.gate import host_of
from emulator.hub_repository import CHUNK, HubError, Repository, folder_entry

LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_NOTED = 1000
"""Requests that are remembered."""


class Hub:
    """The repositories of the folders and the handlers that answer for them."""

    def __init__(self, *folders: Path) -> None:
        self.folders = folders

    def repository(self, request: Request) -> Repository:
        """The repository that a request is about. 404 RepoNotFound when there is none."""
        kind = request.path_params.get("kind", "models")
        if kind not in ("datasets", "models"):
            raise HTTPException(404)
        owner, name = request.path_params.get("owner"), request.path_params["name"]
        identity = f"{owner}/{name}" if owner else str(name)
        plain = re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", identity)
        places = [folder / kind / identity for folder in self.folders] if plain else []
        folder = next((place for place in places if place.is_dir()), None)
        if folder is None:
            have = ", ".join(self.identities(kind)) or "none"
            raise HubError(
                404,
                "RepoNotFound",
                f"The stand-in hub has no {kind.removesuffix('s')} {identity!r}; it has: {have}",
            )
        repository = Repository(kind, identity, folder)
        repository.check_revision(request.path_params.get("revision"))
        return repository

    def identities(self, kind: str) -> list[str]:
        roots = [folder / kind for folder in self.folders]
        found = {p.relative_to(r).as_posix() for r in roots for p in r.glob("*/*") if p.is_dir()}
        return sorted(found)

    async def information(self, request: Request) -> Response:
        return JSONResponse(self.repository(request).information())

    async def tree(self, request: Request) -> Response:
        recursive = request.query_params.get("recursive", "").lower() in ("true", "1")
        below = request.path_params.get("path", "").strip("/")
        return JSONResponse(self.repository(request).tree(below, recursive))

    async def paths_info(self, request: Request) -> Response:
        """Files and folders among the asked paths; what is not there is left out, as there."""
        repository = self.repository(request)
        body = await request.body()
        try:
            if request.headers.get("content-type", "").startswith("application/json"):
                asked = (await request.json())["paths"]
            else:
                asked = parse_qs(body.decode()).get("paths", [])
            paths = [str(path) for path in ([asked] if isinstance(asked, str) else asked)]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise HubError(400, "BadRequest", 'The body must be {"paths": [PATH, ...]}.') from error
        folders = repository.folders()
        found = []
        for path in paths:
            if path in repository.entries:
                found.append(repository.entries[path].as_json())
            elif path in folders:
                found.append(folder_entry(path))
        return JSONResponse(found)

    async def resolve(self, request: Request) -> Response:
        """A file, or the asked range of it; HEAD has the same headers and no body."""
        repository = self.repository(request)
        entry = repository.entry(request.path_params["path"])
        headers = {
            "ETag": f'"{entry.etag}"',
            "X-Repo-Commit": repository.commit,
            "Accept-Ranges": "bytes",
            "Content-Disposition": f'inline; filename="{Path(entry.path).name}"',
        }
        if entry.large:
            headers |= {"X-Linked-Size": str(entry.size), "X-Linked-ETag": f'"{entry.etag}"'}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        status, first, last = _range(request.headers.get("range"), entry.size)
        headers["Content-Length"] = str(last - first + 1)
        if status == 206:
            headers["Content-Range"] = f"bytes {first}-{last}/{entry.size}"
        if status == 416:
            headers |= {"Content-Length": "0", "Content-Range": f"bytes */{entry.size}"}
        media_type = "application/octet-stream"
        if request.method == "HEAD" or status == 416:
            return Response(status_code=status, headers=headers, media_type=media_type)
        body = _read(repository.folder / entry.path, first, last - first + 1)
        return StreamingResponse(body, status, headers, media_type)


def _range(header: str | None, size: int) -> tuple[int, int, int]:
    """Status, first and last byte for a Range header; last is first - 1 for nothing."""
    match = re.fullmatch(r"bytes=([0-9]{0,19})-([0-9]{0,19})", header or "")
    if match is None or match.groups() == ("", ""):
        return 200, 0, size - 1
    start, end = match.groups()
    first = int(start) if start else max(0, size - int(end))
    last = min(int(end), size - 1) if start and end else size - 1
    return (206, first, last) if first <= last else (416, 0, -1)


async def _read(path: Path, first: int, length: int) -> AsyncIterator[bytes]:
    async with await anyio.open_file(path, "rb") as file:
        await file.seek(first)
        while length > 0 and (chunk := await file.read(min(CHUNK, length))):
            length -= len(chunk)
            yield chunk


def _routes(hub: Hub) -> list[Route]:
    about = "/api/{kind}/{owner}/{name}"
    old_about = "/api/{kind}/{name}"  # repositories without an owner: there are none here
    file = "/{owner}/{name}/resolve/{revision}/{path:path}"

    async def dataset_file(request: Request) -> Response:
        request.path_params["kind"] = "datasets"
        return await hub.resolve(request)

    return [
        Route(about, hub.information),
        Route(about + "/revision/{revision}", hub.information),
        Route(about + "/tree/{revision}", hub.tree),
        Route(about + "/tree/{revision}/{path:path}", hub.tree),
        Route(about + "/paths-info/{revision}", hub.paths_info, methods=["POST"]),
        Route(old_about, hub.information),
        Route(old_about + "/revision/{revision}", hub.information),
        Route("/datasets" + file, dataset_file),
        Route(file, hub.resolve),
        Route("/{name}/resolve/{revision}/{path:path}", hub.resolve),
    ]


async def _not_emulated(request: Request, error: Exception) -> Response:
    """What no route knows says so by name, whatever the method."""
    message = (
        f"The stand-in hub does not answer {request.method} {request.url.path}. It serves "
        "information, trees and files of the datasets and models in its folder, read-only."
    )
    return _failure(501, "NotSupported", message)


async def _hub_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HubError)
    return _failure(error.status, error.code, str(error))


def _failure(status: int, code: str, message: str) -> Response:
    # What a client asked for stands in it; a header takes less than it may ask for.
    told = message.encode("ascii", "backslashreplace").decode()
    told = "".join(c if c.isprintable() else "?" for c in told)
    headers = {"X-Error-Code": code, "X-Error-Message": told}
    return JSONResponse({"error": message}, status, headers)


class _Door:
    """Notes every request as 'METHOD path' and turns away whoever is not on this machine.

    An encoded slash stays encoded: a revision such as refs%2Fpr%2F1 is one part of the path.
    """

    def __init__(self, app: Any, requests: deque[str]) -> None:
        self.app = app
        self.requests = requests

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.requests.append(f"{scope['method']} {scope['path']}")
            client = scope.get("client")
            # A page elsewhere can lead its own name here, and would read what a user keeps.
            if (client and client[0] not in LOOPBACK) or host_of(scope) not in LOOPBACK:
                refusal = _failure(403, "Forbidden", "The stand-in hub serves this machine only.")
                await refusal(scope, receive, send)
                return
            raw = scope.get("raw_path") or scope["path"].encode()
            scope["path"] = unquote(re.sub("%2F", "%252F", raw.decode("latin-1"), flags=re.I))
        await self.app(scope, receive, send)


_NAMES = (
    ("Hub_PathsInfo", re.compile(r"/api/.+/paths-info/[^/]+")),
    ("Hub_Tree", re.compile(r"/api/.+/tree/.+")),
    ("Hub_Info", re.compile(r"/api/.+")),
    ("Hub_Download", re.compile(r"/.+/resolve/.+")),
)


def operation_name(scope: Scope) -> str:
    """What a request asks of the hub."""
    path = scope["path"]
    return next((name for name, pattern in _NAMES if pattern.fullmatch(path)), "NotSupported")


def hub_app(*folders: Path) -> Starlette:
    """The hub over the folders as an ASGI app; `app.state.requests`: what was asked last."""
    requests: deque[str] = deque(maxlen=_NOTED)
    app = Starlette(
        routes=_routes(Hub(*folders)),
        middleware=[Middleware(_Door, requests=requests)],
        exception_handlers={404: _not_emulated, 405: _not_emulated, HubError: _hub_error},
    )
    app.state.requests = requests
    return app
