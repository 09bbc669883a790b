"""What every request passes: it is logged, and the fault that is set for it happens to it."""

import asyncio
import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from emulator.clock import CLOCK
from emulator.events import EventLog
from emulator.exchange import Exchange
from emulator.faults import CURRENT, Action, Fault, Faults

_CORRELATIONS = (b"x-ms-client-request-id", b"traceparent")

Refusal = Callable[[Request, Action], Response]
"""Makes the answer that a service gives for an action's status or token."""


class Gate:
    """An ASGI application around another one."""

    def __init__(
        self,
        app: ASGIApp,
        faults: Faults,
        events: EventLog,
        name: Callable[[Scope], str | None],
        refusal: Refusal,
    ) -> None:
        """`name` gives a request's operation; None for one that is neither logged nor met."""
        self._app = app
        self._faults = faults
        self._events = events
        self._name = name
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        operation = self._name(scope) if scope["type"] == "http" else None
        if operation is None:
            await self._app(scope, receive, send)
            return
        scope["operation"] = operation
        host, method, path = host_of(scope), scope["method"], scope["path"]
        event = self._events.add(
            time=CLOCK.time(),
            host=host,
            method=method,
            path=path,
            operation=operation,
            correlation=_correlation(scope),
        )
        fault = None
        if self._faults.active:
            fault = self._faults.meet(operation, method, host, path)
        exchange = Exchange(self._app, scope, receive, send, event)
        began = time.monotonic()
        try:
            if fault is None:
                await exchange.pass_on()
            else:
                await self._happen(fault, exchange)
        finally:
            event.done = True
            event.milliseconds = round((time.monotonic() - began) * 1000, 1)

    async def _happen(self, fault: Fault, exchange: Exchange) -> None:
        action = fault.rule.action
        exchange.event.fault, exchange.event.action = fault.id, action.name
        if action.delay:
            await asyncio.sleep(action.delay)
        if action.status is not None:
            if action.effect:
                await exchange.perform()
            await exchange.refuse(self._refusal(exchange.request, action))
        elif action.reset is not None:
            if action.reset == "after":
                await exchange.perform()
            await exchange.break_off()
        elif action.body is not None:
            await exchange.answer_broken(await exchange.perform(), action.body)
        elif action.merge is not None:
            await exchange.answer_merged(await exchange.perform(), action.merge)
        elif action.hold is not None:
            await _hold(fault, action.hold, exchange)
        elif action.token is not None and exchange.event.operation != "Identity_Token":
            await exchange.refuse(self._refusal(exchange.request, action))
        else:
            token = CURRENT.set(fault)
            try:
                await exchange.pass_on()
            finally:
                CURRENT.reset(token)


async def _hold(fault: Fault, where: str, exchange: Exchange) -> None:
    """Wait until the fault is released. Whoever goes away before the effect asked for nothing."""
    messages = await exchange.perform() if where == "after" else []
    await exchange.read()
    fault.waiting += 1
    released = asyncio.ensure_future(fault.released())
    gone = asyncio.ensure_future(exchange.gone())
    try:
        await asyncio.wait((released, gone), return_when=asyncio.FIRST_COMPLETED)
        here = not gone.done()
    finally:
        fault.waiting -= 1
        for task in (released, gone):
            task.cancel()
        await asyncio.gather(released, gone, return_exceptions=True)
    if not here:
        return
    if where == "after":
        await exchange.answer(messages)
    else:
        await exchange.pass_on()


def host_of(scope: Scope) -> str:
    """The host that a request names, without its port. Several parts ask for it."""
    known: str | None = scope.get("azureml_emulator.host")
    if known is None:
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        known = host.decode("latin-1").partition(":")[0].lower()
        scope["azureml_emulator.host"] = known
    return known


def _correlation(scope: Scope) -> str | None:
    found = {name: value for name, value in scope["headers"] if name in _CORRELATIONS}
    value = found.get(b"x-ms-client-request-id") or found.get(b"traceparent")
    return value.decode("latin-1") if value else None
