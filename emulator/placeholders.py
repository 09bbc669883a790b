"""Published examples name their workspace `<SUBSCRIPTION_ID>` and so on: the default one is meant.

Whoever runs such an example unchanged means the workspace that is at hand. A name in angle
brackets can be no name of Azure's, so that nothing else is touched.
"""

import re
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emulator.config import Config

_PLACEHOLDER = r"(?:<[\w .-]+>|%3[Cc][\w .%-]+?%3[Ee])"
_NAMES = re.compile(rf"/(subscriptions|resourceGroups|workspaces)/{_PLACEHOLDER}", re.IGNORECASE)
_MOST_BYTES = 16 << 20
"""A longer body is no description of a resource: it passes as it is."""


def is_placeholder(name: object) -> bool:
    """Whether a whole value is such a name, as in the parameters of a template."""
    return bool(re.fullmatch(_PLACEHOLDER, str(name)))


class Placeholders:
    """An ASGI application around another one: puts the default workspace's names in."""

    def __init__(self, app: ASGIApp, config: Config) -> None:
        self._app = app
        self._values = {
            "subscriptions": config.subscription,
            "resourcegroups": config.resource_group,
            "workspaces": config.workspace,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _may_be_in(scope["path"]):
            await self._app(scope, receive, send)
            return
        path = self._filled(scope["path"])
        scope = {**scope, "path": path, "raw_path": quote(path).encode("ascii")}
        await self._app(scope, self._receiving(receive, _length(scope)), send)

    def _filled(self, text: str) -> str:
        def value(match: re.Match[str]) -> str:
            return f"/{match[1]}/{self._values[match[1].lower()]}"

        return _NAMES.sub(value, text)

    def _receiving(self, receive: Receive, length: int) -> Receive:
        """The body in one message with the names put in."""
        if not 0 < length <= _MOST_BYTES:
            return receive
        done = False

        async def whole() -> Message:
            nonlocal done
            if done:
                return await receive()
            done = True
            body, more = b"", True
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    return message
                body += message.get("body", b"")
                more = message.get("more_body", False)
            text = self._filled(body.decode("utf-8", "surrogateescape"))
            filled = text.encode("utf-8", "surrogateescape")
            return {"type": "http.request", "body": filled, "more_body": False}

        return whole


def _may_be_in(path: str) -> bool:
    return ("<" in path or "%3" in path) and _NAMES.search(path) is not None


def _length(scope: Scope) -> int:
    value = next((v for k, v in scope["headers"] if k == b"content-length"), b"0")
    return int(value) if value.isdigit() else 0
