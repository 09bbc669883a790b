"""Operations of a workspace that the SDK seldom sends, by plain HTTP."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.service import MANAGEMENT, Service
from tests.emulator.wire_support import done, job_ended, ok, service

__all__ = ["service"]


@pytest.mark.parametrize("kind", ["codes", "components", "data", "environments", "models"])
def test_a_name_without_versions(service: Service, kind: str) -> None:
    path = f"/{kind}/unversioned"
    made = ok(service.send("PUT", path, {"properties": {"tags": {"a": "1"}}}), 201)
    assert made["properties"]["latestVersion"] is None
    again = ok(service.send("PUT", path, {"properties": {"description": "said"}}))
    assert again == ok(service.send("GET", path)) | {"systemData": again["systemData"]}
    assert again["properties"]["description"] == "said"
    assert again["properties"]["tags"] == {"a": "1"}
    assert service.send("DELETE", path).status_code == 200
    assert service.send("DELETE", path).status_code == 204
    assert service.send("GET", path).status_code == 404


@pytest.mark.parametrize("kind", ["codes", "data", "models"])
def test_each_upload_has_a_place_of_its_own(service: Service, kind: str) -> None:
    path = f"/{kind}/uploaded/versions/1/startPendingUpload"
    places = set()
    for _ in range(2):
        upload = ok(service.send("POST", path, {"pendingUploadType": "TemporaryBlobReference"}))
        reference = upload["blobReferenceForConsumption"]
        places.add(reference["blobUri"])
        container, _, signature = reference["credential"]["sasUri"].partition("?")
        file = f"{container}/folder/file.txt?{signature}"
        headers = {"x-ms-blob-type": "BlockBlob"}
        assert httpx.put(file, content=b"here", headers=headers).status_code == 201
        assert httpx.get(file).content == b"here"
    assert len(places) == 2


def test_a_workspace_is_made_changed_and_deleted(service: Service) -> None:
    path = MANAGEMENT + service.target.path.rpartition("/")[0] + "/another"
    body = {"location": "eastus", "properties": {"friendlyName": "Another"}}
    done(service, service.send("PUT", path, body))
    assert ok(service.send("GET", path))["properties"]["friendlyName"] == "Another"
    assert service.send("POST", f"{path}/resyncKeys").status_code == 200
    assert ok(service.send("POST", f"{path}/diagnose", {}))["value"]
    done(service, service.send("DELETE", path))
    assert service.send("GET", path).status_code == 404


def test_a_deployment_of_a_template_is_found_again(service: Service) -> None:
    group = service.target.path.partition("/providers/")[0]
    path = f"{MANAGEMENT}{group}/providers/Microsoft.Resources/deployments/tabled"
    kind = "Microsoft.MachineLearningServices/workspaces"
    template = {"resources": [{"type": kind, "name": "[parameters('workspaceName')]"}]}
    parameters = {"workspaceName": {"value": "templated"}, "location": {"value": "eastus"}}
    body = {"properties": {"template": template, "parameters": parameters}}
    ok(service.send("PUT", path, body), 201)
    assert ok(service.send("GET", path))["properties"]["provisioningState"] == "Succeeded"
    assert service.send("GET", f"{path}-not").status_code == 404
    done(service, service.send("DELETE", f"{MANAGEMENT}{group}/providers/{kind}/templated"))


def test_a_connection_keeps_its_secret_when_it_changes(service: Service) -> None:
    path = "/connections/tabled"
    body: dict[str, Any] = {
        "authType": "PAT",
        "category": "PythonFeed",
        "target": "https://example.test/feed",
        "credentials": {"pat": "hidden"},
    }
    made = ok(service.send("PUT", path, {"properties": body}))
    assert "hidden" not in str(made)
    change = {"authType": "PAT", "category": "PythonFeed", "target": "https://example.test/other"}
    ok(service.send("PATCH", path, {"properties": change}))
    found = ok(service.send("POST", f"{path}/listsecrets"))
    assert found["properties"]["target"] == "https://example.test/other"
    assert found["properties"]["credentials"] == {"pat": "hidden"}
    assert service.send("DELETE", path).status_code == 200


@pytest.fixture(scope="module")
def job(service: Service) -> str:
    """A job that wrote a file to its artifacts, a model to an output, and has ended."""
    workspace = service.target.path
    environment = f"{workspace}/environments/tabled/versions/1"
    service.send(
        "PUT", "/environments/tabled/versions/1", {"properties": {"image": "example.test/image"}}
    )
    properties = {
        "jobType": "Command",
        "command": "mkdir -p outputs && echo kept > outputs/kept.txt && touch ${{outputs.model}}/x",
        "computeId": f"{workspace}/computes/cpu-cluster",
        "environmentId": environment,
        "experimentName": "tabled",
        "outputs": {"model": {"jobOutputType": "custom_model"}},
        "services": {"shell": {"jobServiceType": "SSH"}},
    }
    name = "tabled-artifacts"
    ok(service.send("PUT", f"/jobs/{name}", {"properties": properties}), 201)
    assert job_ended(service, name) == "Completed"
    return name


def artifacts(service: Service, job: str, where: str) -> str:
    """The address of a job's artifacts: run history's, or the artifact service's own."""
    history = service.data_plane("history")
    if where == "history":
        return f"{history}/experiments/tabled/runs/{job}/artifacts"
    host, _, path = history.partition("/history/v1.0")
    return f"{host}/artifact/v2.0{path}/artifacts/ExperimentRun/dcid.{job}"


