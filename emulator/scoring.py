"""The scoring hosts, `{endpoint}.{region}.inference.ml.azure.com`: keys, traffic, limits."""

import asyncio
import hmac
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.compute.durations import seconds
from emulator.core import Emulator
from emulator.http import AzureError, emulator_of, request_id
from emulator.identity import MACHINE_LEARNING
from emulator.store import Resource

LARGEST_BODY = 10 << 20
"""Bytes; the service's limit for a managed online endpoint."""

_DEPLOYMENT_HEADER = "azureml-model-deployment"


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
    if request.method != "POST" or request.url.path.rstrip("/") != "/score":
        raise ScoringError(
            501,
            "OperationNotSupported",
            f"The local Azure ML does not emulate {request.method} {request.url.path} of its "
            "online endpoints; it answers POST /score.",
        )
    _authorize(request, emulator, endpoint)
    deployment = _choose(request, emulator, endpoint)
    settings = deployment["properties"].get("requestSettings") or {}
    async with _slot(emulator, deployment, settings):
        response = await _forward(request, emulator, deployment, settings, body)
    response.headers[_DEPLOYMENT_HEADER] = deployment["name"]
    return response


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
    path = emulator.store.document("endpoint names").get(name)
    endpoint = emulator.store.get(path) if path else None
    if endpoint is None or region != emulator.config.location:
        raise ScoringError(
            404, "EndpointNotFound", f"There is no online endpoint behind the host {host}."
        )
    return endpoint


def _authorize(request: Request, emulator: Emulator, endpoint: Resource) -> None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if endpoint["properties"]["authMode"].lower() == "aadtoken":
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


def _choose(request: Request, emulator: Emulator, endpoint: Resource) -> Resource:
    """The deployment that the header names, or one by the endpoint's traffic percentages."""
    asked = request.headers.get(_DEPLOYMENT_HEADER)
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
    if deployment is None:
        raise ScoringError(
            404,
            "DeploymentNotFound",
            f"The endpoint {endpoint['name']} has no deployment named {name}.",
        )
    return deployment


_Slots = dict[str, tuple[int, asyncio.Semaphore]]
_slots: WeakKeyDictionary[Emulator, _Slots] = WeakKeyDictionary()


@asynccontextmanager
async def _slot(
    emulator: Emulator, deployment: Resource, settings: dict[str, Any]
) -> AsyncIterator[None]:
    """One of the requests that the deployment's instances answer at a time; 429 if none frees."""
    instances = int((deployment.get("sku") or {}).get("capacity") or 1)
    limit = instances * int(settings.get("maxConcurrentRequestsPerInstance") or 1)
    slots = _slots.setdefault(emulator, {})
    key = deployment["id"].lower()
    if slots.get(key, (0, None))[0] != limit:
        slots[key] = (limit, asyncio.Semaphore(limit))
    semaphore = slots[key][1]
    wait = seconds(settings.get("maxQueueWait") or "PT0.5S")
    try:
        async with asyncio.timeout(wait):
            await semaphore.acquire()
    except TimeoutError:
        raise ScoringError(
            429,
            "TooManyRequests",
            f"The deployment {deployment['name']} answers {limit} requests at a time, and none "
            f"was done within its queue's {wait:g} seconds. Try again later.",
            {_DEPLOYMENT_HEADER: deployment["name"]},
        ) from None
    try:
        yield
    finally:
        semaphore.release()


async def _forward(
    request: Request,
    emulator: Emulator,
    deployment: Resource,
    settings: dict[str, Any],
    body: bytes,
) -> Response:
    name = deployment["name"]
    limit = seconds(settings.get("requestTimeout") or "PT5S")
    headers = {
        header: value
        for header in ("content-type", "accept")
        if (value := request.headers.get(header))
    }
    try:
        async with asyncio.timeout(limit):
            port = await emulator.deployments.port(deployment)
            answer = await emulator.deployments.client.post(
                f"http://127.0.0.1:{port}/score", content=body, headers=headers
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
    kind = answer.headers.get("content-type", "application/json")
    if answer.is_success:
        return Response(answer.content, answer.status_code, {"content-type": kind})
    return Response(
        answer.content,
        424,
        {
            "content-type": kind,
            "ms-azureml-model-error-statuscode": str(answer.status_code),
            "ms-azureml-model-error-reason": "model_error",
        },
    )
