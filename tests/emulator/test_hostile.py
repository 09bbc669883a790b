"""Clients that mean no good, or have lost their way: huge bodies, endless heads, odd framing."""

import asyncio
import os
import resource
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest
import requests
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from emulator import connections
from emulator.config import Config
from emulator.limits import MOST_BYTES
from emulator.server import uvicorn_server
from tests.emulator.hostile_support import (
    API_VERSION,
    ARM,
    all_received,
    config_of,
    connect_tls,
    signed_session,
)
from tests.emulator.running import ROOT, RunningEmulator


@pytest.fixture(scope="module")
def config(emulator: RunningEmulator) -> Config:
    return config_of(emulator)


@pytest.fixture(scope="module")
def session(config: Config) -> requests.Session:
    return signed_session(config)


def _zeros(count: int) -> Iterator[bytes]:
    for _ in range(count >> 20):
        yield b"0" * (1 << 20)


def test_a_body_that_is_too_long_is_refused(config: Config, session: requests.Session) -> None:
    url = f"https://{ARM}{config.workspace_path}/jobs/huge"
    with closing(connect_tls(config)) as connection:
        head = f"PUT {config.workspace_path}/jobs/huge?api-version=2024-01-01 HTTP/1.1\r\n"
        token = session.headers["Authorization"]
        head += f"Host: {ARM}\r\nAuthorization: {token}\r\nContent-Length: {1 << 40}\r\n\r\n"
        connection.sendall(head.encode())
        assert all_received(connection).startswith(b"HTTP/1.1 413")
    # Without a length told, it is counted.
    with suppress(requests.ConnectionError):  # it may be told before all is sent
        answer = session.put(url, params=API_VERSION, data=_zeros(MOST_BYTES + (2 << 20)))
        assert answer.status_code == 413
    assert session.get(url, params=API_VERSION, timeout=10).status_code == 404


def test_a_header_with_a_line_in_it_breaks_off(config: Config) -> None:
    with closing(connect_tls(config)) as connection:
        connection.sendall(
            f"GET /discovery HTTP/1.1\r\nHost: {config.api_host}\r\nx-ms-client-request-id: a\n"
            " b\r\nX: \x00\r\n\r\n".encode()
        )
        assert all_received(connection)[:12] in (b"HTTP/1.1 400", b"")


def test_requests_that_are_none(config: Config, session: requests.Session) -> None:
    for junk in (b"\x16\x03\x01" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\n" * 5000):
        with closing(connect_tls(config)) as connection:
            connection.sendall(junk)
            connection.settimeout(3)  # nothing need be said to one who says nothing
            assert all_received(connection)[:12] in (b"HTTP/1.1 400", b"")
    url = f"https://{ARM}{config.workspace_path}"
    assert session.get(url, params=API_VERSION, timeout=10).status_code == 200


def test_slow_clients_hold_nobody_up(config: Config, session: requests.Session) -> None:
    """200 connections that send a byte now and then; the next client is answered at once."""
    slow: list[ssl.SSLSocket] = []
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.2):
            for connection in slow:
                with suppress(OSError):
                    connection.sendall(b"x")

    head = f"PUT {config.workspace_path}/jobs/slow HTTP/1.1\r\nHost: {ARM}\r\nX: "
    try:
        with ThreadPoolExecutor(20) as pool:
            slow += pool.map(lambda _: connect_tls(config), range(200))
        for connection in slow:
            connection.sendall(head.encode())
        thread = threading.Thread(target=drip)
        thread.start()
        url = f"https://{ARM}{config.workspace_path}"
        for _ in range(5):
            answer = session.get(url, params=API_VERSION, timeout=5)
            assert answer.elapsed.total_seconds() < 2
    finally:
        stop.set()
        for connection in slow:
            connection.close()
    thread.join()


def test_a_head_that_is_too_long_is_given_up(config: Config, session: requests.Session) -> None:
    with closing(connect_tls(config)) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {ARM}\r\nX: ".encode())
        with pytest.raises((ssl.SSLError, ConnectionError)):
            connection.sendall(b"x" * (100 << 20))
    long = {"X": "x" * (100 << 10)}
    url = f"https://{ARM}{config.workspace_path}"
    answer = session.get(url, params=API_VERSION, headers=long, timeout=10)
    assert answer.status_code == 200


