"""Connections that can be broken: a reset that the client's machine sees as one."""

import asyncio
import socket
import struct
from typing import Any

from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_TRANSPORT = "azureml_emulator.transport"
_NO_LINGER = struct.pack("ii", 1, 0)
"""Closing a socket with this sends RST instead of FIN."""

# Uploads are large: with uvicorn's 64 KB the socket is paused and resumed at every read.
httptools_impl.HIGH_WATER_LIMIT = 2 << 20


class BreakableProtocol(HttpToolsProtocol):
    """HTTP for uvicorn whose requests know their connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app = self.app

        async def with_transport(scope: Any, receive: Any, send: Any) -> None:
            scope[_TRANSPORT] = transport
            await app(scope, receive, send)

        self.app = with_transport


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
