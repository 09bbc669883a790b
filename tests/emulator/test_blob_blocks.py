"""Blocks of uploads: written once, and always those that were acknowledged last."""

import base64
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobBlock, ContainerClient
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.blob_blocks import Blocks, join
from tests.emulator.blob_support import container, service

__all__ = ["container", "service"]  # fixtures

SIZE = 4
KEY = "box/blob"


def place_id(offset: int) -> bytes:
    """A block's id as Azure's Python client makes it: where the block goes, encoded."""
    return base64.b64encode(f"{offset:032d}".encode())


class Lost(Exception):
    """The connection ends in the middle of a block."""


class Upload:
    """The blocks of one blob, and beside them what ought to be there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.restart()
        self.there: dict[bytes, bytes] = {}
        self.files = 0

    def restart(self) -> None:
        self.blocks = Blocks(self.folder / "blocks")

    def put(self, block: bytes, content: bytes, told: int | None, lost: bool = False) -> None:
        self.files += 1
        other = self.folder / f"new-{self.files}"
        try:
            with self.blocks.writing(KEY, block, told, other) as place:
                with place.file.open("r+b" if place.file.exists() else "wb") as file:
                    file.seek(place.offset)
                    file.write(content[: len(content) // 2] if lost else content)
                if lost:
                    raise Lost
            self.there[block] = content
        except Lost:
            pass
        assert lost or not other.exists()
        other.unlink(missing_ok=True)

    def commit(self, listed: list[bytes]) -> tuple[bytes, bool]:
        """The blob of these blocks, and whether nothing had to be copied for it."""
        if file := self.blocks.whole(KEY, listed):
            content, is_whole = file.read_bytes(), True
        else:
            parts = [self.blocks.part(KEY, block) for block in listed]
            target = self.folder / "joined"
            join([part for part in parts if part], target)
            assert None not in parts
            content, is_whole = target.read_bytes(), False
        return content, is_whole


STEPS = st.one_of(
    st.tuples(
        st.just("put"),
        st.sampled_from([place_id(n) for n in (0, 2, 4, 8, 12)] + [b"a", b"\xff"]),
        st.binary(min_size=1, max_size=SIZE + 2),
        st.sampled_from(["told", "untold", "lost"]),
    ),
    st.tuples(st.just("restart")),
)


@settings(max_examples=300, deadline=None)
@given(steps=st.lists(STEPS, max_size=14), data=st.data())
def test_a_blob_is_its_blocks_as_they_were_acknowledged_last(
    steps: list[Any], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as name:
        upload = Upload(Path(name))
        for step, *given_ in steps:
            if step == "restart":
                upload.restart()
                continue
            block, content, how = given_
            upload.put(block, content, None if how == "untold" else len(content), how == "lost")
        known = sorted(upload.there)
        listed = data.draw(st.lists(st.sampled_from(known), max_size=8)) if known else []
        expected = b"".join(upload.there[block] for block in listed)
        assert upload.commit(listed)[0] == expected
        upload.blocks.drop(KEY)
        assert all(upload.blocks.part(KEY, block) is None for block in known)


def test_a_plain_upload_is_not_copied_whatever_the_order(tmp_path: Path) -> None:
    upload = Upload(tmp_path)
    ids = [place_id(offset) for offset in (0, SIZE, 2 * SIZE)]
    for number in (2, 0, 1):
        upload.put(ids[number], bytes([number]) * (SIZE if number < 2 else 1), 1 + 3 * (number < 2))
    assert upload.commit(ids) == (b"\0\0\0\0\1\1\1\1\2", True)


@pytest.mark.parametrize(
    "disturb",
    [
        lambda upload: upload.put(place_id(0), b"bbbb", 4),
        lambda upload: upload.put(place_id(2), b"b", 1),
        lambda upload: upload.put(place_id(SIZE), b"bbbb", 4, lost=True),
        lambda upload: upload.restart(),
    ],
    ids=["again", "overlap", "lost", "restart"],
)
def test_a_disturbed_upload_is_joined_from_what_was_acknowledged(
    tmp_path: Path, disturb: Callable[[Upload], None]
) -> None:
    upload = Upload(tmp_path)
    upload.put(place_id(0), b"aaaa", 4)
    disturb(upload)
    upload.put(place_id(SIZE), b"cccc", 4)
    listed = [place_id(0), place_id(SIZE)]
    assert upload.commit(listed)[0] == upload.there[place_id(0)] + b"cccc"


def test_a_write_under_way_keeps_its_file_when_the_blob_is_committed(tmp_path: Path) -> None:
    upload = Upload(tmp_path)
    upload.put(place_id(0), b"aaaa", 4)
    with upload.blocks.writing(KEY, place_id(8), 4, tmp_path / "late") as place:
        assert upload.commit([place_id(0)]) == (b"aaaa", False)
        upload.blocks.drop(KEY)
        with place.file.open("r+b") as file:
            file.seek(place.offset)
            file.write(b"late")
    assert upload.blocks.part(KEY, place_id(8)) is not None


def test_two_uploads_of_one_blob_give_one_of_them(container: ContainerClient) -> None:
    blob = container.get_blob_client("twice")
    one, two = ([base64.b64encode(f"{n}{k}".encode()).decode() for n in (1, 2)] for k in "xy")
    for ids, content in ((one, b"1"), (two, b"2")):
        for block in ids:
            blob.stage_block(block, content * 3)
    blob.commit_block_list([BlobBlock(each) for each in two])
    assert blob.download_blob().readall() == b"222222"


def test_a_block_with_a_wrong_digest_leaves_the_one_before(container: ContainerClient) -> None:
    blob = container.get_blob_client("checked")
    block = base64.b64encode(place_id(0)).decode()
    blob.stage_block(block, b"good")
    with pytest.raises(HttpResponseError, match="MD5"):
        blob.stage_block(block, b"evil", headers={"Content-MD5": "AAAA"})
    blob.commit_block_list([BlobBlock(block)])
    assert blob.download_blob().readall() == b"good"
