"""Two Blob services that shall answer alike: Azurite, and the emulator's own."""

import os
import shutil
import socket
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
import requests
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import (
    AccountSasPermissions,
    BlobServiceClient,
    ResourceTypes,
    generate_account_sas,
)
from requests.adapters import HTTPAdapter

from emulator.config import Config, free_ports
from tests.emulator.blob_support import running_service
from tests.emulator.running import ROOT

FOLDER = ROOT / ".local" / "azurite"
PACKAGE = "azurite@3.35.0"
_VERSION = "2021-12-02"
_SAME = (
    *("content-type", "content-length", "content-range", "content-md5", "content-encoding"),
    *("cache-control", "content-disposition", "accept-ranges"),
    *("x-ms-blob-type", "x-ms-blob-content-md5", "x-ms-error-code"),
    "x-ms-request-server-encrypted",
)
"""Headers whose values are compared."""
_LISTED = ("Name", *(f"Properties/{n}" for n in ("Content-Length", "Content-Type", "BlobType")))
_THERE = ("etag", "last-modified", "x-ms-request-id", "date")
"""Headers that both have, or neither."""


@dataclass(frozen=True)
class Ask:
    """A request. In its parts `{c}` is a container of its own, `{etag}` the last ETag seen."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    query: str = ""
    sas: str | None = None
    """A signature other than the one that allows everything."""
    documented: tuple[int, str] | None = None
    """Status and code that the service's documentation gives where Azurite answers otherwise."""
    ignored: tuple[str, ...] = ()
    """Headers that Azurite gives otherwise than the documentation."""


@dataclass
class BlobTarget:
    """A Blob service on a loopback port that believes to be Azure's."""

    url: str
    account: str
    key: str

    @property
    def sas(self) -> str:
        return account_sas(self.account, self.key)

    def run(self, requests: list[Ask]) -> list[dict[str, Any]]:
        """Send requests, one after the other; gives what of the answers has to be alike."""
        container, etag, answers = f"c{uuid4().hex[:12]}", "", []
        with httpx.Client(base_url=self.url, timeout=30) as client:
            created = self._send(client, Ask("PUT", "/{c}", query="restype=container"), container)
            assert created.status_code == 201
            for ask in requests:
                answer = self._send(client, ask, container, etag)
                etag = answer.headers.get("etag", etag)
                answers.append(_essence(ask, answer, container))
        return answers

    def _send(
        self, client: httpx.Client, ask: Ask, container: str, etag: str = ""
    ) -> httpx.Response:
        query = "&".join(
            part for part in (ask.query, self.sas if ask.sas is None else ask.sas) if part
        )
        request = client.build_request(
            ask.method, f"{ask.path.replace('{c}', container)}?{query}", content=ask.body
        )
        request.headers["host"] = f"{self.account}.blob.core.windows.net"
        request.headers["x-ms-version"] = _VERSION
        request.headers.setdefault("content-length", str(len(ask.body)))
        if "content-type" not in ask.headers and ask.body:
            request.headers["content-type"] = "application/octet-stream"
        for name, value in ask.headers.items():
            request.headers[name] = value.replace("{etag}", etag)
        return client.send(request)


def account_sas(account: str, key: str, *, permissions: str = "rwdlac", hours: float = 1) -> str:
    return generate_account_sas(
        account,
        key,
        ResourceTypes(container=True, object=True),
        AccountSasPermissions.from_string(permissions),  # type: ignore[no-untyped-call]
        datetime.now(UTC) + timedelta(hours=hours),
    )


