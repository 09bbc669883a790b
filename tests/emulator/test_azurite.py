"""The emulator's Blob service answers as Azurite does, or as the documentation says."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from tests.emulator.azurite_support import Ask, BlobTarget, account_sas, both, storage_client

_BLOCK = {"x-ms-blob-type": "BlockBlob"}
_IDS = ("QUFBQQ==", "QkJCQg==", "Q0NDQw==")


def _put(path: str, body: bytes = b"hello world", **headers: str) -> Ask:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Ask("PUT", "/{c}/" + path, _BLOCK | named, body)


def _block(index: int, body: bytes) -> Ask:
    return Ask("PUT", "/{c}/b", {}, body, f"comp=block&blockid={_IDS[index]}")


def _commit(*indexes: int, kind: str = "Latest", **headers: str) -> Ask:
    items = "".join(f"<{kind}>{_IDS[index]}</{kind}>" for index in indexes)
    body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{items}</BlockList>'.encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    headers = {"content-type": "text/plain"} | named
    return Ask("PUT", "/{c}/b", headers, body, "comp=blocklist", ignored=_NOT_THE_BLOBS)


def _list(query: str = "") -> Ask:
    return Ask("GET", "/{c}", query="restype=container&comp=list" + (f"&{query}" if query else ""))


_NOT_THE_BLOBS = ("content-md5",)
"""A block list has an MD5 only if the request had it, and the blob none that it was not given."""
_GET = Ask("GET", "/{c}/a")
_GET_B = Ask("GET", "/{c}/b", ignored=_NOT_THE_BLOBS)
_HEAD = Ask("HEAD", "/{c}/a")
_LONG_AGO = "Mon, 01 Jan 2001 00:00:00 GMT"
_FAR_OFF = "Fri, 01 Jan 2100 00:00:00 GMT"


def _with(ask: Ask, **headers: str) -> Ask:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return replace(ask, headers={**ask.headers, **named})


def _documented(status: int, code: str, ask: Ask) -> Ask:
    return replace(ask, documented=(status, code))


_BEYOND = (416, "InvalidRange")


SAME = {
    "a blob and its properties": [
        _put("a", x_ms_blob_content_type="text/plain", x_ms_meta_of="me", x_ms_meta_x="1"),
        _HEAD,
        _GET,
        _put("a", b"other"),
        _GET,
    ],
    "headers that a blob keeps": [
        _put(
            "a",
            x_ms_blob_content_encoding="identity",
            x_ms_blob_cache_control="no-store",
            x_ms_blob_content_disposition="attachment",
        ),
        _HEAD,
        _GET,
    ],
    "an empty blob": [
        _put("a", b""),
        _HEAD,
        _GET,
        _documented(*_BEYOND, _with(_GET, x_ms_range="bytes=0-0")),
    ],
    "names": [
        _put("a%20b/%C3%BC/c%26d"),
        Ask("GET", "/{c}/a%20b/%C3%BC/c%26d"),
        _list(),
    ],
    "ranges": [
        _put("a", b"0123456789"),
        *(_with(_GET, x_ms_range=f"bytes={range_}") for range_ in ("0-3", "2-", "4-100", "9-9")),
        _documented(*_BEYOND, _with(_GET, x_ms_range="bytes=10-")),
        _documented(*_BEYOND, _with(_GET, x_ms_range="bytes=10-20")),
        _with(_GET, range="bytes=1-2"),
        _with(_GET, range="bytes=1-2", x_ms_range="bytes=3-4"),
    ],
    "what is not there": [
        _GET,
        _HEAD,
        Ask("DELETE", "/{c}/a"),
        Ask("PUT", "/{c}/a", query="comp=metadata"),
        Ask("GET", "/not-there-at-all/a"),
        Ask("GET", "/not-there-at-all", query="restype=container&comp=list"),
        Ask("PUT", "/not-there-at-all/a", _BLOCK, b"1"),
        Ask("GET", "/not-there-at-all", query="restype=container"),
        Ask("DELETE", "/not-there-at-all", query="restype=container"),
    ],
    "blocks": [
        _block(1, b"second"),
        _block(0, b"first "),
        _GET_B,
        _commit(0, 1, x_ms_blob_content_type="text/plain", x_ms_meta_of="me"),
        _GET_B,
        Ask("HEAD", "/{c}/b"),
        _block(2, b"third"),
        _GET_B,
        _commit(2, kind="Uncommitted"),
        _GET_B,
    ],
    "block lists that are wrong": [
        _block(0, b"1"),
        _commit(0, 1),
        _documented(
            400,
            "InvalidXmlDocument",
            Ask("PUT", "/{c}/b", {}, b"<BlockList><Latest>", "comp=blocklist"),
        ),
        Ask("PUT", "/{c}/b", {}, b"1", "comp=block&blockid=%25%25"),
        _commit(0),
        _commit(),
        _GET_B,
    ],
    "metadata": [
        _put("a", x_ms_meta_one="1"),
        Ask("PUT", "/{c}/a", {"x-ms-meta-two": "2", "x-ms-meta-Three": "3"}, query="comp=metadata"),
        _HEAD,
        Ask("PUT", "/{c}/a", query="comp=metadata"),
        _HEAD,
        _list("include=metadata"),
    ],
    "conditions of writes": [
        _put("a", if_none_match="*"),
        _put("a", if_none_match="*"),
        _put("a", if_match='"0x1"'),
        _documented(412, "ConditionNotMet", _put("b", if_match="*")),
        _HEAD,
        _put("a", if_match="{etag}"),
        _put("a", if_unmodified_since=_LONG_AGO),
        _put("a", if_modified_since=_FAR_OFF),
        _put("a", if_unmodified_since=_FAR_OFF),
        Ask("DELETE", "/{c}/a", {"if-match": '"0x1"'}),
        Ask("PUT", "/{c}/a", {"if-match": '"0x1"'}, query="comp=metadata"),
    ],
    "conditions of reads": [
        _put("a"),
        _with(_GET, if_match="{etag}"),
        _with(_GET, if_match='"0x1"'),
        _with(_GET, if_none_match="{etag}"),
        _with(_GET, if_none_match='"0x1"'),
        _with(_GET, if_modified_since=_LONG_AGO),
        _with(_GET, if_modified_since=_FAR_OFF),
        _with(_GET, if_unmodified_since=_LONG_AGO),
        _with(_HEAD, if_none_match="*"),
        _with(_HEAD, if_match='"0x1"'),
    ],
    "listings": [
        *(_put(name, name.encode()) for name in ("a/b", "a/c/d", "a-b", "a0", "b")),
        _list(),
        _list("prefix=a/"),
        _list("prefix=a"),
        _list("delimiter=/"),
        _list("delimiter=/&prefix=a/"),
        _list("delimiter=/&prefix=a"),
        _list("prefix=none"),
        _list("maxresults=2"),
        _list("maxresults=5000"),
    ],
    "deleting": [
        _put("a"),
        Ask("DELETE", "/{c}/a"),
        _GET,
        Ask("DELETE", "/{c}/a"),
        _list(),
    ],
    "containers": [
        Ask("PUT", "/{c}", query="restype=container"),
        Ask("HEAD", "/{c}", query="restype=container"),
        Ask("GET", "/{c}", query="restype=container"),
        _put("a/b"),
        Ask("DELETE", "/{c}", query="restype=container"),
        Ask("GET", "/{c}/a/b"),
        _list(),
        Ask("DELETE", "/{c}", query="restype=container"),
        Ask("PUT", "/{c}", query="restype=container"),
        _list(),
    ],
    "checksums": [
        _documented(400, "Md5Mismatch", _put("a", content_md5="AAAAAAAAAAAAAAAAAAAAAA==")),
        _GET,
        _put("a", b"hello", content_md5="XUFAKrxLKna5cZ2REBfFkg=="),
        _HEAD,
    ],
}
"""Requests with an answer that is the same, in words."""


@pytest.fixture(scope="module")
def services(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[BlobTarget, BlobTarget]]:
    with both(tmp_path_factory.mktemp("blobs")) as pair:
        yield pair


def _compare(services: tuple[BlobTarget, BlobTarget], requests: list[Ask]) -> None:
    theirs, ours = (service.run(requests) for service in services)
    for ask, their, our in zip(requests, theirs, ours, strict=True):
        if ask.documented:
            assert (our["status"], our["headers"]["x-ms-error-code"]) == ask.documented, ask
        else:
            assert our == their, ask


@pytest.mark.parametrize("case", SAME)
def test_both_answer_alike(services: tuple[BlobTarget, BlobTarget], case: str) -> None:
    _compare(services, SAME[case])


def test_signatures(services: tuple[BlobTarget, BlobTarget]) -> None:
    account, key = services[0].account, services[0].key
    read = account_sas(account, key, permissions="r")
    signatures = {
        "expired": account_sas(account, key, hours=-1),
        "changed": read.replace("sp=r", "sp=rw"),
        "read": read,
        "list": account_sas(account, key, permissions="l"),
        "create": account_sas(account, key, permissions="c"),
        "another key": account_sas(account, "d3Jvbmc="),
    }
    requests = [_put("a")]
    for sas in signatures.values():
        for ask in (_GET, _put("b"), _list(), Ask("DELETE", "/{c}/a")):
            if not (sas == signatures["create"] and ask.method == "DELETE"):
                requests.append(Ask(ask.method, ask.path, ask.headers, ask.body, ask.query, sas))
    _compare(services, requests)


def test_shared_keys(services: tuple[BlobTarget, BlobTarget]) -> None:
    """The storage client with the account's key, and with a wrong one."""

    def scenario(target: BlobTarget) -> list[Any]:
        client = storage_client(target, target.key)
        container = client.create_container(f"k{id(target):x}")
        blob = container.get_blob_client("a b/ü&1")
        blob.upload_blob(b"x" * 3000, metadata={"B": "1", "a_c": "2"})
        said: list[Any] = [blob.download_blob().readall() == b"x" * 3000]
        # Azurite keeps the case of names; the header names that reach the emulator have none.
        metadata = blob.get_blob_properties().metadata
        said.append(sorted((name.lower(), value) for name, value in metadata.items()))
        pages = container.list_blobs(results_per_page=1, include=["metadata"]).by_page()
        said.append([[(each.name, each.size) for each in page] for page in pages])
        for name in ("c", "b", "a"):
            container.upload_blob(name, b"1")
        pages = container.list_blobs(results_per_page=2).by_page()
        said.append([[each.name for each in page] for page in pages])
        said.append([each.name for each in container.walk_blobs(results_per_page=1)])
        wrong = storage_client(target, "d3Jvbmc=").get_container_client(container.container_name)
        try:
            wrong.upload_blob("d", b"1")
        except HttpResponseError as error:
            said.append(error.status_code)
        return said

    assert scenario(services[0]) == scenario(services[1])
