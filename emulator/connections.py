"""Connections that can be broken: a reset that the client's machine sees as one."""

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Any

from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_QUICKACK: int = getattr(socket, "TCP_QUICKACK", 0)  # Linux alone has it
_TRANSPORT = "azureml_emulator.transport"
HEAD_SECONDS = 75
_LONGEST_HEAD = 512 << 10
"""Bytes of a request's line and headers that need more than one read."""
_TOO_LONG = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: text/plain\r\n"
    b"Connection: close\r\n\r\nThe request's headers are longer than 512 KB. Send shorter ones."
)
_NO_LINGER = struct.pack("ii", 1, 0)
"""Closing a socket with this sends RST instead of FIN."""

# Uploads are large: with uvicorn's 64 KB the socket is paused and resumed at every read.
httptools_impl.HIGH_WATER_LIMIT = 2 << 20  # type: ignore[attr-defined]


class BreakableProtocol(HttpToolsProtocol):
    """HTTP for uvicorn whose requests know their connection, and whose clients must get on.

    A connection that asks for nothing, and a head that is long or does not end, are given up.
    """

    _in_head = False
    _head = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEAD_SECONDS, transport.abort)
        app = self.app

        async def with_transport(scope: Any, receive: Any, send: Any) -> None:
            scope[_TRANSPORT] = transport
            await app(scope, receive, send)

        self.app = with_transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head = True, 0

    def on_headers_complete(self) -> None:
        self._end_head()
        super().on_headers_complete()

    def _end_head(self) -> None:
        self._in_head = False
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _more_head(self, size: int) -> None:
        """The head did not end in what came."""
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.abort)
        self._head += size
        if self._head > _LONGEST_HEAD:
            self.transport.write(_TOO_LONG)
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._more_head(len(data))
        # A client behind a proxy lets Nagle hold a request's body back until its head is
        # acknowledged, and the kernel takes 40 ms for that unless it is told.
        connection = self.transport.get_extra_info("socket") if self.transport else None
        if _QUICKACK and connection is not None:
            with suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


def reset(transport: asyncio.BaseTransport) -> None:
    """Break a connection off with a TCP reset."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()


def transport_of(scope: Any) -> asyncio.Transport:
    """The connection on which a request came."""
    transport: asyncio.Transport = scope[_TRANSPORT]
    return transport
