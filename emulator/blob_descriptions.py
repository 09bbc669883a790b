"""What a blob is beside its file: content type, metadata, ETag, times."""

import os
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

from emulator.clock import CLOCK
from emulator.store import Document


class Descriptions:
    """A document for each blob, by container and name, that belongs to one state of its file."""

    def __init__(self, documents: Document) -> None:
        self._documents = documents

    def of(self, key: str, stat: os.stat_result) -> dict[str, Any]:
        """What is kept of a file; empty when something else wrote it."""
        described = self._documents.get(key) or {}
        # One that was killed may have described what it did not come to put in place.
        versions = (described, described.get("before") or {})
        stamp = _stamp(stat)
        return next((each for each in versions if each.get("stamp") == stamp), {})

    def write(
        self,
        key: str,
        file: Path,
        target: Path,
        headers: dict[str, str],
        metadata: dict[str, str],
        created: datetime,
    ) -> None:
        """Describe a file that is, or will be, put in place of what `target` is.

        The description of what is there stays beside it: whenever the process is killed, one of
        them belongs to the file.
        """
        before = self.of(key, target.stat()) if target.is_file() else {}
        document: dict[str, Any] = {
            "stamp": _stamp(file.stat()),
            "etag": f'"0x{uuid.uuid4().hex[:15].upper()}"',
            "modified": CLOCK.now().isoformat(),
            "created": created.isoformat(),
            "headers": headers,
            "metadata": metadata,
            "before": {name: value for name, value in before.items() if name != "before"},
        }
        self._documents.put(key, document)
        self._documents.commit()

    def delete(self, key: str) -> None:
        self._documents.delete(key)

    def delete_below(self, prefix: str) -> None:
        """Delete all whose keys begin so."""
        for key, _ in self._documents.items():
            if key.startswith(prefix):
                self._documents.delete(key)


def _stamp(stat: os.stat_result) -> list[int]:
    return [stat.st_mtime_ns, stat.st_size]
