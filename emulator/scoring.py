"""The scoring hosts, `{endpoint}.{region}.inference.ml.azure.com`: keys, traffic, limits."""

import asyncio
import hmac
import json
import random
import time
from typing import Any, NamedTuple

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.batch import service as batch_service
from emulator.clock import CLOCK
from emulator.compute.durations import seconds
from emulator.core import Emulator
from emulator.http import AzureError, emulator_of, request_id
from emulator.identity import MACHINE_LEARNING
from emulator.resource_manager import endpoint_names
from emulator.scoring_slots import Busy, slot
from emulator.store import Resource

LARGEST_BODY = 10 << 20
"""Bytes; the service's limit for a managed online endpoint."""

DEPLOYMENT_SCORE = "Deployment_Score"
"""Under this name faults meet the requests that reach a deployment, mirrored ones too."""

_DEPLOYMENT_HEADER = "azureml-model-deployment"
_HOP = ("connection", "content-length", "date", "host", "keep-alive", "server", "transfer-encoding")
"""Headers of one connection, of a request or of an answer."""

_OF_THE_MODEL = (*_HOP, "content-encoding")
"""Headers of the model's answer that its client does not get; it is decoded here."""

_KEPT_BACK = (*_HOP, "authorization", _DEPLOYMENT_HEADER, "accept-encoding", "expect")
"""Headers of a request that the model does not get."""

BATCH_JOBS = "/jobs"
"""Where batch endpoints are invoked."""

_ROUTES = (("POST", "/score"), ("GET", "/score"), ("GET", "/swagger.json"))


class _Asked(NamedTuple):
    """A request as its deployment gets it."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]


class ScoringError(Exception):
    """An answer of the scoring front other than the model's own."""

    def __init__(
        self, status: int, code: str, message: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}


async def handle(request: Request) -> Response:
    """Answer a request to a scoring host."""
    try:
        response = await _score(request)
    except ScoringError as error:
        body = {"error": {"code": error.code, "message": error.message}}
        response = JSONResponse(body, error.status, error.headers)
    response.headers["x-request-id"] = request.headers.get("x-request-id") or request_id()
    return response


async def _score(request: Request) -> Response:
    emulator = emulator_of(request)
    body = await _body(request)
    endpoint = _endpoint(request, emulator)
    path = request.url.path.rstrip("/")
    if (request.method, path) == ("POST", BATCH_JOBS) and "/batchEndpoints/" in endpoint["id"]:
        return await batch_service.invoke(request, emulator, endpoint, body)
    if (request.method, path) not in _ROUTES:
        raise ScoringError(
            404, "NotFound", f"The endpoint answers nothing at {request.method} {path}."
        )
    _authorize(request, emulator, endpoint)
    deployment = choose(emulator, endpoint, request.headers.get(_DEPLOYMENT_HEADER))
    headers = {name: v for name, v in request.headers.items() if name not in _KEPT_BACK}
    if _DEPLOYMENT_HEADER not in request.headers and request.method == "POST":
        _mirror(emulator, endpoint, body, headers)
    if request.url.query:
        path += f"?{request.url.query}"
    response = await ask(emulator, deployment, body, headers, request.method, path)
    response.headers[_DEPLOYMENT_HEADER] = deployment["name"]
    if client_id := request.headers.get("x-ms-client-request-id"):
        response.headers["x-ms-client-request-id"] = client_id
    return response


async def ask(
    emulator: Emulator,
    deployment: Resource,
    body: bytes,
    headers: dict[str, str],
    method: str = "POST",
    path: str = "/score",
) -> Response:
    """What a deployment answers; a ScoringError when it cannot."""
    try:
        async with slot(emulator, deployment):
            asked = _Asked(method, path, body, headers)
            return await _forward(emulator, deployment, asked)
    except Busy as error:
        named = {_DEPLOYMENT_HEADER: deployment["name"]}
        raise ScoringError(429, "TooManyRequests", str(error), named) from None


_copies: set[asyncio.Task[None]] = set()


def _mirror(emulator: Emulator, endpoint: Resource, body: bytes, headers: dict[str, str]) -> None:
    """Send the mirrored deployment a copy of its share of the requests; nobody gets the answer."""
    mirrored: dict[str, int] = endpoint["properties"].get("mirrorTraffic") or {}
    for name, share in mirrored.items():
        if random.random() * 100 < share:
            copy = asyncio.ensure_future(_ask_copy(emulator, endpoint, name, body, headers))
            _copies.add(copy)
            copy.add_done_callback(_copies.discard)


async def _ask_copy(
    emulator: Emulator, endpoint: Resource, name: str, body: bytes, headers: dict[str, str]
) -> None:
    deployment = emulator.store.get(f"{endpoint['id']}/deployments/{name}")
    if deployment is None:
        return
    event = emulator.events.add(
        time=CLOCK.time(),
        host=f"{endpoint['name']}.{emulator.config.location}.inference.ml.azure.com".lower(),
        method="POST",
        path=f"/{name}/score",
        operation="Endpoint_Mirror",
        correlation=None,
    )
    began = time.monotonic()
    try:
        event.status = (await ask(emulator, deployment, body, headers)).status_code
    except ScoringError as error:
        event.status = error.status
    event.effect, event.done = event.status < 400, True
    event.milliseconds = round((time.monotonic() - began) * 1000, 1)


