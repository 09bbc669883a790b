"""The headers that every answer of the resource manager and the data plane carries."""

import re
import secrets
import time
from collections import Counter
from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.requests import Request

from emulator.clock import CLOCK
from emulator.config import Config
from emulator.http import request_id

_HOURLY = {"reads": 12000, "writes": 1200, "deletes": 15000}
"""Requests that the resource manager allows a subscription in an hour."""
_SUBSCRIPTION = re.compile(r"/subscriptions/([^/]+)", re.IGNORECASE)


class Allowance:
    """What is left of the hour's requests, by subscription and kind.

    It ends at 0, and requests go on being answered: to be refused is what faults are for.
    """

    def __init__(self) -> None:
        self._hour = ""
        self._used: Counter[tuple[str, str]] = Counter()

    def use(self, subscription: str, kind: str) -> int:
        """Count a request; gives how many more of its kind are left."""
        hour = CLOCK.now().strftime("%Y%m%d%H")
        if hour != self._hour:
            self._hour = hour
            self._used.clear()
        key = (subscription.lower(), kind)
        self._used[key] += 1
        return max(_HOURLY[kind] - self._used[key], 0)


def add_service_headers(
    headers: MutableHeaders,
    request: Request,
    status: int,
    began: float,
    config: Config,
    allowance: Allowance,
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
        common |= _remaining(request, allowance)
    for name, value in common.items():
        headers.setdefault(name, value)


def _manager_headers(request: Request, status: int, config: Config) -> Mapping[str, str]:
    correlation = request.headers.get("x-ms-correlation-request-id") or request_id()
    moment = CLOCK.now().strftime("%Y%m%dT%H%M%SZ")
    headers = {
        "cache-control": "no-cache",
        "pragma": "no-cache",
        "expires": "-1",
        "x-ms-correlation-request-id": _word(correlation),
        "x-ms-routing-request-id": f"{config.location.upper()}:{moment}:{secrets.token_hex(8)}",
    }
    return headers | ({"x-ms-failure-cause": "service"} if status >= 500 else {})


def _remaining(request: Request, allowance: Allowance) -> Mapping[str, str]:
    """What the subscription has left; nothing for a request that is of none."""
    match = _SUBSCRIPTION.match(request.url.path)
    if match is None:
        return {}
    kind = {"GET": "reads", "HEAD": "reads", "DELETE": "deletes"}.get(request.method, "writes")
    left = allowance.use(match[1], kind)
    return {f"x-ms-ratelimit-remaining-subscription-{kind}": str(left)}


def _word(text: str) -> str:
    """A client's own value, if it is one that may stand in a header."""
    return text if text.replace("-", "").isalnum() and len(text) <= 64 else request_id()
