"""Blobs as plain files: a container is a folder, a blob a file in it, a prefix a folder.

What a file cannot hold (content type, metadata, ETag) is a document beside it. A file that
something else wrote or changed has no such document, or a stale one: it is then a blob with the
defaults, derived from the file itself.
"""

import mimetypes
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from emulator.blob_blocks import Blocks
from emulator.blob_descriptions import Descriptions
from emulator.blob_names import LONGEST_PART, fits_a_file, names_a_file, walk
from emulator.blob_signatures import service_sas
from emulator.clock import CLOCK
from emulator.store import Document

_CONTAINER = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,61})[a-z0-9]")
_LONGEST_NAME = 1024


class BlobError(Exception):
    """An answer of the Blob service other than success: status, code, and what a person reads."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        detail: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.detail = detail
        self.headers = headers or {}


@dataclass(frozen=True)
class Blob:
    """What is known about one blob. Sizes in bytes, times in UTC."""

    name: str
    file: Path
    size: int
    etag: str
    modified: datetime
    created: datetime
    headers: dict[str, str] = field(default_factory=dict)
    """content-type, content-md5, content-encoding, content-language, cache-control ..."""
    metadata: dict[str, str] = field(default_factory=dict)


class BlobStore:
    """The blobs of one storage account below a folder."""

    def __init__(
        self,
        root: Path,
        account: str,
        account_key: str,
        metadata: Document,
        more_keys: Sequence[str] = (),
    ) -> None:
        self.root = root
        self._real_root = root.resolve()
        self.account = account
        self.account_key = account_key
        self.keys = (account_key, *more_keys)
        """What a request may be signed with; what is signed here has the first."""
        self._descriptions = Descriptions(metadata)
        # No container can have these names.
        self._uploads = root / ".uploads"
        blocks = root / ".blocks"
        self.blocks = Blocks(blocks)
        # What was uploaded when an earlier life ended never became a blob.
        shutil.rmtree(self._uploads, ignore_errors=True)
        for folder in (self._uploads, blocks):
            folder.mkdir(parents=True, exist_ok=True)

    def path(self, container: str, name: str = "") -> Path:
        """The file of a blob, or the folder of a prefix or container; it need not exist.

        A name that would lead out of its container is a BlobError 400.
        """
        if not _CONTAINER.fullmatch(container) or "--" in container:
            raise BlobError(
                400, "InvalidResourceName", f"The container name '{container}' is invalid."
            )
        name = name.removesuffix("/")
        if not names_a_file(name):
            raise BlobError(
                400,
                "InvalidResourceName",
                f"The blob name '{name[:100]}' is invalid: the local store keeps blobs as files, "
                "so it allows no empty, '.' or '..' segments.",
            )
        if not fits_a_file(name):
            raise BlobError(
                400,
                "InvalidResourceName",
                f"The blob name '{name[:100]}...' is invalid: the local store keeps blobs as "
                f"files, so it allows no segment of more than {LONGEST_PART} bytes.",
            )
        return self.root / container / name

    def _is_inside(self, file: Path) -> bool:
        """Whether a file lies here. A job can have put a link to elsewhere among its outputs."""
        return Path(os.path.realpath(file.parent)).is_relative_to(self._real_root)

    def url(self, container: str, name: str = "") -> str:
        """The address of a blob or container, without a signature."""
        path = quote(f"{container}/{name}" if name else container)
        return f"https://{self.account}.blob.core.windows.net/{path}"

    def sas(
        self,
        container: str,
        *,
        blob: str | None = None,
        permissions: str = "rwdlac",
        hours: float = 24,
    ) -> str:
        """A signed query string that gives access to a container, or to one blob of it."""
        return service_sas(
            self.account, self.account_key, container, blob, permissions, hours=hours
        )

    def create_container(self, name: str) -> bool:
        """Make sure that a container exists; False when it was already there."""
        folder = self.path(name)
        if folder.is_dir():
            return False
        folder.mkdir(parents=True)
        return True

    def containers(self) -> list[str]:
        """The names of all containers, in order."""
        return sorted(each.name for each in self.root.iterdir() if _CONTAINER.fullmatch(each.name))

    def has_container(self, name: str) -> bool:
        return self.path(name).is_dir()

    def delete_container(self, name: str) -> None:
        """Delete a container and its blobs."""
        # Out of sight at once: emptying it takes a while.
        gone = self.new_file()
        os.replace(self.path(name), gone)
        self._descriptions.delete_below(f"{name}/")
        shutil.rmtree(gone, ignore_errors=True)

    def get(self, container: str, name: str) -> Blob | None:
        """A blob's properties, or None when there is no such blob."""
        file = self.path(container, name)
        if not self._is_inside(file):
            return None
        try:
            stat = file.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not file.is_file() or name.endswith("/"):
            return None
        known = self._descriptions.of(f"{container}/{name}", stat)
        written = datetime.fromtimestamp(stat.st_mtime, UTC)
        guess = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Blob(
            name=name,
            file=file,
            size=stat.st_size,
            etag=known.get("etag") or f'"0x{stat.st_mtime_ns ^ stat.st_size:X}"',
            modified=_time(known.get("modified")) or written,
            created=_time(known.get("created")) or written,
            headers=known.get("headers") or {"content-type": guess},
            metadata=known.get("metadata") or {},
        )

    def new_file(self) -> Path:
        """A place to write a blob to before `commit` puts it in its own."""
        return self._uploads / uuid.uuid4().hex

    def commit(
        self,
        container: str,
        name: str,
        file: Path,
        headers: dict[str, str],
        metadata: dict[str, str],
    ) -> Blob:
        """Make a finished file the blob: at once, in place of what was there."""
        if not name or name.endswith("/") or len(name) > _LONGEST_NAME:
            raise BlobError(
                400,
                "InvalidResourceName",
                f"The local store keeps no blob named '{name[:100]}': a name has 1 to "
                f"{_LONGEST_NAME} characters and does not end with a slash.",
            )
        target = self.path(container, name)
        old = self.get(container, name)
        created = old.created if old else CLOCK.now()
        try:
            if not self._is_inside(target):
                raise NotADirectoryError(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():
                raise IsADirectoryError(target)
            key = f"{container}/{name}"
            self._descriptions.write(key, file, target, headers, metadata, created)
            os.replace(file, target)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise BlobError(
                409,
                "ResourceTypeMismatch",
                f"The blob '{name}' cannot be kept: the local store keeps blobs as files, and a "
                "part of this name is already a blob or a folder of blobs.",
            ) from error
        return self._existing(container, name)

    def set_metadata(self, container: str, blob: Blob, metadata: dict[str, str]) -> Blob:
        key, file = f"{container}/{blob.name}", blob.file
        self._descriptions.write(key, file, file, blob.headers, metadata, blob.created)
        return self._existing(container, blob.name)

    def _existing(self, container: str, name: str) -> Blob:
        blob = self.get(container, name)
        assert blob is not None
        return blob

    def delete(self, container: str, name: str) -> bool:
        """Delete a blob, and the folders that are empty without it; False when it is not there."""
        blob = self.get(container, name)
        if blob is None:
            return False
        blob.file.unlink()
        self._descriptions.delete(f"{container}/{name}")
        for folder in blob.file.relative_to(self.path(container)).parents[:-1]:
            try:
                (self.path(container) / folder).rmdir()
            except OSError:
                break
        return True

    def read_bytes(self, container: str, name: str) -> bytes:
        return self.path(container, name).read_bytes()

    def write_bytes(
        self, container: str, name: str, content: bytes, content_type: str | None = None
    ) -> Blob:
        """Write a whole blob; readers see the old one or the new one."""
        self.create_container(container)
        file = self.new_file()
        file.write_bytes(content)
        kind = content_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
        return self.commit(container, name, file, {"content-type": kind}, {})

    def names(
        self, container: str, prefix: str = "", after: str = "", delimiter: str = ""
    ) -> Iterator[str]:
        """Blob names in order from a marker (inclusive); with `/` as delimiter, folders too.

        A folder is named with its closing slash and only when there is a blob below it.
        """
        folder = prefix.rpartition("/")[0]
        if not names_a_file(folder) or prefix.startswith("/"):
            return iter(())
        base = self.path(container, folder)
        return walk(base, f"{folder}/" if folder else "", prefix, after, bool(delimiter))

    def clear(self) -> None:
        """Delete every container, blob and unfinished upload."""
        self._descriptions.delete_below("")
        for folder in self.root.iterdir():
            shutil.rmtree(folder, ignore_errors=True)
        self._uploads.mkdir(parents=True, exist_ok=True)
        self.blocks.clear()


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
