"""How the tests of hostile clients speak to the emulator: past every library that tidies up."""

import socket
import ssl
from contextlib import suppress
from urllib.parse import urlsplit

import requests

from emulator.config import Config, load_config
from emulator.identity import MANAGEMENT, STORAGE, Tokens
from tests.emulator.running import RunningEmulator

ARM = "management.azure.com"
API_VERSION = {"api-version": "2024-10-01"}


def connect_tls(config: Config, host: str = ARM) -> ssl.SSLSocket:
    """A tunnel through the proxy with TLS in it, for bytes that no HTTP library would send."""
    proxy = urlsplit(config.proxy_url)
    plain = socket.create_connection((proxy.hostname or "", proxy.port or 0), timeout=20)
    plain.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
    assert plain.recv(4096).startswith(b"HTTP/1.1 200")
    context = ssl.create_default_context(cafile=str(config.ca_bundle))
    return context.wrap_socket(plain, server_hostname=host)


def all_received(connection: ssl.SSLSocket) -> bytes:
    received = b""
    with suppress(OSError):
        while part := connection.recv(65536):
            received += part
    return received


def blob_request(config: Config, method: str, rest: str) -> requests.Response:
    """A request to the default container; `rest` is as it is written in the address."""
    url = f"https://{config.blob_host}/{config.blob_container}/{rest}"
    request = requests.Request(method, url, data=b"x" if method == "PUT" else None).prepare()
    request.url = url.replace("/?", "?")
    token = Tokens(config).issue(STORAGE[0], config.client_id)
    headers = {"x-ms-version": "2023-11-03", "x-ms-blob-type": "BlockBlob"}
    request.headers.update({"Authorization": f"Bearer {token}", **headers})
    with requests.Session() as session:
        proxies = {"https": config.proxy_url}
        return session.send(request, verify=str(config.ca_bundle), proxies=proxies, timeout=10)


def config_of(emulator: RunningEmulator) -> Config:
    config = load_config(emulator.state)
    assert config is not None
    return config


def signed_session(config: Config) -> requests.Session:
    """A session that may ask the resource manager."""
    session = requests.Session()
    # Requests that are prepared by hand do not look at the environment.
    session.verify, session.proxies = str(config.ca_bundle), {"https": config.proxy_url}
    token = Tokens(config).issue(MANAGEMENT[0], config.client_id)
    session.headers["Authorization"] = f"Bearer {token}"
    return session
