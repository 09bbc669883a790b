"""What a registry can do with each kind of asset, by plain HTTP: as its OpenAPI names it."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.service import MANAGEMENT, Service
from tests.emulator.wire_support import done, ok, service

__all__ = ["service"]

VERSION = "2021-10-01-dataplanepreview"
NAME = "tabled"
FILES = "https://localstorage.blob.core.windows.net/tabled/files"
SPEC = {
    "type": "command",
    "command": "true",
    "environment": f"azureml://registries/{NAME}/environments/asset/versions/1",
}
KINDS: dict[str, dict[str, Any]] = {
    "environments": {"image": "example.test/image"},
    "codes": {"codeUri": FILES},
    "components": {"componentSpec": SPEC},
    "data": {"dataType": "uri_folder", "dataUri": FILES},
    "models": {"modelType": "custom_model", "modelUri": FILES},
}
"""By kind, the least that a version says."""
UPLOADED = ("codes", "data", "models")


def group(service: Service) -> str:
    return f"{MANAGEMENT}{service.target.path.rpartition('/workspaces/')[0]}/registries"


@pytest.fixture(scope="module")
def registry(service: Service) -> Iterator[str]:
    """The address of the service of a registry that was made for this."""
    own = f"{group(service)}/{NAME}"
    done(service, service.send("PUT", own, {"location": "eastus", "properties": {}}))
    found = ok(service.send("GET", own))["properties"]["discoveryUrl"]
    place = ok(service.send("GET", found))["primaryRegionResourceProviderUri"]
    yield f"{place}mferp/managementfrontend{own.removeprefix(MANAGEMENT)}"
    done(service, service.send("DELETE", own))


@pytest.mark.parametrize("kind", KINDS)
def test_an_asset_from_its_name_to_its_end(service: Service, registry: str, kind: str) -> None:
    def send(method: str, path: str, body: Any = None) -> Any:
        return service.send(method, f"{registry}/{kind}{path}", body, version=VERSION)

    made = send("PUT", "/asset", {"properties": {"description": "first"}})
    assert ok(made, 201)["properties"]["description"] == "first"
    if kind in UPLOADED:
        upload = ok(send("POST", "/asset/versions/1/startPendingUpload", {}))
        assert upload["blobReferenceForConsumption"]["credential"]["sasUri"]
    body = {"properties": {**KINDS[kind], "tags": {"a": "1"}}}
    version = ok(send("PUT", "/asset/versions/1", body), 201)
    assert version["id"] == f"azureml://registries/{NAME}/{kind}/asset/versions/1"
    assert version["properties"]["tags"] == {"a": "1"}
    ok(send("PUT", "/asset/versions/2", body), 201)
    assert [v["name"] for v in ok(send("GET", "/asset/versions"))["value"]] == ["2", "1"]
    again = send("PUT", "/asset", {"properties": {"description": "second"}})
    assert ok(again)["properties"]["latestVersion"] == "2"
    container = ok(send("GET", "/asset"))
    assert container["properties"]["description"] == "second"
    assert container["name"] in [c["name"] for c in ok(send("GET", ""))["value"]]
    assert send("DELETE", "/asset/versions/2").status_code == 200
    assert send("DELETE", "/asset/versions/2").status_code == 204
    assert send("GET", "/asset/versions/2").status_code == 404
    assert ok(send("GET", "/asset"))["properties"]["latestVersion"] == "1"
    assert send("DELETE", "/asset").status_code == 200
    assert send("GET", "/asset").status_code == 404
    assert send("GET", "/asset/versions/1").status_code == 404


def test_a_registry_is_changed_and_found(service: Service, registry: str) -> None:
    own = f"{group(service)}/{NAME}"
    ok(service.send("PATCH", own, {"tags": {"team": "red"}}))
    assert ok(service.send("GET", own))["tags"] == {"team": "red"}
    subscription = group(service).partition("/resourceGroups/")[0]
    address = f"{subscription}/providers/Microsoft.MachineLearningServices/registries"
    assert NAME in {found["name"] for found in service.pages(address)}


@pytest.mark.parametrize("where", ["datarefs", "datareferences"])
def test_an_uploaded_file_is_read_with_a_signature(
    service: Service, registry: str, where: str
) -> None:
    start = f"{registry}/data/read/versions/1/startPendingUpload"
    place = ok(service.send("POST", start, {}, version=VERSION))["blobReferenceForConsumption"]
    asset = f"azureml://registries/{NAME}/data/read/versions/1"
    body = {"assetId": asset, "blobUri": f"{place['blobUri']}/file"}
    found = ok(service.send("POST", f"{registry}/{where}/read/versions/1", body, version=VERSION))
    reference = found["blobReferenceForConsumption"]
    assert reference["blobUri"] == body["blobUri"]
    assert reference["credential"]["credentialType"] == "SAS"
