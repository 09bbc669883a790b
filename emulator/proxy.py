"""The forward proxy: a tunnel to the emulator for the hosts that it emulates, a refusal else.

The tunnel ends here: the connection that carried the CONNECT becomes the TLS server's own, so that
no byte is copied from one socket to another. Refusing every other host means that nothing that
runs under `exec` reaches the real cloud, or anything else, by accident.
"""

import asyncio
import contextlib
import logging
import re
import ssl
from collections.abc import Callable

from emulator.certificates import DOMAINS

_log = logging.getLogger(__name__)
_HEAD_SECONDS = 30
_LONGEST_HEAD = 64 << 10
_PAGE = re.compile(rb"(?:GET|HEAD|POST) /[^ ]* HTTP/1\.[01]\r\n")
"""A request to the proxy itself; one that it should pass on names a whole address."""


def is_emulated(host: str) -> bool:
    host = host.lower().rstrip(".")
    return any(host == domain or host.endswith("." + domain) for domain in DOMAINS)


class Proxy:
    """Answers CONNECT on loopback; what follows in the tunnel is TLS, spoken by `protocol`s."""

    def __init__(
        self,
        port: int,
        protocol: Callable[[], asyncio.Protocol],
        context: Callable[[], ssl.SSLContext],
        page: Callable[[], asyncio.Protocol],
    ) -> None:
        """`page` makes what answers a browser that asks for a page of the proxy itself."""
        self._port = port
        self.page = page
        self.protocol = protocol
        self.context = context
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Client(self), "127.0.0.1", self._port)

    async def stop(self) -> None:
        if self._server:
            self._server.close()


class _Client(asyncio.Protocol):
    """One connection until it is a tunnel, or refused."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._deadline: asyncio.TimerHandle | None = None
        self._handshake: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(_HEAD_SECONDS, transport.abort)

    def connection_lost(self, error: Exception | None) -> None:
        if self._deadline:
            self._deadline.cancel()

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        assert self._deadline is not None
        self._received += data
        if b"\r\n\r\n" not in self._received and len(self._received) < _LONGEST_HEAD:
            return
        self._deadline.cancel()
        if _PAGE.match(self._received):
            page = self._proxy.page()
            page.connection_made(self._transport)
            self._transport.set_protocol(page)
            page.data_received(self._received)
            return
        host = _target(self._received)
        if host is None or not is_emulated(host):
            self._transport.write(_refusal(host))
            self._transport.close()
            return
        # Nothing is read until TLS reads it: a client may begin before it has the answer.
        self._transport.pause_reading()
        self._transport.write(b"HTTP/1.1 200 Connection Established\r\n\r\n")
        self._handshake = asyncio.ensure_future(self._hand_over(self._transport))

    async def _hand_over(self, tunnel: asyncio.Transport) -> None:
        """Let the TLS server go on with the connection."""
        loop = asyncio.get_running_loop()
        early, protocol = _Early(), self._proxy.protocol()
        with contextlib.suppress(OSError):  # the client is gone, or speaks no TLS
            transport = await loop.start_tls(tunnel, early, self._proxy.context(), server_side=True)
            if transport is None or early.lost:
                return
            protocol.connection_made(transport)
            transport.set_protocol(protocol)
            if early.received:
                protocol.data_received(early.received)


class _Early(asyncio.Protocol):
    """Keeps what comes with the end of the handshake, before anybody else is there for it."""

    def __init__(self) -> None:
        self.received = b""
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True


def _target(head: bytes) -> str | None:
    """The host of a CONNECT to port 443; None for anything else."""
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    if len(words) != 3 or words[0] != "CONNECT":
        return None
    host, _, port = words[1].rpartition(":")
    return host if port == "443" else None


def _refusal(host: str | None) -> bytes:
    reason = f"The local Azure ML does not emulate {host or 'plain http'}; nothing was sent."
    _log.warning("refused: %s", host or "not a CONNECT request")
    body = reason.encode()
    return (
        b"HTTP/1.1 502 Not Emulated\r\nContent-Type: text/plain\r\nConnection: close\r\n"
        + f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
