"""The Blob service on a loopback port, and the real client for it."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast
from uuid import uuid4

import pytest
import uvicorn
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient, ContainerClient
from starlette.requests import Request

from emulator.blob import handle
from emulator.blob_store import BlobStore
from emulator.config import Config, make_config
from emulator.identity import Tokens
from emulator.storage_accounts import StorageAccounts
from emulator.store import Store

if TYPE_CHECKING:
    from emulator.core import Emulator


@dataclass
class Service:
    """The Blob service on a loopback port, without TLS."""

    url: str
    config: Config
    store: BlobStore
    tokens: Tokens

    @property
    def client(self) -> BlobServiceClient:
        key = {"account_name": self.config.account, "account_key": self.config.account_key}
        return BlobServiceClient(
            self.url,
            credential=key,
            retry_total=0,
            max_single_put_size=1 << 20,
            max_block_size=1 << 20,
            max_single_get_size=1 << 20,
            max_chunk_get_size=1 << 20,
        )

    def new_container(self) -> ContainerClient:
        return self.client.create_container(f"test-{uuid4().hex[:12]}")

    def container(self, sas: str, name: str) -> ContainerClient:
        return ContainerClient(self.url, name, credential=sas, retry_total=0)

    def later(self, **delta: float) -> datetime:
        return datetime.now(UTC) + timedelta(**delta)


@contextmanager
def running_service(state: Path) -> Iterator[Service]:
    """Serve a Blob service for a state folder until the block ends."""
    config = make_config(state, {})
    tokens = Tokens(config)
    kept = Store(config.state / "store.sqlite")
    documents = kept.document("blobs")
    store = BlobStore(config.state / "blobs", config.account, config.account_key, documents)
    parts = SimpleNamespace(config=config, store=kept, blobs=store, tokens=tokens)
    parts.accounts = StorageAccounts(cast("Emulator", parts))

    async def app(scope, receive, send):  # type: ignore[no-untyped-def]
        scope["app"] = SimpleNamespace(state=SimpleNamespace(emulator=parts))
        request = Request(scope, receive, send)
        await (await handle(request))(scope, receive, send)

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="warning"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield Service(f"http://127.0.0.1:{listener.getsockname()[1]}", config, store, tokens)
    finally:
        server.should_exit = True
        thread.join()


def error_of(error: pytest.ExceptionInfo[HttpResponseError]) -> tuple[int | None, str]:
    code = error.value.error_code  # type: ignore[attr-defined]
    return error.value.status_code, str(getattr(code, "value", code))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for the tests of one file."""
    with running_service(tmp_path_factory.mktemp("state")) as running:
        yield running


@pytest.fixture
def container(service: Service) -> ContainerClient:
    """An empty container of its own."""
    return service.new_container()
