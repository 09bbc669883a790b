"""The forward proxy: a tunnel to the emulator for the hosts that it emulates, a refusal else.

It does not look inside the tunnel. Refusing every other host means that nothing that runs under
`exec` reaches the real cloud, or anything else, by accident.
"""

import asyncio
import contextlib
import logging

from emulator.certificates import DOMAINS
from emulator.connections import reset

_log = logging.getLogger(__name__)
_CHUNK = 256 * 1024
_HEAD_SECONDS = 30


def is_emulated(host: str) -> bool:
    host = host.lower().rstrip(".")
    return any(host == domain or host.endswith("." + domain) for domain in DOMAINS)


class Proxy:
    """Answers CONNECT on loopback and tunnels to the TLS server's port."""

    def __init__(self, port: int, tls_port: int) -> None:
        self._port = port
        self._tls_port = tls_port
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", self._port)

    async def stop(self) -> None:
        if self._server:
            self._server.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            host = await self._target(reader)
            if host is None or not is_emulated(host):
                await self._refuse(writer, host)
                return
            upstream = await asyncio.open_connection("127.0.0.1", self._tls_port)
            writer.write(b"HTTP/1.1 200 Connection Established\r\n\r\n")
            await writer.drain()
            await _tunnel((reader, writer), upstream)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            with contextlib.suppress(OSError):
                writer.close()

    @staticmethod
    async def _target(reader: asyncio.StreamReader) -> str | None:
        """The host of a CONNECT to port 443; None for anything else."""
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_SECONDS)
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(words) != 3 or words[0] != "CONNECT":
            return None
        host, _, port = words[1].rpartition(":")
        return host if port == "443" else None

    @staticmethod
    async def _refuse(writer: asyncio.StreamWriter, host: str | None) -> None:
        reason = f"The local Azure ML does not emulate {host or 'plain http'}; nothing was sent."
        _log.warning("refused: %s", host or "not a CONNECT request")
        body = reason.encode()
        writer.write(
            b"HTTP/1.1 502 Not Emulated\r\nContent-Type: text/plain\r\nConnection: close\r\n"
            + f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        await writer.drain()


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _tunnel(client: Stream, server: Stream) -> None:
    await asyncio.gather(_copy(client[0], server[1]), _copy(server[0], client[1]))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    except ConnectionResetError:
        reset(writer.transport)
    except OSError:
        pass
    finally:
        with contextlib.suppress(OSError):
            writer.close()