@pytest.mark.parametrize("where", ["history", "artifact"])
def test_the_artifacts_of_a_job(service: Service, job: str, where: str) -> None:
    base = artifacts(service, job, where)
    kept = "outputs/kept.txt"
    file = f"?path={kept}&api-version=v1.0"
    folder = "?path=outputs&api-version=v1.0"
    assert kept in {a["path"] for a in ok(service.send("GET", base))["value"]}
    inside = ok(service.send("GET", f"{base}/path{folder}"))["value"]
    assert [artifact["path"] for artifact in inside] == [kept]
    metadata = ok(service.send("GET", f"{base}/metadata{file}"))
    assert metadata["artifactId"] == f"ExperimentRun/dcid.{job}/{kept}"
    signed = ok(service.send("GET", f"{base}/artifacturi{file}"))
    assert httpx.get(signed).text == "kept\n"
    content = ok(service.send("GET", f"{base}/contentinfo{file}"))
    assert httpx.get(content["contentUri"]).text == "kept\n"
    several = ok(service.send("GET", f"{base}/prefix/contentinfo{folder}"))["value"]
    assert [httpx.get(one["contentUri"]).text for one in several] == ["kept\n"]
    assert service.send("GET", f"{base}/metadata?path=none&api-version=v1.0").status_code == 404
    assert service.send("GET", f"{base}/metadata").status_code == 400


def test_where_the_model_of_a_job_is(service: Service, job: str) -> None:
    history = service.data_plane("history")
    asked = {"runId": job, "selectRunMetadata": True}
    run = ok(service.send("POST", f"{history}/rundata", asked))["runMetadata"]
    asset = run["outputs"]["model"]["assetId"]
    host, _, path = history.partition("/history/v1.0")
    address = f"{host}/modelregistry/v1.0{path}/models/batchGetResolvedUris"
    found = ok(service.send("POST", address, {"values": [asset]}))["values"]
    assert f"/{job}/" in found[asset]["path"]
    assert service.send("POST", address, {"values": ["azureml://none"]}).status_code == 400


def test_the_services_of_a_job(service: Service, job: str) -> None:
    address = f"{service.data_plane('history')}/runs/{job}/serviceinstances/0"
    found = ok(service.send("GET", address))["instances"]
    assert found["Studio"]["status"] == "Running"
    assert found["shell"]["error"]["error"]["code"] == "OperationNotSupported"


def test_a_container_is_made_by_its_account(service: Service, tmp_path: Path) -> None:
    from azure.storage.blob import BlobServiceClient

    store = ok(service.send("GET", "/datastores/workspaceblobstore"))["properties"]
    key = ok(service.send("POST", "/datastores/workspaceblobstore/listSecrets"))["key"]
    account = BlobServiceClient(f"https://{store['accountName']}.blob.core.windows.net", key)
    container = account.create_container("tabled-container")
    container.upload_blob("a.txt", b"a")
    assert [blob.name for blob in container.list_blobs()] == ["a.txt"]
