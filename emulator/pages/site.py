"""The pages as an ASGI application: plain HTTP, for a browser on this machine.

Whoever can open them can do what they offer, so they answer on loopback names only (a page of
another site could have its own name lead here), and what changes something needs the token that
is in their forms.
"""

import hmac
import secrets
from collections.abc import Awaitable, Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import jinja2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from emulator import scoring
from emulator.http import AzureError
from emulator.pages import reading

if TYPE_CHECKING:
    from emulator.core import Emulator

_TEMPLATES = Path(__file__).parent / "templates"
_HOSTS = ("127.0.0.1", "localhost", "[::1]")
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
        self._token = secrets.token_urlsafe(24)
        self.application = Starlette(
            routes=[
                Route("/", self._checked(self._overview)),
                Route("/style.css", self._checked(self._style)),
                Route("/jobs", self._checked(self._jobs)),
                Route("/jobs/{name}", self._checked(self._job)),
                Route("/jobs/{name}/cancel", self._checked(self._cancel), methods=["POST"]),
                Route("/jobs/{name}/logs/{path:path}", self._checked(self._log)),
                Route("/endpoints", self._checked(self._endpoints)),
                Route("/endpoints/{name}/try", self._checked(self._try), methods=["POST"]),
                Route("/assets", self._checked(self._assets)),
                Route("/computes", self._checked(self._computes)),
                Route("/requests", self._checked(self._requests)),
                Route("/faults/clear", self._checked(self._clear), methods=["POST"]),
            ]
        )

    def _checked(self, page: Page) -> Page:
        async def handle(request: Request) -> Response:
            host = request.headers.get("host", "")
            if host.rpartition(":")[0] not in _HOSTS and host not in _HOSTS:
                return Response("These pages answer to 127.0.0.1 and localhost.", 403)
            if request.method == "POST" and not await self._is_own(request):
                return Response("The form is not of this page, or of an earlier start.", 403)
            response = await page(request)
            response.headers.update(_HEADERS)
            return response

        return handle

    async def _is_own(self, request: Request) -> bool:
        """Whether a form came from a page of this start."""
        origin = request.headers.get("origin")
        if origin and origin != f"http://{request.headers.get('host')}":
            return False
        if int(request.headers.get("content-length") or 0) > _MOST_FORM_BYTES:
            return False
        form = await _form(request)
        return hmac.compare_digest(form.get("token", "").encode(), self._token.encode())

    def _page(self, template: str, status: int = 200, **values: Any) -> Response:
        text = (
            _environment()
            .get_template(f"{template}.html")
            .render(
                signs=reading.SIGNS,
                token=self._token,
                workspace=self._emulator.config.workspace,
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
            counts=reading.counts(self._emulator),
            jobs=found["jobs"],
            endpoints=reading.endpoints(self._emulator),
            mlflow=tracking.url if tracking.is_installed else None,
            refresh=any(job["state"] in reading.LIVE for job in found["jobs"]),
        )

    async def _jobs(self, request: Request) -> Response:
        query = request.query_params
        skip = int(query["skip"]) if query.get("skip", "").isdigit() else 0
        state = query.get("state", "")
        return self._page("jobs", state=state, **reading.jobs(self._emulator, state, skip))

    async def _job(self, request: Request) -> Response:
        job = reading.job(self._emulator, request.path_params["name"])
        if job is None:
            return self._missing(f"job {request.path_params['name']}")
        return self._page("job", job=job, refresh=job["live"])

    async def _log(self, request: Request) -> Response:
        name, path = request.path_params["name"], request.path_params["path"]
        text = reading.log(self._emulator, name, path)
        if text is None:
            return self._missing(f"log {path} of job {name}")
        return self._page("log", name=name, path=path, text=text)

    async def _cancel(self, request: Request) -> Response:
        name = request.path_params["name"]
        try:
            self._emulator.jobs.request_cancel(
                f"{self._emulator.config.workspace_path}/jobs/{name}"
            )
        except AzureError as error:
            return self._page("missing", error.status, what=error.message)
        return RedirectResponse(f"/jobs/{name}", 303)

    async def _endpoints(self, request: Request) -> Response:
        return self._page(
            "endpoints",
            endpoints=reading.endpoints(self._emulator),
            tried=None,
            body=EXAMPLE,
            answer=None,
        )

    async def _try(self, request: Request) -> Response:
        """Send a request by the way of all requests, but for the key, which no page shows."""
        name, form = request.path_params["name"], await _form(request)
        body = form.get("body", "")
        path = f"{self._emulator.config.workspace_path}/onlineEndpoints/{name}"
        endpoint = self._emulator.store.get(path)
        if endpoint is None:
            return self._missing(f"endpoint {name}")
        try:
            asked = form.get("deployment") or None
            deployment = scoring.choose(self._emulator, endpoint, asked)
            headers = {"content-type": "application/json"}
            given = await scoring.ask(self._emulator, deployment, body.encode(), headers)
            answer = {
                "status": given.status_code,
                "text": bytes(given.body).decode("utf-8", "replace"),
                "deployment": deployment["name"],
            }
        except scoring.ScoringError as error:
            answer = {"status": error.status, "text": error.message, "deployment": None}
        return self._page(
            "endpoints",
            endpoints=reading.endpoints(self._emulator),
            tried=name,
            body=body,
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

    async def _clear(self, request: Request) -> Response:
        self._emulator.faults.clear()
        return RedirectResponse("/requests", 303)


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode("utf-8", "replace"), max_num_fields=20))
