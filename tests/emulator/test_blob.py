"""Blobs, blocks, ranges and listings as the real storage client sees them."""

from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobBlock, ContainerClient, ContentSettings

from emulator.blob_store import BlobStore
from emulator.store import Store
from tests.emulator.blob_support import Service, container, error_of, service

__all__ = ["container", "service"]  # fixtures


def test_a_blob_comes_back_with_its_properties(container: ContainerClient) -> None:
    blob = container.get_blob_client("a folder/ünïcode & <x>+1%.txt")
    blob.upload_blob(
        b"hello",
        metadata={"Upload_Status": "completed"},
        content_settings=ContentSettings("text/plain", cache_control="no-store"),
    )
    properties = blob.get_blob_properties()
    assert blob.download_blob().readall() == b"hello"
    assert properties.size == 5
    assert properties.metadata == {"upload_status": "completed"}
    assert properties.content_settings.content_type == "text/plain"
    assert properties.content_settings.cache_control == "no-store"
    assert properties.content_settings.content_md5 is not None
    assert blob.get_blob_properties().etag == properties.etag


def test_a_big_blob_travels_in_blocks_and_ranges(container: ContainerClient) -> None:
    content = bytes(range(256)) * (5 << 12) + b"the end"
    blob = container.get_blob_client("big.bin")
    blob.upload_blob(content, max_concurrency=4)
    assert blob.download_blob(max_concurrency=4).readall() == content
    assert blob.download_blob(offset=10, length=20).readall() == content[10:30]


def test_blocks_may_arrive_in_any_order(container: ContainerClient) -> None:
    blob = container.get_blob_client("blocks.txt")
    for name, content in (("c", b"3"), ("a", b"1"), ("b", b"2")):
        blob.stage_block(name, content)
    blob.commit_block_list([BlobBlock(name) for name in "abc"])
    assert blob.download_blob().readall() == b"123"
    with pytest.raises(HttpResponseError) as error:
        blob.commit_block_list([BlobBlock("a")])
    assert error_of(error) == (400, "InvalidBlockList")


def test_an_empty_blob_downloads_though_its_range_is_invalid(
    service: Service, container: ContainerClient
) -> None:
    blob = container.get_blob_client("empty")
    blob.upload_blob(b"")
    assert blob.download_blob().readall() == b""
    with pytest.raises(HttpResponseError) as error:
        blob.download_blob(offset=0, length=1)
    assert error_of(error) == (416, "InvalidRange")


def test_files_that_a_job_wrote_are_blobs(service: Service, container: ContainerClient) -> None:
    folder = service.store.path(container.container_name, "out/model")
    folder.mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}")
    blob = container.get_blob_client("out/model/MLmodel")
    first = blob.get_blob_properties()
    assert blob.download_blob().readall() == b"flavors: {}"
    assert [b.name for b in container.list_blobs("out/")] == ["out/model/MLmodel"]
    blob.set_blob_metadata({"a": "1"})
    (folder / "MLmodel").write_text("changed by the job")
    assert blob.get_blob_properties().metadata == {}
    assert blob.get_blob_properties().etag != first.etag


def test_a_listing_is_in_order_in_pages_and_by_folder(container: ContainerClient) -> None:
    names = ["a-b", "a/b", "a/c/d", "a0", "b & <c>", "b/x"]
    for name in reversed(names):
        container.upload_blob(name, name.encode(), metadata={"of": name})
    (container.get_blob_client("a/b")).set_blob_metadata({"k": "v"})
    assert [b.name for b in container.list_blobs()] == names
    pages = container.list_blobs(results_per_page=2).by_page()
    assert [[b.name for b in page] for page in pages] == [names[:2], names[2:4], names[4:]]
    # A page of more than one would show the client's own order: folders first.
    walked = container.walk_blobs(results_per_page=1)
    assert [b.name for b in walked] == ["a-b", "a/", "a0", "b & <c>", "b/"]
    assert {b.name for b in container.walk_blobs("a/")} == {"a/b", "a/c/"}
    assert [b.name for b in container.list_blobs("a/")] == ["a/b", "a/c/d"]
    assert list(container.list_blobs("nothing/here")) == []
    listed = {b.name: b for b in container.list_blobs(include=["metadata"])}
    assert listed["a/b"].metadata == {"k": "v"}
    assert listed["b & <c>"].metadata == {"of": "b & <c>"}
    assert listed["a/b"].size == 3


