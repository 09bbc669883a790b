"""Azure ML's MLflow endpoint: tracking calls of azureml-mlflow, passed on to the MLflow server."""

import re
from typing import Any
from urllib.parse import quote, urlencode

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator import mlflow_registry_calls
from emulator.http import WORKSPACE, Handler, Router, emulator_of, json_body
from emulator.resource_manager.resources import workspace_path

_OF_A_RUN = re.compile(r"mlflow-artifacts:/ExperimentRun/dcid\.(?P<run>[^/]+)/(?P<path>.+)")
_API = "/mlflow/{version}" + WORKSPACE + "/api/{api}"

_CALLS = (
    *(("POST", f"experiments/{name}") for name in ("create", "search", "update", "delete")),
    *(("POST", f"experiments/{name}") for name in ("restore", "set-experiment-tag")),
    *(("GET", f"experiments/{name}") for name in ("get", "get-by-name", "search")),
    *(("POST", f"runs/{name}") for name in ("create", "search", "update", "delete", "restore")),
    *(("POST", f"runs/{name}") for name in ("log-metric", "log-parameter", "log-batch")),
    *(
        ("POST", f"runs/{name}")
        for name in ("log-inputs", "outputs", "log-model", "set-tag", "delete-tag")
    ),
    ("GET", "runs/get"),
    ("GET", "metrics/get-history"),
    ("GET", "artifacts/list"),
    # Clients look for logged models whenever they list the artifacts below a folder.
    ("POST", "logged-models/search"),
)
"""The tracking calls that are passed on. Traces are not among them: they are refused by name."""


def register(router: Router) -> None:
    mlflow_registry_calls.register(router)
    for method, call in (*_CALLS, *_LOGGED_MODELS):
        name = "MLflow_" + re.sub(r"[/{}]+", "_", call).rstrip("_")
        name += f"_{method.lower()}" if call.startswith("logged-models") and "{" in call else ""
        router.operation(name, method, f"{_API}/mlflow/{call}")(_pass_on(method, call))

    @router.operation("MLflow_experiments_list", "GET", f"{_API}/mlflow/experiments/list")
    async def list_experiments(request: Request) -> Response:
        """A call of MLflow 1, which the service has kept: a search without a filter."""
        workspace_path(request)
        query = {"max_results": "1000", **request.query_params}
        answer = await _send(request, "GET", "experiments/search", b"", urlencode(query))
        if not answer.is_success:
            return _copy(answer)
        found = _with_azure_addresses(answer.json(), _base(request))
        return JSONResponse({"experiments": [], **found})

    @router.operation(
        "MLflow_runs_log-batch-async", "POST", _API + "/preview/mlflow/runs/log-batch-async"
    )
    async def log_batch_async(request: Request) -> Response:
        """The batch is written before the answer; an empty tracking id says so."""
        workspace_path(request)
        answer = await _send(request, "POST", "runs/log-batch", await request.body())
        if answer.is_success:
            return JSONResponse({"batch_tracking_id": ""})
        return _copy(answer)


_LOGGED_MODELS = (
    ("POST", "logged-models"),
    ("GET", "logged-models/{model}"),
    ("PATCH", "logged-models/{model}"),
    ("DELETE", "logged-models/{model}"),
    ("POST", "logged-models/{model}/params"),
    ("PATCH", "logged-models/{model}/tags"),
    ("DELETE", "logged-models/{model}/tags/{tag}"),
)
"""MLflow 3's calls about the models that runs log, passed on too."""


def _pass_on(method: str, call: str) -> Handler:
    async def handle(request: Request) -> Response:
        workspace_path(request)
        if method in ("POST", "PATCH"):
            await json_body(request)
        parts = {k: quote(v, safe="") for k, v in request.path_params.items()}
        answer = await _send(request, method, call.format(**parts), await request.body())
        if not answer.is_success:
            return _copy(answer)
        return JSONResponse(_with_azure_addresses(answer.json(), _base(request)))

    return handle


async def _send(
    request: Request, method: str, call: str, body: bytes, query: str | None = None
) -> httpx.Response:
    """`query` takes the place of the request's own."""
    return await emulator_of(request).tracking.send(
        method,
        f"/api/{quote(request.path_params['api'], safe='')}/mlflow/{call}",
        params=(request.url.query if query is None else query).encode(),
        content=body,
        headers={"content-type": "application/json"},
    )


def _copy(answer: httpx.Response) -> Response:
    kind = answer.headers.get("content-type")
    return Response(answer.content, answer.status_code, media_type=kind)


def _base(request: Request) -> str:
    """The address below which clients find experiments and the artifacts of their runs."""
    workspace = request.url.path.partition("/api/")[0]
    return f"azureml://{emulator_of(request).config.api_host}{workspace}"


def _with_azure_addresses(value: Any, base: str) -> Any:
    """MLflow's answer with artifact addresses that lead clients to Azure ML's artifact service.

    The tracking server's own addresses (mlflow-artifacts:/...) mean nothing to such a client.
    """
    if isinstance(value, list):
        return [_with_azure_addresses(item, base) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: _with_azure_addresses(item, base) for key, item in value.items()}
    if "artifact_uri" in found and "run_id" in found:
        run = f"{base}/experiments/{found['experiment_id']}/runs/{found['run_id']}"
        found["artifact_uri"] = f"{run}/artifacts"
    if "artifact_location" in found:
        found["artifact_location"] = ""
    if match := _OF_A_RUN.fullmatch(str(found.get("artifact_uri"))):
        run = f"{base}/experiments/{found.get('experiment_id', 0)}/runs/{match['run']}"
        found["artifact_uri"] = f"{run}/artifacts/{match['path']}"
    return found
