"""The headers that every answer of the resource manager and the data plane carries."""

import secrets
import time
from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.requests import Request

from emulator.clock import CLOCK
from emulator.config import Config
from emulator.http import request_id

_REMAINING = "11999"
"""Requests that a subscription may still send within the hour: there is no limit here."""


def add_service_headers(
    headers: MutableHeaders, request: Request, status: int, began: float, config: Config
) -> None:
    """Add what the answer does not say itself; `began` is the request's time.monotonic()."""
    manager = (request.url.hostname or "").lower() == config.arm_host
    common: dict[str, str] = {
        "x-ms-response-type": "standard" if status < 400 else "error",
        "request-context": f"appId=cid-v1:{config.workspace_id}",
        "x-aml-cluster": f"vienna-{config.location}-01",
        "strict-transport-security": "max-age=31536000; includeSubDomains",
        "x-content-type-options": "nosniff",
        "vary": "Accept-Encoding",
        "x-request-time": f"{time.monotonic() - began:.3f}",
    }
    if manager:
        common |= _manager_headers(request, status, config)
    for name, value in common.items():
        headers.setdefault(name, value)


def _manager_headers(request: Request, status: int, config: Config) -> Mapping[str, str]:
    kind = {"GET": "reads", "HEAD": "reads", "DELETE": "deletes"}.get(request.method, "writes")
    correlation = request.headers.get("x-ms-correlation-request-id") or request_id()
    moment = CLOCK.now().strftime("%Y%m%dT%H%M%SZ")
    headers = {
        "cache-control": "no-cache",
        "pragma": "no-cache",
        "expires": "-1",
        "x-ms-correlation-request-id": _word(correlation),
        "x-ms-routing-request-id": f"{config.location.upper()}:{moment}:{secrets.token_hex(8)}",
        f"x-ms-ratelimit-remaining-subscription-{kind}": _REMAINING,
    }
    return headers | ({"x-ms-failure-cause": "service"} if status >= 500 else {})


def _word(text: str) -> str:
    """A client's own value, if it is one that may stand in a header."""
    return text if text.replace("-", "").isalnum() and len(text) <= 64 else request_id()
