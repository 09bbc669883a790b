"""Model assets."""

from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError

from tests.contract.created import Created
from tests.contract.service import Service


def _register(
    client: Any, created: Created, name: str, path: Path, version: str | None = None
) -> Any:
    from azure.ai.ml.entities import Model

    return client.models.create_or_update(
        Model(
            name=name,
            version=version,
            path=str(path),
            type="custom_model",
            tags=created.tags,
            properties={"written": "by hand"},
        )
    )


@pytest.fixture(scope="module")
def weights(created: Created, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / f"{created.prefix}-model"
    folder.mkdir()
    (folder / "weights.txt").write_text(created.prefix)
    return folder


@pytest.fixture(scope="module")
def model(client: Any, created: Created, weights: Path) -> Any:
    return _register(client, created, created.name("model"), weights)


@pytest.mark.operation("ModelVersions_CreateOrUpdate", cost="storage")
def test_a_folder_becomes_a_version(model: Any, created: Created) -> None:
    assert model.version == "1"
    assert model.type == "custom_model"
    assert model.tags == created.tags
    assert model.properties["written"] == "by hand"


@pytest.mark.operation(
    "ModelVersions_Get", "ModelVersions_List", "ModelContainers_Get", cost="storage"
)
def test_versions_and_labels(client: Any, created: Created, model: Any, weights: Path) -> None:
    assert client.models.get(model.name, version="1").path == model.path
    second = _register(client, created, model.name, weights)
    assert second.version == "2"
    assert client.models.get(model.name, label="latest").version == "2"
    assert sorted(m.version for m in client.models.list(model.name)) == ["1", "2"]


@pytest.mark.operation("ModelContainers_List", "ModelContainers_CreateOrUpdate", cost="storage")
def test_archive_and_restore(client: Any, created: Created, weights: Path) -> None:
    from azure.ai.ml.constants import ListViewType

    name = _register(client, created, created.name("model"), weights).name
    client.models.archive(name)
    assert name not in {m.name for m in client.models.list()}
    archived = client.models.list(list_view_type=ListViewType.ARCHIVED_ONLY)
    assert name in {m.name for m in archived}
    client.models.restore(name)
    assert name in {m.name for m in client.models.list()}


@pytest.mark.operation("ModelVersions_Get", "Blob_Download", cost="storage")
def test_a_model_is_downloaded(client: Any, created: Created, model: Any, tmp_path: Path) -> None:
    client.models.download(model.name, version="1", download_path=str(tmp_path))
    files = [file for file in tmp_path.rglob("weights.txt")]
    assert [file.read_text() for file in files] == [created.prefix]


def test_a_version_keeps_its_files(client: Any, service: Service, model: Any) -> None:
    path = f"/models/{model.name}/versions/1"
    properties = service.send("GET", path).json()["properties"]
    answer = service.send(
        "PUT", path, {"properties": properties | {"modelUri": f"{model.path}.other"}}
    )
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "UserError"
    assert client.models.get(model.name, version="1").path == model.path


@pytest.mark.operation("ModelVersions_Delete", cost="storage")
def test_a_deleted_version_is_gone(
    client: Any, service: Service, created: Created, weights: Path
) -> None:
    name = _register(client, created, created.name("model"), weights).name
    assert service.send("DELETE", f"/models/{name}/versions/1").status_code == 200
    with pytest.raises(ResourceNotFoundError):
        client.models.get(name, version="1")


def test_a_model_that_is_not_there(service: Service, created: Created) -> None:
    name = created.name("none")
    answer = service.send("GET", f"/models/{name}")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "UserError"
    assert answer.json()["error"]["message"] == "The specified resource was not found."
