"""Files to the Blob service and back by a client that does nothing else, and a copy without it.

The SDK hashes what it sends, keeps whole files in memory and takes most of a processor: what the
service itself can do shows only to a client that has no other work.
"""

import base64
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlsplit

from emulator.certificates import ensure_certificates
from emulator.config import Config, load_config
from emulator.identity import STORAGE, Tokens

CONNECTIONS = 2
_CONTAINER = "bench"
_BLOCK = 4 << 20
_PIECE = 1 << 20


class Connection:
    """One TLS connection to the Blob service, through the proxy as every client's."""

    def __init__(self, config: Config) -> None:
        token = Tokens(config).issue(STORAGE[0], config.client_id)
        self._common = (
            f"Host: {config.blob_host}\r\nAuthorization: Bearer {token}\r\n"
            "x-ms-version: 2023-11-03\r\n"
        )
        proxy = urlsplit(config.proxy_url)
        plain = socket.create_connection((proxy.hostname, proxy.port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.sendall(f"CONNECT {config.blob_host}:443 HTTP/1.1\r\n\r\n".encode())
        plain.recv(1024)
        self._socket = context(config).wrap_socket(plain, server_hostname=config.blob_host)

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def make_container(self) -> None:
        """Make the container, or have it as it is."""
        self._put(f"/{_CONTAINER}?restype=container", b"", 201, 409)

    def up(self, source: Path) -> None:
        """A file as a block blob of its name."""
        target = f"/{_CONTAINER}/{source.name}"
        names: list[str] = []
        with source.open("rb") as file:
            while block := file.read(_BLOCK):
                # As Azure's own client numbers them: by their place.
                names.append(base64.b64encode(b"%032d" % (len(names) * _BLOCK)).decode())
                self._put(f"{target}?comp=block&blockid={quote(names[-1])}", block)
        listed = "".join(f"<Latest>{name}</Latest>" for name in names)
        self._put(f"{target}?comp=blocklist", f"<BlockList>{listed}</BlockList>".encode())

    def down(self, name: str, target: Path) -> None:
        self._socket.sendall(f"GET /{_CONTAINER}/{name} HTTP/1.1\r\n{self._common}\r\n".encode())
        first, left = self._answer(200)
        buffer = memoryview(bytearray(_PIECE))
        with target.open("wb") as file:
            file.write(first)
            while left > 0:
                count = self._socket.recv_into(buffer)
                if not count:
                    raise OSError(f"{name} ended early")
                file.write(buffer[:count])
                left -= count

    def _put(self, path: str, body: bytes, *statuses: int) -> None:
        head = f"PUT {path} HTTP/1.1\r\n{self._common}Content-Length: {len(body)}\r\n\r\n"
        self._socket.sendall(head.encode())
        self._socket.sendall(body)
        _, left = self._answer(*(statuses or (201,)))
        while left > 0:
            left -= len(self._socket.recv(left))

    def _answer(self, *statuses: int) -> tuple[bytes, int]:
        """What has come of the body, and how many bytes of it have not."""
        received = b""
        while b"\r\n\r\n" not in received:
            piece = self._socket.recv(_PIECE)
            if not piece:
                raise OSError("the Blob service closed the connection")
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        if int(head.split(b" ", 2)[1]) not in statuses:
            raise OSError(received[:2000].decode(errors="replace"))
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        return body, int(length or 0) - len(body)


def bare_client(config: Config, files: list[Path], target: Path) -> tuple[float, float]:
    """Seconds up and down, some connections at once."""
    target.mkdir()
    with Connection(config) as first:
        first.make_container()
    began = time.monotonic()
    _side_by_side(config, files, lambda connection, file: connection.up(file))
    up = time.monotonic() - began
    began = time.monotonic()
    _side_by_side(config, files, lambda one, file: one.down(file.name, target / file.name))
    return up, time.monotonic() - began


def _side_by_side(
    config: Config, files: list[Path], do: Callable[[Connection, Path], None]
) -> None:
    def work(mine: Iterable[Path]) -> None:
        with Connection(config) as connection:
            for file in mine:
                do(connection, file)

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(work, (files[start::CONNECTIONS] for start in range(CONNECTIONS))))


def bare_copy(config: Config, files: list[Path], target: Path) -> float:
    """Seconds for one TLS connection: read and encrypt here, decrypt and write in a process."""
    key, chain = ensure_certificates(load_config(config.state) or config)
    listener = socket.create_server(("127.0.0.1", 0))
    child = os.fork()
    if child == 0:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(chain, key)
        accepted = server.wrap_socket(listener.accept()[0], server_side=True)
        with accepted as connection, target.open("wb") as file:
            while piece := connection.recv(_PIECE):
                file.write(piece)
        os._exit(0)
    began = time.monotonic()
    plain = socket.create_connection(listener.getsockname())
    with context(config).wrap_socket(plain, server_hostname=config.blob_host) as connection:
        for path in files:
            with path.open("rb") as file:
                while piece := file.read(_PIECE):
                    connection.sendall(piece)
    os.waitpid(child, 0)
    return time.monotonic() - began


def context(config: Config) -> ssl.SSLContext:
    """What trusts the emulator's certificate."""
    return ssl.create_default_context(cafile=config.certificates / "server.pem")
