"""The blocks of blobs that are not committed yet: acknowledged ones outlive the process.

A block whose id tells its place (Azure's Python client numbers blocks so) is written there, in one
file for the whole blob: when the block list then names just these blocks in their order, that file
becomes the blob and nothing is copied. Any other block is a file of its own. No byte of the file
for the whole blob is written twice in one life of the process, and none in a later one: a block
that comes again, or in a place that was taken before, is a file of its own, which goes before.
"""

import base64
import binascii
import hashlib
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

_CHUNK = 1 << 20
_FARTHEST = 1 << 40
_DIGITS = 32
_ENCODINGS = 3


class Part(NamedTuple):
    """Bytes of a file: one block."""

    file: Path
    offset: int
    length: int


class Place(NamedTuple):
    """Where to write a block."""

    file: Path
    offset: int


@dataclass
class _Whole:
    """The file of a blob whose blocks say their places. Offsets and lengths in bytes."""

    file: Path
    taken: dict[int, int] = field(default_factory=dict)
    """Lengths by offset, of blocks that are written or were begun."""
    blocks: dict[bytes, Part] = field(default_factory=dict)
    """The acknowledged blocks that are here and nowhere else."""
    unfinished: int = 0
    """Writes that are under way, or may be."""

    def is_free(self, offset: int, length: int) -> bool:
        # Blocks of one upload are equally long: nearly always the first question is enough.
        return offset not in self.taken and not any(
            begin < offset + length and offset < begin + size for begin, size in self.taken.items()
        )

    def is_exactly(self, blocks: Iterable[bytes]) -> bool:
        """Whether the file holds these blocks in this order and not a byte more."""
        end = 0
        for block in blocks:
            part = self.blocks.get(block)
            if part is None or part.offset != end:
                return False
            end += part.length
        return end > 0 and self.file.is_file() and self.file.stat().st_size == end


class Blocks:
    """Uncommitted blocks below a folder, by the key of their blob. Not for several threads."""

    def __init__(self, folder: Path) -> None:
        self._root = folder
        self._wholes: dict[str, _Whole] = {}

    @contextmanager
    def writing(self, key: str, block: bytes, length: int | None, other: Path) -> Iterator[Place]:
        """Where to write a block of so many bytes; it is acknowledged when the context ends well.

        `other`: a new file for a block that is one of its own; it is gone in the end.
        """
        own = self._own(key, block)
        offset = _told_offset(block)
        whole = None
        if offset is not None and length and not own.exists():
            whole = self._claim(key, offset, length)
        if whole is None or offset is None or not length:
            yield Place(other, 0)
            own.parent.mkdir(parents=True, exist_ok=True)
            other.replace(own)
            if known := self._wholes.get(key):
                known.blocks.pop(block, None)
            return
        try:
            yield Place(whole.file, offset)
        except Exception:
            whole.unfinished -= 1  # not when cancelled: a thread may still be writing
            raise
        record = own.with_suffix(".at")
        other.write_text(f"{whole.file.name} {offset} {length}")
        own.parent.mkdir(parents=True, exist_ok=True)
        other.replace(record)
        whole.unfinished -= 1
        if not own.exists():
            whole.blocks[block] = Part(whole.file, offset, length)

    def _claim(self, key: str, offset: int, length: int) -> _Whole | None:
        """The file for the whole blob with these bytes taken; None when they were before."""
        whole = self._wholes.get(key)
        if whole is None:
            folder = self._folder(key)
            folder.mkdir(parents=True, exist_ok=True)
            whole = self._wholes[key] = _Whole(folder / f"{uuid.uuid4().hex}.whole")
            whole.file.touch()
        if not whole.is_free(offset, length):
            return None
        whole.taken[offset] = length
        whole.unfinished += 1
        return whole

    def part(self, key: str, block: bytes) -> Part | None:
        """Where an acknowledged block is; None when there is no such block."""
        own = self._own(key, block)
        if own.is_file():
            return Part(own, 0, own.stat().st_size)
        try:
            name, offset, length = own.with_suffix(".at").read_text().split()
        except FileNotFoundError:
            return None
        part = Part(own.parent / name, int(offset), int(length))
        return part if part.file.is_file() else None

    def whole(self, key: str, blocks: list[bytes]) -> Path | None:
        """The file that is exactly these blocks in this order, if there is one."""
        whole = self._wholes.get(key)
        if whole is None or whole.unfinished or not whole.is_exactly(blocks):
            return None
        return whole.file

    def drop(self, key: str) -> None:
        """Forget a blob's blocks, but not what is being written at this moment."""
        whole = self._wholes.get(key)
        if whole is None or not whole.unfinished:
            self._wholes.pop(key, None)
            shutil.rmtree(self._folder(key), ignore_errors=True)
            return
        whole.blocks.clear()
        for file in self._folder(key).iterdir():
            if file != whole.file:
                file.unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget every block of every blob."""
        self._wholes.clear()
        shutil.rmtree(self._root, ignore_errors=True)
        self._root.mkdir(parents=True, exist_ok=True)

    def _folder(self, key: str) -> Path:
        return self._root / hashlib.sha256(key.encode()).hexdigest()

    def _own(self, key: str, block: bytes) -> Path:
        return self._folder(key) / block.hex()


def join(parts: Iterable[Part], target: Path) -> None:
    """Put blocks together in a new file. Can take seconds; FileNotFoundError if one is gone."""
    with target.open("wb") as joined:
        for part in parts:
            with part.file.open("rb") as file:
                file.seek(part.offset)
                left = part.length
                while left:
                    content = file.read(min(_CHUNK, left))
                    if not content:
                        raise FileNotFoundError(part.file)
                    joined.write(content)
                    left -= len(content)


def _told_offset(block: bytes) -> int | None:
    """Where a block goes, in bytes, if its id is this number, in base64 or not."""
    for _ in range(_ENCODINGS):
        if len(block) == _DIGITS and block.isdigit():
            return int(block) if int(block) < _FARTHEST else None
        try:
            block = base64.b64decode(unquote_to_bytes(block), validate=True)
        except binascii.Error:
            return None
    return None
