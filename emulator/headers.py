"""The headers that every answer of the resource manager and the data plane carries."""

import random
import re
import time
from collections import Counter

from starlette.requests import Request
from starlette.responses import Response

from emulator.clock import CLOCK
from emulator.config import Config
from emulator.gate import host_of
from emulator.http import request_id

_HOURLY = {"reads": 12000, "writes": 1200, "deletes": 15000}
"""Requests that the resource manager allows a subscription in an hour."""
_SUBSCRIPTION = re.compile(r"/subscriptions/([^/]+)", re.IGNORECASE)
_KINDS = {"GET": "reads", "HEAD": "reads", "DELETE": "deletes"}

Pairs = list[tuple[bytes, bytes]]

_JSON = (b"content-type", b"application/json")


class Allowance:
    """What is left of the hour's requests, by subscription and kind.

    It ends at 0, and requests go on being answered: to be refused is what faults are for.
    """

    def __init__(self) -> None:
        self._hour = ""
        self._used: Counter[tuple[str, str]] = Counter()

    def use(self, subscription: str, kind: str) -> int:
        """Count a request; gives how many more of its kind are left."""
        hour = CLOCK.second()[: len("20260131T09")]
        if hour != self._hour:
            self._hour = hour
            self._used.clear()
        key = (subscription.lower(), kind)
        self._used[key] += 1
        return max(_HOURLY[kind] - self._used[key], 0)


class ServiceHeaders:
    """Adds to an answer what it does not say itself."""

    def __init__(self, config: Config) -> None:
        self._manager = config.arm_host
        self._region = config.location.upper()
        self._allowance = Allowance()
        self._of_all: Pairs = [
            (b"request-context", f"appId=cid-v1:{config.workspace_id}".encode()),
            (b"x-aml-cluster", f"vienna-{config.location}-01".encode()),
            (b"strict-transport-security", b"max-age=31536000; includeSubDomains"),
            (b"x-content-type-options", b"nosniff"),
            (b"vary", b"Accept-Encoding"),
        ]
        self._of_manager: Pairs = [
            (b"cache-control", b"no-cache"),
            (b"pragma", b"no-cache"),
            (b"expires", b"-1"),
        ]

    def add(self, response: Response, request: Request, began: float) -> None:
        """`began` is the request's time.monotonic()."""
        kind = b"standard" if response.status_code < 400 else b"error"
        took = f"{time.monotonic() - began:.3f}"
        pairs: Pairs = [
            (b"x-ms-response-type", kind),
            *self._of_all,
            (b"x-request-time", took.encode()),
        ]
        if host_of(request.scope) == self._manager:
            pairs += self._of_manager
            pairs += self._managers_own(request, response.status_code)
        own = response.raw_headers
        if _JSON in own:
            own[own.index(_JSON)] = (_JSON[0], _JSON[1] + b"; charset=utf-8")
        said = {name for name, _ in own}
        own += [pair for pair in pairs if pair[0] not in said]

    def _managers_own(self, request: Request, status: int) -> Pairs:
        correlation = request.headers.get("x-ms-correlation-request-id")
        route = f"{self._region}:{CLOCK.second()}:{random.getrandbits(64):016x}"
        pairs = [
            (b"x-ms-correlation-request-id", _word(correlation).encode()),
            (b"x-ms-routing-request-id", route.encode()),
        ]
        if status >= 500:
            pairs.append((b"x-ms-failure-cause", b"service"))
        if match := _SUBSCRIPTION.match(request.scope["path"]):  # others have no allowance
            kind = _KINDS.get(request.method, "writes")
            name = f"x-ms-ratelimit-remaining-subscription-{kind}"
            pairs.append((name.encode(), str(self._allowance.use(match[1], kind)).encode()))
        return pairs


def _word(text: str | None) -> str:
    """A client's own value, if it is one that may stand in a header."""
    if text is None or len(text) > 64 or not text.replace("-", "").isalnum():
        return request_id()
    return text if text.isascii() else request_id()