def test_conditions_protect_a_blob(container: ContainerClient) -> None:
    blob = container.get_blob_client("once")
    blob.upload_blob(b"1")
    with pytest.raises(ResourceExistsError):
        blob.upload_blob(b"2")
    old = blob.get_blob_properties().etag
    blob.upload_blob(b"3", overwrite=True)
    with pytest.raises(ResourceModifiedError):
        blob.upload_blob(
            b"4", overwrite=True, etag=old, match_condition=MatchConditions.IfNotModified
        )
    assert blob.download_blob().readall() == b"3"


def test_a_deleted_blob_is_gone(container: ContainerClient) -> None:
    blob = container.get_blob_client("x/y/z")
    blob.upload_blob(b"1")
    blob.delete_blob()
    with pytest.raises(ResourceNotFoundError) as error:
        blob.get_blob_properties()
    assert error_of(error) == (404, "BlobNotFound")
    assert not blob.exists()
    assert list(container.walk_blobs()) == []
    container.upload_blob("x", b"a blob where a folder was")


def test_a_blob_and_a_folder_cannot_share_a_name(container: ContainerClient) -> None:
    container.upload_blob("x/y", b"1")
    for name in ("x", "x/y/z"):
        with pytest.raises(ResourceExistsError, match="as files"):
            container.upload_blob(name, b"2")


def test_containers(service: Service, container: ContainerClient) -> None:
    assert container.exists()
    with pytest.raises(ResourceExistsError):
        container.create_container()
    missing = service.client.get_container_client("not-there")
    assert not missing.exists()
    with pytest.raises(ResourceNotFoundError) as error:
        missing.upload_blob("a", b"1")
    assert error_of(error) == (404, "ContainerNotFound")


def test_what_is_not_emulated_says_so(service: Service, container: ContainerClient) -> None:
    blob = container.get_blob_client("a")
    blob.upload_blob(b"1")
    with pytest.raises(HttpResponseError, match="comp='snapshot'") as error:
        blob.create_snapshot()
    assert error_of(error) == (501, "NotImplemented")
    with pytest.raises(HttpResponseError, match="block blobs only"):
        blob.upload_blob(b"1", blob_type="AppendBlob", overwrite=True)
    with pytest.raises(HttpResponseError, match="x-ms-tags"):
        blob.upload_blob(b"1", tags={"a": "b"}, overwrite=True)


def test_a_changed_body_is_refused(service: Service, container: ContainerClient) -> None:
    name = container.container_name
    answer = httpx.put(
        f"{service.url}/{name}/md5?{service.store.sas(name)}",
        content=b"1",
        headers={"x-ms-blob-type": "BlockBlob", "Content-MD5": quote("AAAAAAAAAAAAAAAAAAAAAA==")},
    )
    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (400, "Md5Mismatch")
    assert not container.get_blob_client("md5").exists()


def test_metadata_survives_a_new_store(service: Service, tmp_path: Path) -> None:
    documents = Store(tmp_path / "s.sqlite").document("blobs")
    BlobStore(tmp_path / "b", "a", "a2V5", documents).write_bytes("con", "x.json", b"{}")
    blob = BlobStore(tmp_path / "b", "a", "a2V5", documents).get("con", "x.json")
    assert blob is not None
    assert blob.headers == {"content-type": "application/json"}


def test_a_deleted_container_takes_its_blobs_along(
    service: Service, container: ContainerClient
) -> None:
    container.upload_blob("a/b", b"1", metadata={"k": "v"})
    container.delete_container()
    assert not container.exists()
    container.create_container()
    assert list(container.list_blobs()) == []
    container.upload_blob("a/b", b"1")
    assert container.get_blob_client("a/b").get_blob_properties().metadata == {}


def test_an_unchanged_blob_is_not_sent_again(service: Service, container: ContainerClient) -> None:
    etag = container.upload_blob("a", b"1").get_blob_properties().etag
    url = (
        f"{service.url}/{container.container_name}/a?{service.store.sas(container.container_name)}"
    )
    with httpx.Client() as client:
        for _ in range(2):
            answer = client.get(url, headers={"If-None-Match": etag})
            assert (answer.status_code, answer.content) == (304, b"")
