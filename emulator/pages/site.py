"""The pages as an ASGI application: plain HTTP, for a browser on this machine.

Whoever can open them can do what they offer, so they answer on loopback names only (a page of
another site could have its own name lead here), and what changes something needs the token that
is in their forms.
"""

import asyncio
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import jinja2
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from emulator import managed_identity
from emulator.gate import host_of
from emulator.http import AzureError
from emulator.pages import logs, reading
from emulator.pages.trial import Trial

if TYPE_CHECKING:
    from emulator.core import Emulator

_TEMPLATES = Path(__file__).parent / "templates"
_HOSTS = ("127.0.0.1", "localhost")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_MOST_FORM_BYTES = 1 << 20
_MOST_REQUESTS = 200
EXAMPLE = '{"input_data": {"input_string": [[{"role": "user", "content": "Hello"}]]}}'

Page = Callable[[Request], Awaitable[Response]]
FormPage = Callable[[Request, dict[str, str]], Awaitable[Response]]


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


class Site:
    """The pages of one emulator."""

    def __init__(self, emulator: "Emulator") -> None:
        self._emulator = emulator
        self._trial = Trial(emulator)
        self._token = secrets.token_urlsafe(24)
        self._application = Starlette(
            routes=[
                Route("/", self._overview),
                Route("/style.css", self._style),
                Route(managed_identity.PATH, self._managed_identity),
                Route("/jobs", self._jobs),
                Route("/jobs/{name}", self._job),
                Route("/jobs/{name}/cancel", self._form(self._cancel), methods=["POST"]),
                Route("/jobs/{name}/logs/{path:path}", self._log),
                Route("/jobs/{name}/whole/{path:path}", self._whole_log),
                Route("/endpoints", self._endpoints),
                Route("/endpoints/{name}/try", self._form(self._try), methods=["POST"]),
                Route("/assets", self._assets),
                Route("/computes", self._computes),
                Route("/requests", self._requests),
                Route("/faults/clear", self._form(self._clear), methods=["POST"]),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Every answer, also that nothing is there, is for this machine and has the headers."""
        host = host_of(scope)
        if host not in _HOSTS:
            response = Response("These pages answer to 127.0.0.1 and localhost.", 403)
            await response(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._application(scope, receive, with_headers)

    async def _managed_identity(self, request: Request) -> Response:
        """No page: code that runs here asks for tokens in plain HTTP."""
        return managed_identity.token(self._emulator, request)

    def _form(self, page: FormPage) -> Page:
        """A page for what was sent with a form of ours; another one is refused."""

        async def handle(request: Request) -> Response:
            origin = request.headers.get("origin")
            form = await _form(request)
            ours = hmac.compare_digest(form.get("token", "").encode(), self._token.encode())
            if not ours or (origin and origin != f"http://{request.headers.get('host')}"):
                return Response("The form is not of this page, or of an earlier start.", 403)
            return await page(request, form)

        return handle

    def _page(self, template: str, status: int = 200, **values: Any) -> Response:
        text = (
            _environment()
            .get_template(f"{template}.html")
            .render(
                signs=reading.SIGNS,
                token=self._token,
                workspaces=reading.workspaces(self._emulator),
                faults=[fault.as_json() for fault in self._emulator.faults.all()],
                **{"refresh": False, **values},
            )
        )
        return HTMLResponse(text, status)

    def _missing(self, what: str) -> Response:
        return self._page("missing", 404, what=what)

    async def _style(self, request: Request) -> Response:
        return Response((_TEMPLATES / "style.css").read_text(), media_type="text/css")

    async def _overview(self, request: Request) -> Response:
        found = reading.jobs(self._emulator, most=10)
        tracking = self._emulator.tracking
        return self._page(
            "overview",
            counts={"jobs": found["total"], **reading.counts(self._emulator)},
            jobs=found["jobs"],
            endpoints=reading.endpoints(self._emulator),
            mlflow=tracking.url if tracking.is_installed else None,
            refresh=any(job["state"] in reading.LIVE for job in found["jobs"]),
        )

    async def _jobs(self, request: Request) -> Response:
        query = request.query_params
        written = query.get("skip", "")
        skip = int(written) if re.fullmatch("[0-9]{1,9}", written) else 0
        state = query.get("state", "")
        return self._page("jobs", state=state, **reading.jobs(self._emulator, state, skip))

    async def _job(self, request: Request) -> Response:
        job = reading.job(self._emulator, request.path_params["name"])
        if job is None:
            return self._missing(f"job {request.path_params['name']}")
        return self._page("job", job=job, refresh=job["live"])

    async def _log(self, request: Request) -> Response:
        name, path = request.path_params["name"], request.path_params["path"]
        file = logs.log_file(self._emulator, name, path)
        if file is None:
            return self._missing(f"log {path} of job {name}")
        text, size = await asyncio.to_thread(logs.end_of, file)
        cut = size > logs.MOST_LOG_BYTES
        return self._page("log", name=name, path=path, text=text, size=size, cut=cut)

    async def _whole_log(self, request: Request) -> Response:
        """All of a log as plain text."""
        name, path = request.path_params["name"], request.path_params["path"]
        file = logs.log_file(self._emulator, name, path)
        if file is None:
            return self._missing(f"log {path} of job {name}")
        return StreamingResponse(logs.lines_of(file), media_type="text/plain; charset=utf-8")

    async def _cancel(self, request: Request, form: dict[str, str]) -> Response:
        name = request.path_params["name"]
        job = reading.find(self._emulator, "jobs", name)
        if job is None:
            return self._missing(f"job {name}")
        try:
            self._emulator.jobs.request_cancel(job["id"])
        except AzureError as error:
            return self._page("missing", error.status, what=error.message)
        return RedirectResponse(f"/jobs/{name}", 303)

    async def _endpoints(self, request: Request) -> Response:
        return self._page(
            "endpoints",
            endpoints=reading.endpoints(self._emulator),
            tried=None,
            body=EXAMPLE,
            asked="",
            answer=None,
        )

    async def _try(self, request: Request, form: dict[str, str]) -> Response:
        """Send a request as a client does; its key is put in here, which no page shows."""
        name, body = request.path_params["name"], form.get("body", "")
        endpoint = reading.find(self._emulator, "onlineEndpoints", name)
        if endpoint is None:
            return self._missing(f"endpoint {name}")
        answer = await self._trial.send(endpoint, form.get("deployment") or None, body)
        return self._page(
            "endpoints",
            endpoints=reading.endpoints(self._emulator),
            tried=endpoint["name"],
            body=body,
            asked=form.get("deployment", ""),
            answer=answer,
        )

    async def _assets(self, request: Request) -> Response:
        return self._page("assets", assets=reading.assets(self._emulator))

    async def _computes(self, request: Request) -> Response:
        return self._page(
            "computes",
            computes=reading.computes(self._emulator),
            schedules=reading.schedules(self._emulator),
        )

    async def _requests(self, request: Request) -> Response:
        operation = request.query_params.get("operation", "")
        events = self._emulator.events.select(operation=operation or "*")[-_MOST_REQUESTS:]
        return self._page("requests", events=events[::-1], operation=operation)

    async def _clear(self, request: Request, form: dict[str, str]) -> Response:
        self._emulator.faults.clear()
        return RedirectResponse("/requests", 303)


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form; nothing of one that is too long or has too many."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_FORM_BYTES:
            return {}
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=20))
    except ValueError:
        return {}
