"""A dataset or model of the stand-in hub: a plain folder, described as the hub would."""

import hashlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

LARGE_FILES = (".parquet", ".safetensors", ".bin", ".arrow")
CHUNK = 1 << 20


class HubError(Exception):
    """An answer in the hub's own shape; clients choose their exception by `code`."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Entry:
    """One file of a repository: its path there, its size in bytes and its two hashes."""

    path: str
    size: int
    git_oid: str
    sha256: str

    @property
    def large(self) -> bool:
        return self.path.endswith(LARGE_FILES)

    @property
    def etag(self) -> str:
        return self.sha256 if self.large else self.git_oid

    def as_json(self) -> dict[str, Any]:
        described: dict[str, Any] = {
            "type": "file",
            "oid": self.git_oid,
            "size": self.size,
            "path": self.path,
        }
        if self.large:
            described["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": 134}
        return described


@lru_cache(maxsize=4096)
def _hashes(path: str, size: int, modified: int) -> tuple[str, str]:
    """Git's blob hash and SHA-256 of a file; size and time are there to notice a change."""
    git, sha = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False), hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            git.update(chunk)
            sha.update(chunk)
    return git.hexdigest(), sha.hexdigest()


class Repository:
    """A dataset's or model's folder as the hub would describe it."""

    def __init__(self, kind: str, identity: str, folder: Path) -> None:
        self.kind = kind
        self.identity = identity
        self.folder = folder
        self.entries = {entry.path: entry for entry in self._read()}

    def _read(self) -> list[Entry]:
        found = []
        for root, folders, names in os.walk(self.folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                file = Path(root, name)
                if name.startswith(".") or file.is_symlink():
                    continue
                status = file.stat()
                hashes = _hashes(str(file), status.st_size, status.st_mtime_ns)
                path = file.relative_to(self.folder).as_posix()
                found.append(Entry(path, status.st_size, *hashes))
        return sorted(found, key=lambda entry: entry.path)

    @property
    def commit(self) -> str:
        lines = "".join(f"{entry.git_oid} {entry.path}\n" for entry in self.entries.values())
        return hashlib.sha1(lines.encode(), usedforsecurity=False).hexdigest()

    def check_revision(self, revision: str | None) -> None:
        if revision not in (None, "main", self.commit):
            raise HubError(
                404,
                "RevisionNotFound",
                f"{self.identity} has no revision {revision!r} on this hub; "
                f"there are 'main' and {self.commit}",
            )

    def entry(self, path: str) -> Entry:
        if path not in self.entries:
            raise HubError(404, "EntryNotFound", f"{self.identity} has no file {path!r}")
        return self.entries[path]

    def folders(self) -> set[str]:
        return {
            parent.as_posix()
            for path in self.entries
            for parent in Path(path).parents
            if parent != Path(".")
        }

    def tree(self, below: str, recursive: bool) -> list[dict[str, Any]]:
        """The folders and files below a folder ('' is the root), in the order of their paths."""
        if below and below not in self.folders():
            raise HubError(404, "EntryNotFound", f"{self.identity} has no folder {below!r}")
        prefix = below + "/" if below else ""

        def wanted(path: str) -> bool:
            return path.startswith(prefix) and (recursive or "/" not in path[len(prefix) :])

        found = [folder_entry(path) for path in self.folders() if path != below and wanted(path)]
        found += [entry.as_json() for path, entry in self.entries.items() if wanted(path)]
        return sorted(found, key=lambda item: str(item["path"]))

    def information(self) -> dict[str, Any]:
        times = [(self.folder / path).stat().st_mtime for path in self.entries]
        modified = datetime.fromtimestamp(max(times, default=0), UTC).isoformat()
        named = {"modelId": self.identity} if self.kind == "models" else {}
        return {
            "_id": hashlib.sha256(self.identity.encode()).hexdigest()[:24],
            "id": self.identity,
            **named,
            "author": self.identity.split("/")[0],
            "sha": self.commit,
            "lastModified": modified.replace("+00:00", "Z"),
            "private": False,
            "gated": False,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            **self._card(),
            "siblings": [{"rfilename": path} for path in self.entries],
        }

    def _card(self) -> dict[str, Any]:
        """The head of README.md, between two lines of dashes, as the hub gives it."""
        try:
            text = (self.folder / "README.md").read_text(encoding="utf-8")
            head = yaml.safe_load(text.split("---\n", 2)[1]) if text.startswith("---\n") else None
        except (OSError, UnicodeDecodeError, yaml.YAMLError, IndexError):
            head = None
        return {"cardData": head} if isinstance(head, dict) else {}


def folder_entry(path: str) -> dict[str, Any]:
    oid = hashlib.sha1(path.encode(), usedforsecurity=False).hexdigest()
    return {"type": "directory", "oid": oid, "size": 0, "path": path}
