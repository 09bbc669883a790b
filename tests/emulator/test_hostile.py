"""Clients that mean no good, or have lost their way: huge bodies, odd names, no end of sending."""

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from urllib.parse import urlsplit

import pytest
import requests

from emulator.config import Config, load_config
from emulator.identity import MANAGEMENT, Tokens
from emulator.limits import MOST_BYTES
from tests.emulator.running import RunningEmulator

ARM = "management.azure.com"
API_VERSION = {"api-version": "2024-10-01"}


@pytest.fixture(scope="module")
def config(emulator: RunningEmulator) -> Config:
    config = load_config(emulator.state)
    assert config is not None
    return config


@pytest.fixture(scope="module")
def session(config: Config) -> requests.Session:
    session = requests.Session()
    # Requests that are prepared by hand do not look at the environment.
    session.verify, session.proxies = str(config.ca_bundle), {"https": config.proxy_url}
    token = Tokens(config).issue(MANAGEMENT[0], config.client_id)
    session.headers["Authorization"] = f"Bearer {token}"
    return session


def _connection(config: Config, host: str = ARM) -> ssl.SSLSocket:
    """A tunnel through the proxy with TLS in it, for bytes that no HTTP library would send."""
    proxy = urlsplit(config.proxy_url)
    plain = socket.create_connection((proxy.hostname or "", proxy.port or 0), timeout=20)
    plain.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
    assert plain.recv(4096).startswith(b"HTTP/1.1 200")
    context = ssl.create_default_context(cafile=str(config.ca_bundle))
    return context.wrap_socket(plain, server_hostname=host)


def _answer(connection: ssl.SSLSocket) -> bytes:
    received = b""
    with suppress(OSError):
        while part := connection.recv(65536):
            received += part
    return received


def _zeros(count: int) -> Iterator[bytes]:
    for _ in range(count >> 20):
        yield b"0" * (1 << 20)


def test_a_body_that_is_too_long_is_refused(config: Config, session: requests.Session) -> None:
    url = f"https://{ARM}{config.workspace_path}/jobs/huge"
    with closing(_connection(config)) as connection:
        head = f"PUT {config.workspace_path}/jobs/huge?api-version=2024-01-01 HTTP/1.1\r\n"
        token = session.headers["Authorization"]
        head += f"Host: {ARM}\r\nAuthorization: {token}\r\nContent-Length: {1 << 40}\r\n\r\n"
        connection.sendall(head.encode())
        assert _answer(connection).startswith(b"HTTP/1.1 413")
    # Without a length told, it is counted.
    with suppress(requests.ConnectionError):  # it may be told before all is sent
        answer = session.put(url, params=API_VERSION, data=_zeros(MOST_BYTES + (2 << 20)))
        assert answer.status_code == 413
    assert session.get(url, params=API_VERSION, timeout=10).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/..%2f..%2f..%2fetc",
        "/jobs/%00",
        "/data/a%0d%0aX-Injected:%201/versions/1",
        "/models/..%5c..%5cx/versions/1",
        "/environments/%2e%2e/versions/%2e%2e",
    ],
)
def test_names_lead_nowhere(config: Config, session: requests.Session, path: str) -> None:
    url = f"https://{ARM}{config.workspace_path}{path}?api-version=2024-10-01"
    body = {"properties": {"jobType": "Command", "command": "true", "dataUri": "x", "image": "x"}}
    for method in ("GET", "PUT", "DELETE"):
        request = requests.Request(method, url, json=body).prepare()
        request.url = url  # as it is written: requests would tidy it up
        request.headers.update({"Authorization": str(session.headers["Authorization"])})
        answer = session.send(request, timeout=10)
        assert answer.status_code < 500 or answer.status_code == 501, (method, answer.text)
        assert "X-Injected" not in answer.headers
    assert not (config.state.parent / "etc").exists()


def test_a_header_with_a_line_in_it_breaks_off(config: Config) -> None:
    with closing(_connection(config)) as connection:
        connection.sendall(
            f"GET /discovery HTTP/1.1\r\nHost: {config.api_host}\r\nx-ms-client-request-id: a\n"
            " b\r\nX: \x00\r\n\r\n".encode()
        )
        assert _answer(connection)[:12] in (b"HTTP/1.1 400", b"")


def test_requests_that_are_none(config: Config, session: requests.Session) -> None:
    for junk in (b"\x16\x03\x01" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\n" * 5000):
        with closing(_connection(config)) as connection:
            connection.sendall(junk)
            connection.settimeout(3)  # nothing need be said to one who says nothing
            assert _answer(connection)[:12] in (b"HTTP/1.1 400", b"")
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
            slow += pool.map(lambda _: _connection(config), range(200))
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
