"""Run history beside MLflow's server: clients inside of jobs derive its address from MLflow's.

In the cloud both are one service. Here the call is handed on to the emulator, which keeps the jobs.
"""

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.config import load_config

if TYPE_CHECKING:
    from fastapi import FastAPI

_SECONDS = 30.0


def add_run_history(app: "FastAPI", state: Path) -> None:
    """Let `app`, a tracking server of the emulator in `state`, take in changes of runs."""

    async def patch(request: Request) -> Response:
        config = load_config(state)
        if config is None:
            return JSONResponse({"error": {"code": "NotFound", "message": "no emulator"}}, 404)
        base = f"https://{config.api_host}/history/v1.0{config.workspace_path}"
        trust = ssl.create_default_context(cafile=str(config.ca_bundle))
        headers = {"Content-Type": "application/json"}
        if "authorization" in request.headers:
            headers["Authorization"] = request.headers["authorization"]
        async with httpx.AsyncClient(
            proxy=config.proxy_url, verify=trust, trust_env=False, timeout=_SECONDS
        ) as client:
            answer = await client.patch(
                base + request.url.path, content=await request.body(), headers=headers
            )
        return Response(answer.content, answer.status_code, media_type="application/json")

    for runs in ("runs", "experiments/{experiment}/runs", "experimentids/{experiment}/runs"):
        app.router.routes.insert(0, Route(f"/{runs}/{{run}}", patch, methods=["PATCH"]))
