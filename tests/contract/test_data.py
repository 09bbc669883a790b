"""Data assets: versions, labels, archives, and what may not change."""

from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError

from tests.contract.created import Created
from tests.contract.service import Service


@pytest.fixture(scope="module")
def data(client: Any, created: Created, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Version 1 of a file."""
    file = tmp_path_factory.mktemp("data") / f"{created.prefix}.txt"
    file.write_text(f"rows of {created.prefix}")
    return _register(client, created, created.name("data"), file)


def _register(
    client: Any, created: Created, name: str, path: Path, version: str | None = None
) -> Any:
    from azure.ai.ml.entities import Data

    kind = "uri_folder" if path.is_dir() else "uri_file"
    return client.data.create_or_update(
        Data(name=name, version=version, path=str(path), type=kind, tags=created.tags)
    )


@pytest.mark.operation(
    "DataVersions_CreateOrUpdate", "BlockBlob_Upload", "Blob_SetMetadata", cost="storage"
)
def test_a_file_becomes_a_version(data: Any, created: Created) -> None:
    assert data.version == "1"
    assert data.tags == created.tags
    assert data.path.startswith("azureml://subscriptions/")
    assert data.path.endswith(f"/{created.prefix}.txt")


@pytest.mark.operation("DataVersions_Get", "DataVersions_List", cost="storage")
def test_a_version_is_found_by_number_and_by_label(client: Any, data: Any) -> None:
    assert client.data.get(data.name, version="1").path == data.path
    assert client.data.get(data.name, label="latest").version == "1"
    assert [found.version for found in client.data.list(data.name)] == ["1"]


@pytest.mark.operation("DataContainers_Get", cost="storage")
def test_versions_count_up(client: Any, created: Created, data: Any, tmp_path: Path) -> None:
    folder = tmp_path / created.prefix
    folder.mkdir()
    (folder / "a.txt").write_text(created.prefix)
    name = created.name("data")
    versions = [_register(client, created, name, folder).version for _ in range(2)]
    assert versions == ["1", "2"]
    assert client.data.get(name, label="latest").version == "2"
    assert sorted(found.version for found in client.data.list(name)) == ["1", "2"]


@pytest.mark.operation("DataContainers_List", "DataContainers_CreateOrUpdate", cost="storage")
def test_an_archived_asset_is_in_another_list(
    client: Any, created: Created, tmp_path: Path
) -> None:
    from azure.ai.ml.constants import ListViewType

    file = tmp_path / f"{created.prefix}.txt"
    file.write_text("archived")
    name = _register(client, created, created.name("data"), file).name

    def names(view: ListViewType) -> set[str]:
        return {found.name for found in client.data.list(list_view_type=view)}

    assert name in names(ListViewType.ACTIVE_ONLY)
    client.data.archive(name)
    assert name not in names(ListViewType.ACTIVE_ONLY)
    assert name in names(ListViewType.ARCHIVED_ONLY)
    assert name in names(ListViewType.ALL)
    client.data.restore(name)
    assert name in names(ListViewType.ACTIVE_ONLY)


@pytest.mark.operation("DataVersions_CreateOrUpdate", cost="storage")
def test_one_version_can_be_archived(client: Any, created: Created, tmp_path: Path) -> None:
    file = tmp_path / f"{created.prefix}.txt"
    file.write_text("one of two")
    name = created.name("data")
    for version in ("1", "2"):
        _register(client, created, name, file, version)
    client.data.archive(name, version="1")
    assert [found.version for found in client.data.list(name)] == ["2"]
    client.data.restore(name, version="1")
    assert sorted(found.version for found in client.data.list(name)) == ["1", "2"]


@pytest.mark.operation("DataVersions_CreateOrUpdate", cost="storage")
def test_description_and_tags_change_and_the_content_does_not(
    client: Any, service: Service, data: Any
) -> None:
    path = f"/data/{data.name}/versions/1"
    resource = service.send("GET", path).json()
    properties = resource["properties"] | {"description": "told later"}
    answer = service.send("PUT", path, {"properties": properties})
    assert answer.status_code == 200
    assert client.data.get(data.name, version="1").description == "told later"
    changed = service.send(
        "PUT", path, {"properties": properties | {"dataUri": data.path + ".other"}}
    )
    assert changed.status_code == 409
    assert changed.json()["error"]["code"] == "UserError"
    assert client.data.get(data.name, version="1").path == data.path


@pytest.mark.operation("DataVersions_Delete", cost="storage")
def test_a_deleted_version_is_gone(
    client: Any, service: Service, created: Created, tmp_path: Path
) -> None:
    file = tmp_path / f"{created.prefix}.txt"
    file.write_text("deleted")
    made = _register(client, created, created.name("data"), file)
    created.files.add(made.path)
    name = made.name
    assert service.send("DELETE", f"/data/{name}/versions/1").status_code == 200
    with pytest.raises(ResourceNotFoundError):
        client.data.get(name, version="1")


def test_an_asset_that_is_not_there(client: Any, service: Service, created: Created) -> None:
    name = created.name("none")
    with pytest.raises(ResourceNotFoundError):
        client.data.get(name, version="1")
    error = service.send("GET", f"/data/{name}/versions/1").json()["error"]
    assert error["code"] == "UserError"
    assert name in error["message"]