def test_a_change_of_protocol_is_not_made(config: Config) -> None:
    head = (
        f"GET /metadata/endpoints HTTP/1.1\r\nHost: {ARM}\r\nConnection: {{}}\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n"
    )
    with closing(connect_tls(config)) as connection:
        connection.sendall(head.format("Upgrade").encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 2\r\nContent-Length: 5\r\n",
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Content-Length: +2\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: " + "9" * 40 + "\r\n",
    ],
)
def test_two_ways_to_read_a_request_are_none(config: Config, framing: str) -> None:
    with closing(connect_tls(config)) as connection:
        connection.sendall(
            f"POST /metadata/endpoints HTTP/1.1\r\nHost: {ARM}\r\n{framing}\r\n"
            f"0\r\n\r\nGET /metadata/endpoints HTTP/1.1\r\nHost: {ARM}\r\n\r\n".encode()
        )
        answer = all_received(connection)
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("size", ["zz", "-1", "f" * 17, " 2"])
def test_chunks_of_no_size_end_a_request(config: Config, size: str) -> None:
    with closing(connect_tls(config)) as connection:
        connection.sendall(
            f"PUT {config.workspace_path}/jobs/q HTTP/1.1\r\nHost: {ARM}\r\n"
            f"Transfer-Encoding: chunked\r\n\r\n{size}\r\n{{}}\r\n0\r\n\r\n".encode()
        )
        assert all_received(connection)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 401")


def test_nothing_is_left_of_clients_that_break_off(config: Config) -> None:
    import psutil

    process = psutil.Process(int((config.state / "ready").read_text()))
    head = f"PUT {config.workspace_path}/jobs/gone HTTP/1.1\r\nHost: {ARM}\r\n"
    head += "Content-Length: 1000\r\n\r\n{"

    def break_off(number: int) -> None:
        connection = connect_tls(config)
        connection.sendall(head[: 10 * number].encode() if number % 2 else head.encode())
        connection.close()

    def open_files() -> int:
        return process.num_fds()

    before = open_files()
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(break_off, range(100)))
    deadline = time.monotonic() + 10
    while open_files() > before + 5 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert open_files() <= before + 5


def test_it_may_have_many_connections() -> None:
    script = """
import resource
from emulator.server import allow_many_connections
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
allow_many_connections()
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""
    soft = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert int(soft) == (10_240 if hard == resource.RLIM_INFINITY else min(hard, 10_240))


def test_who_asks_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("here")(scope, receive, send)

    async def is_given_up(port: int, sent: bytes) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        if sent.endswith(b"\r\n\r\n"):
            assert (await reader.readuntil(b"here")).startswith(b"HTTP/1.1 200")
        try:
            async with asyncio.timeout(2):
                await reader.read()
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        finally:
            writer.close()
        return True

    async def ask() -> None:
        server = uvicorn_server(answered, 0).load()
        listening = await asyncio.get_running_loop().create_server(server.protocol, "127.0.0.1")
        port = listening.sockets[0].getsockname()[1]
        sent = (b"", request[:-2], request, request + request[:9])
        given_up = await asyncio.gather(*(is_given_up(port, each) for each in sent))
        assert given_up == [True, True, False, True]
        listening.close()

    asyncio.run(ask())


def test_it_listens_on_loopback_only_and_keeps_its_keys(config: Config) -> None:
    import psutil

    pid = int((config.state / "ready").read_text())
    addresses = {c.laddr.ip for c in psutil.Process(pid).net_connections() if c.status == "LISTEN"}
    assert addresses <= {"127.0.0.1", "::1"}
    private = [config.state / "emulator.json", *config.certificates.glob("*key*")]
    assert len(private) > 1
    for file in private:
        assert os.stat(file).st_mode & 0o077 == 0, file
    assert config.state.stat().st_mode & 0o077 == 0