def _essence(ask: Ask, answer: httpx.Response, container: str) -> dict[str, Any]:
    # Azurite writes its XML and its errors otherwise; what they say is compared.
    said = {name: answer.headers.get(name) for name in _SAME if name not in ask.ignored}
    said |= {name: value for name, value in answer.headers.items() if name.startswith("x-ms-meta-")}
    body: Any = answer.content
    if answer.status_code >= 300 or body.lstrip(b"\xef\xbb\xbf").startswith(b"<?xml"):
        said["content-length"] = said["content-type"] = None
        body = _xml(body, container)
        # Azurite has one code for what is not authenticated and what is not allowed.
        if body == said["x-ms-error-code"] == "AuthorizationFailure":
            body = said["x-ms-error-code"] = "AuthenticationFailed"
    if answer.status_code != 206:
        said["x-ms-blob-content-md5"] = None  # of a whole blob it would be Content-MD5 again
    if ask.method == "HEAD" and "restype=container" in ask.query:
        said["content-length"] = None
    return {
        "ask": f"{ask.method} {ask.path}?{ask.query}",
        "status": answer.status_code,
        "headers": said,
        "has": {name: name in answer.headers for name in _THERE},
        "body": body,
    }


def _xml(body: bytes, container: str) -> Any:
    """What an error or a listing says, without what is different every time."""
    if not body:
        return None
    root = ET.fromstring(body.decode("utf-8-sig"))
    if root.tag == "Error":
        return root.findtext("Code")
    blobs = root.find("Blobs")
    return {
        "blobs": sorted(  # Azurite puts the prefixes first
            (
                item.tag,
                *(item.findtext(name) or "" for name in _LISTED),
                str({each.tag: each.text for each in item.findall("Metadata/*")}),
            )
            for item in (blobs if blobs is not None else ())
        ),
        "more": bool(root.findtext("NextMarker")),
        "prefix": root.findtext("Prefix") or "",
        "container": root.get("ContainerName") == container,
    }


def find_azurite() -> Path:
    """Azurite's program; the test is skipped when it is not here."""
    program = FOLDER / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    if not shutil.which("node"):
        pytest.skip("node is not on this machine")
    if not program.exists():
        if os.environ.get("AZURITE") != "install" or not shutil.which("npm"):
            pytest.skip("Azurite is not installed: make azurite, or AZURITE=install")
        FOLDER.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--no-save", "--prefix", str(FOLDER), PACKAGE]
        subprocess.run(command, check=True, timeout=300, capture_output=True)
    return program


@contextmanager
def azurite(config: Config) -> Iterator[BlobTarget]:
    """Azurite with the account of a configuration, until the block ends."""
    (port,) = free_ports(1)
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    flags = ["--silent", "--skipApiVersionCheck", "--disableTelemetry", "--inMemoryPersistence"]
    process = subprocess.Popen(
        ["node", str(find_azurite()), *options, *flags],
        env={**os.environ, "AZURITE_ACCOUNTS": f"{config.account}:{config.account_key}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, "Azurite ended"
                assert time.monotonic() < deadline, "Azurite did not start"
                time.sleep(0.1)
        yield BlobTarget(f"http://127.0.0.1:{port}", config.account, config.account_key)
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextmanager
def both(folder: Path) -> Iterator[tuple[BlobTarget, BlobTarget]]:
    """Azurite and the emulator's own Blob service, with one account and key."""
    find_azurite()
    with (
        running_service(folder / "own") as own,
        azurite(own.config) as other,
    ):
        yield other, BlobTarget(own.url, own.config.account, own.config.account_key)


class _Redirected(HTTPAdapter):
    """Sends what is for the account's host to a loopback port, with the Host header as it was."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def send(self, request: Any, **options: Any) -> Any:  # type: ignore[override]
        parts = urlsplit(request.url)
        request.headers["Host"] = parts.netloc
        request.url = f"{self._url}{parts.path}" + (f"?{parts.query}" if parts.query else "")
        return super().send(request, **options)


def storage_client(target: BlobTarget, key: str) -> BlobServiceClient:
    """The real storage client with a shared key, small blocks, no retries."""
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", _Redirected(target.url))
    return BlobServiceClient(
        f"http://{target.account}.blob.core.windows.net",
        credential={"account_name": target.account, "account_key": key},
        transport=RequestsTransport(session=session, session_owner=False),
        retry_total=0,
        max_single_put_size=1024,
        max_block_size=1024,
    )
