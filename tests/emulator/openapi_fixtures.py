"""What the tests against the OpenAPI share: the tap on the wire, and the comparison."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.emulator.openapi_support import SPECIFICATIONS, OpenApi

needs_specifications = pytest.mark.skipif(
    not SPECIFICATIONS.is_dir(),
    reason="needs the published OpenAPI: its folder is named by AZUREML_OPENAPI",
)

_REGISTRIES = "/mferp/managementfrontend"
UNPUBLISHED = {
    # The service answers these; the specification does not know them.
    "properties.properties.enableBatchPrivateLink",
    "properties.system_metadata",
    "etag",
    "properties.creationTime",
    "properties.linkedModelInventoryArmId",
    "properties.sasGetterUri",
    "properties.sdkTelemetryAppInsightsKey",
    "properties.softDeleteEnabled",
    "properties.originAssetId",
}


@dataclass(frozen=True)
class Exchange:
    """What was asked of the resource manager or the data plane, and the answer."""

    method: str
    path: str
    status: int
    body: Any


def hear(heard: list[Exchange]) -> pytest.MonkeyPatch:
    """Write down every exchange of this process from here on, until the patch is undone."""
    send = requests.Session.send

    def listen(session: requests.Session, request: Any, **options: Any) -> requests.Response:
        answer = send(session, request, **options)
        url = urlsplit(request.url)
        if url.hostname in ("management.azure.com", "eastus.api.azureml.ms"):
            body = json.loads(answer.content) if answer.content else None
            heard.append(Exchange(request.method, url.path, answer.status_code, body))
        return answer

    patch = pytest.MonkeyPatch()
    patch.setattr(requests.Session, "send", listen)
    return patch


@pytest.fixture(scope="module")
def api() -> OpenApi:
    return OpenApi()


@pytest.fixture(scope="module")
def exchanges(emulator: object) -> Iterator[list[Exchange]]:
    """All that is asked and answered from here on, in order."""
    heard: list[Exchange] = []
    patch = hear(heard)
    yield heard
    patch.undo()


@pytest.fixture
def check(api: OpenApi, exchanges: list[Exchange]) -> Callable[..., None]:
    """Compares what was heard during the test; gets the operations that it must have met."""
    exchanges.clear()

    def check(*operations: str) -> None:
        met, problems = set(), []
        for exchange in exchanges:
            operation = api.find(exchange.method, exchange.path.removeprefix(_REGISTRIES))
            if operation is None:
                continue
            met.add(operation.name)
            problems += [
                f"{operation.name} {exchange.status}: {problem}"
                for problem in api.problems(operation, exchange.status, exchange.body)
                if not any(problem.place.endswith(known) for known in UNPUBLISHED)
            ]
        assert not problems, "\n".join(sorted(set(problems)))
        assert set(operations) <= met, f"never asked: {', '.join(set(operations) - met)}"

    return check


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "rows.csv").write_text("a,b\n1,2\n")
    return folder
