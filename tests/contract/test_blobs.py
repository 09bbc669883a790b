"""Files through a workspace's datastore: up with an asset, down with the storage client."""

from pathlib import Path
from typing import Any

import pytest

from tests.contract.created import Created
from tests.contract.service import Service


@pytest.fixture(scope="module")
def folder(created: Created, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of several files, one of them empty."""
    folder = tmp_path_factory.mktemp("blobs") / f"{created.prefix}-folder"
    (folder / "deeper").mkdir(parents=True)
    (folder / "a.txt").write_text(created.prefix)
    (folder / "empty").touch()
    (folder / "deeper" / "ünïcode & b.bin").write_bytes(bytes(range(256)) * 4096)
    return folder


@pytest.fixture(scope="module")
def uploaded(client: Any, created: Created, folder: Path) -> Any:
    from azure.ai.ml.entities import Data

    return client.data.create_or_update(
        Data(name=created.name("files"), path=str(folder), type="uri_folder", tags=created.tags)
    )


@pytest.fixture(scope="module")
def container(client: Any, service: Service) -> Any:
    """The default datastore's container, opened as the SDK opens it."""
    from azure.storage.blob import ContainerClient

    datastore = client.datastores.get("workspaceblobstore")
    secrets = service.send(
        "POST",
        "/datastores/workspaceblobstore/listSecrets",
        {"expirableSecret": True, "expireAfterHours": 1},
    ).json()
    return ContainerClient(
        f"https://{datastore.account_name}.blob.core.windows.net",
        datastore.container_name,
        credential=secrets.get("sasToken") or secrets["key"],
    )


def _prefix(uploaded: Any) -> str:
    return str(uploaded.path).partition("/paths/")[2].rstrip("/") + "/"


@pytest.mark.operation(
    "BlockBlob_Upload", "Blob_GetProperties", "Container_ListBlobs", cost="storage"
)
def test_an_uploaded_folder_is_listed(uploaded: Any, container: Any) -> None:
    prefix = _prefix(uploaded)
    names = {blob.name.removeprefix(prefix) for blob in container.list_blobs(prefix)}
    assert names == {"a.txt", "empty", "deeper/ünïcode & b.bin"}
    assert container.get_blob_client(f"{prefix}a.txt").get_blob_properties().size > 0
    assert {b.name.removeprefix(prefix) for b in container.walk_blobs(prefix)} == {
        "a.txt",
        "empty",
        "deeper/",
    }


@pytest.mark.operation("Container_ListBlobs", cost="storage")
def test_a_listing_comes_in_pages(uploaded: Any, container: Any) -> None:
    pages = container.list_blobs(_prefix(uploaded), results_per_page=1).by_page()
    assert [len(list(page)) for page in pages] == [1, 1, 1]


@pytest.mark.operation("Blob_Download", cost="storage")
def test_files_come_back_as_they_were(uploaded: Any, container: Any, folder: Path) -> None:
    prefix = _prefix(uploaded)
    for file in (file for file in folder.rglob("*") if file.is_file()):
        blob = container.get_blob_client(prefix + file.relative_to(folder).as_posix())
        assert blob.download_blob().readall() == file.read_bytes()
    blob = container.get_blob_client(f"{prefix}a.txt")
    assert blob.download_blob(offset=2, length=4).readall() == (folder / "a.txt").read_bytes()[2:6]


@pytest.mark.operation("Blob_SetMetadata", cost="storage")
def test_the_same_content_is_uploaded_once(
    client: Any, created: Created, uploaded: Any, folder: Path
) -> None:
    from azure.ai.ml.entities import Data

    again = client.data.create_or_update(
        Data(name=created.name("files"), path=str(folder), type="uri_folder", tags=created.tags)
    )
    assert _prefix(again) == _prefix(uploaded)


@pytest.mark.operation("Blob_Download", cost="storage")
def test_the_sdk_downloads_by_address(
    uploaded: Any, client: Any, tmp_path: Path, folder: Path
) -> None:
    import azure.ai.ml._artifacts._artifact_utilities as artifacts

    artifacts.download_artifact_from_aml_uri(
        uri=uploaded.path, destination=str(tmp_path), datastore_operation=client.datastores
    )
    assert (tmp_path / "a.txt").read_bytes() == (folder / "a.txt").read_bytes()
    assert (tmp_path / "empty").read_bytes() == b""


@pytest.mark.operation("BlockBlob_StageBlock", "BlockBlob_CommitBlockList", cost="storage")
def test_a_big_file_travels_in_blocks(uploaded: Any, container: Any, created: Created) -> None:
    from azure.storage.blob import BlobBlock

    blob = container.get_blob_client(f"{_prefix(uploaded)}{created.prefix}.blocks")
    for name, content in (("b", b"2"), ("a", b"1")):
        blob.stage_block(name, content)
    blob.commit_block_list([BlobBlock("a"), BlobBlock("b")])
    assert blob.download_blob().readall() == b"12"
    blob.delete_blob()


@pytest.mark.operation("Blob_Delete", cost="storage")
def test_a_deleted_file_is_gone(uploaded: Any, container: Any, created: Created) -> None:
    from azure.core.exceptions import ResourceNotFoundError

    blob = container.get_blob_client(f"{_prefix(uploaded)}{created.prefix}.gone")
    blob.upload_blob(b"1")
    blob.delete_blob()
    with pytest.raises(ResourceNotFoundError) as error:
        blob.download_blob()
    assert "ErrorCode:BlobNotFound" in str(error.value)


def test_a_wrong_signature_opens_nothing(uploaded: Any, container: Any) -> None:
    import httpx

    address = container.get_blob_client(f"{_prefix(uploaded)}a.txt").url
    answer = httpx.get(address.partition("?")[0] + "?sv=2021-12-02&sr=c&sp=r&sig=AAAA")
    assert answer.status_code == 403
    assert answer.headers["x-ms-error-code"] == "AuthenticationFailed"
