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
_NO_LINGER = struct.pack("ii", 1, 0)
"""Closing a socket with this sends RST instead of FIN."""

# Uploads are large: with uvicorn's 64 KB the socket is paused and resumed at every read.
httptools_impl.HIGH_WATER_LIMIT = 2 << 20  # type: ignore[attr-defined]


class BreakableProtocol(HttpToolsProtocol):
    """HTTP for uvicorn whose requests know their connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app = self.app

        async def with_transport(scope: Any, receive: Any, send: Any) -> None:
            scope[_TRANSPORT] = transport
            await app(scope, receive, send)

        self.app = with_transport

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
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