async def _body(request: Request) -> bytes:
    body = bytearray()
    too_long = False
    async for chunk in request.stream():
        # Read to the end all the same: a client that still sends reads no answer.
        too_long = too_long or len(body) + len(chunk) > LARGEST_BODY
        if not too_long:
            body += chunk
    if too_long:
        raise ScoringError(
            413, "PayloadTooLarge", f"The request body is larger than {LARGEST_BODY} bytes."
        )
    return bytes(body)


def _endpoint(request: Request, emulator: Emulator) -> Resource:
    host = (request.url.hostname or "").lower()
    name, _, region = host.removesuffix(".inference.ml.azure.com").partition(".")
    path = endpoint_names.owner(emulator, name)
    endpoint = emulator.store.get(path) if path else None
    if endpoint is None or region != emulator.config.location:
        raise ScoringError(404, "EndpointNotFound", f"There is no endpoint behind the host {host}.")
    return endpoint


def _authorize(request: Request, emulator: Emulator, endpoint: Resource) -> None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if endpoint["properties"]["authMode"].lower() in ("aadtoken", "amltoken"):
        try:
            emulator.tokens.check(request, *MACHINE_LEARNING)
        except AzureError as error:
            raise ScoringError(401, "aad_auth_access_denied", error.message) from error
        return
    keys = emulator.store.document("endpoint keys").get(endpoint["id"].lower()) or {}
    matches = [hmac.compare_digest(token.encode(), key.encode()) for key in keys.values()]
    if scheme.lower() != "bearer" or not any(matches):
        raise ScoringError(
            401,
            "key_auth_access_denied",
            "Access denied: the Authorization header must be 'Bearer ' and one of the "
            f"endpoint's two keys (list them for the endpoint {endpoint['name']}).",
            {"WWW-Authenticate": "Bearer"},
        )


def choose(emulator: Emulator, endpoint: Resource, asked: str | None) -> Resource:
    """The deployment that is asked for by name, or one by the endpoint's traffic percentages."""
    if asked:
        name = asked
    else:
        traffic: dict[str, int] = endpoint["properties"].get("traffic") or {}
        shares = {name: share for name, share in traffic.items() if share > 0}
        if not shares:
            raise ScoringError(
                404,
                "NoTraffic",
                f"No deployment of the endpoint {endpoint['name']} gets traffic. Set the "
                f"endpoint's traffic, or name a deployment in the header {_DEPLOYMENT_HEADER}.",
            )
        name = random.choices(list(shares), list(shares.values()))[0]
    deployment = emulator.store.get(f"{endpoint['id']}/deployments/{name}")
    going = deployment and asked and deployment["properties"]["provisioningState"] == "Deleting"
    if deployment is None or going:
        raise ScoringError(
            404,
            "DeploymentNotFound",
            f"The endpoint {endpoint['name']} has no deployment named {name}.",
        )
    return deployment


async def _forward(emulator: Emulator, deployment: Resource, asked: _Asked) -> Response:
    name = deployment["name"]
    settings: dict[str, Any] = deployment["properties"].get("requestSettings") or {}
    limit = seconds(settings.get("requestTimeout") or "PT5S")
    try:
        async with asyncio.timeout(limit):
            if refusal := await _fault(emulator, deployment):
                return refusal
            port = await emulator.deployments.port(deployment)
            answer = await emulator.deployments.client.request(
                asked.method,
                f"http://127.0.0.1:{port}{asked.path}",
                content=asked.body,
                headers=asked.headers,
            )
    except TimeoutError:
        raise ScoringError(
            408,
            "RequestTimeout",
            f"The deployment {name} did not answer within its request time-out of {limit:g} "
            "seconds.",
            {_DEPLOYMENT_HEADER: name},
        ) from None
    except AzureError as error:
        raise ScoringError(503, "NoHealthyUpstream", error.message) from error
    except httpx.HTTPError as error:
        raise ScoringError(
            502,
            "BadGateway",
            f"The deployment {name} broke off its answer: {error!r}. Its logs may say why.",
            {_DEPLOYMENT_HEADER: name},
        ) from error
    told = {k: v for k, v in answer.headers.items() if k not in _OF_THE_MODEL}
    kind = told.setdefault("content-type", "application/json")
    if answer.is_success or asked.method == "GET":
        return Response(answer.content, answer.status_code, told)
    response = _model_error(answer.status_code, answer.content, kind)
    response.headers.update(told)
    return response


def _model_error(status: int, content: bytes, kind: str) -> Response:
    return Response(
        content,
        424,
        {
            "content-type": kind,
            "ms-azureml-model-error-statuscode": str(status),
            "ms-azureml-model-error-reason": "model_error",
        },
    )


async def _fault(emulator: Emulator, deployment: Resource) -> Response | None:
    """Let the fault happen that is set for this deployment: a delay, or a status of its model.

    Its rule names the operation Deployment_Score; its path is /{endpoint}/{deployment}/score.
    """
    endpoint = deployment["id"].split("/")[-3]
    asked = (DEPLOYMENT_SCORE, "POST", "", f"/{endpoint}/{deployment['name']}/score")
    for fault in emulator.faults.all():
        if fault.rule.operation != DEPLOYMENT_SCORE or not fault.meets(*asked):
            continue
        action = fault.rule.action
        await asyncio.sleep(action.delay)
        if action.status is not None:
            message = action.message or "The model failed as a fault told it to."
            error = {"error": {"code": action.code or "ModelError", "message": message}}
            return _model_error(action.status, json.dumps(error).encode(), "application/json")
        break
    return None
