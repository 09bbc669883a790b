"""One request and its answer, taken apart so that a fault can come between."""

import asyncio
import json
from contextlib import suppress
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emulator.connections import reset, transport_of
from emulator.events import Event

_BODYLESS = (204, 304)


class Exchange:
    """Runs the service, keeps or sends its answer, and writes down what came of it."""

    def __init__(
        self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, event: Event
    ) -> None:
        self._app = app
        self._scope = scope
        self._receive = receive
        self._send = send
        self._ahead: list[Message] = []
        self._complete = False
        self._lost = False
        self.event = event

    @property
    def request(self) -> Request:
        return Request(self._scope)

    async def pass_on(self) -> None:
        """Let the service answer."""
        event, send = self.event, self._send

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                event.status = message["status"]
                event.effect = message["status"] < 400
            await send(message)

        await self._app(self._scope, self.receive, noted)

    async def perform(self) -> list[Message]:
        """Let the service do its work, and keep its answer."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self._app(self._scope, self.receive, keep)
        self.event.effect = messages[0]["status"] < 400
        return messages

    async def receive(self) -> Message:
        """The next message from the client, first those that were read ahead."""
        return self._ahead.pop(0) if self._ahead else await self._next()

    async def read(self) -> None:
        """Read what is left of the request's body ahead."""
        while not self._complete:
            self._ahead.append(await self._next())

    async def gone(self) -> None:
        """Wait until the client is gone. The body must have been read."""
        while not self._lost:
            await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        self._lost = message["type"] == "http.disconnect"
        self._complete = self._lost or not message.get("more_body", False)
        return message

    async def answer(self, messages: list[Message]) -> None:
        """Send an answer that was kept."""
        self.event.status = messages[0]["status"]
        for message in messages:
            await self._send(message)

    async def refuse(self, response: Response) -> None:
        """Send another answer than the service's."""
        await self.read()
        self.event.status = response.status_code
        await response(self._scope, self.receive, self._send)

    async def break_off(self) -> None:
        """Reset the connection without a byte of an answer."""
        reset(transport_of(self._scope))
        await self._until_lost()

    async def answer_broken(
        self, messages: list[Message], how: Literal["broken", "cut", "empty"]
    ) -> None:
        """Send half of a kept answer's body, or nothing of it (`empty`).

        The half comes as if it were whole (`broken`: its JSON ends in the middle), or with the
        length of the whole one and a connection that closes before it (`cut`).
        """
        start, *rest = messages
        cut = how == "cut"
        if self._scope["method"] == "HEAD":
            await self.answer(messages)
            return
        body = b"".join(message.get("body", b"") for message in rest)
        # An answer without a body gets one: there must be something to break.
        half = body[: len(body) // 2] if len(body) > 1 else b'{"'
        half = b"" if how == "empty" else half
        length = max(len(body), 64) if cut else len(half)
        kept = [pair for pair in start["headers"] if pair[0].lower() != b"content-length"]
        headers = [*kept, (b"content-length", str(length).encode())]
        status = 200 if start["status"] in _BODYLESS else start["status"]
        self.event.status = status
        await self._send({**start, "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": half, "more_body": cut})
        if cut:
            transport_of(self._scope).abort()
            await self._until_lost()

    async def answer_merged(self, messages: list[Message], patch: dict[str, Any]) -> None:
        """Send a kept answer with the patch merged into its JSON; what is no object stays."""
        start, *rest = messages
        try:
            content = json.loads(b"".join(message.get("body", b"") for message in rest))
        except ValueError:
            content = None
        if not isinstance(content, dict):
            await self.answer(messages)
            return
        body = json.dumps(merged(content, patch)).encode()
        kept = [pair for pair in start["headers"] if pair[0].lower() != b"content-length"]
        headers = [*kept, (b"content-length", str(len(body)).encode())]
        await self.answer(
            [{**start, "headers": headers}, {"type": "http.response.body", "body": body}]
        )

    async def _until_lost(self) -> None:
        """Wait until the server knows that its connection is gone, else it would answer 500."""
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await self.read()
                await self.gone()


def merged(content: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """The content after a JSON merge patch: None removes, objects merge, the rest replaces."""
    result = dict(content)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            inner = result.get(name)
            result[name] = merged(inner if isinstance(inner, dict) else {}, value)
        else:
            result[name] = value
    return result
