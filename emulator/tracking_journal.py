"""What the tracking server still has to write down: the beginnings and the ends of jobs.

Jobs do not wait for a server that takes seconds to start, and one that logs nothing needs none.
The emulator adds entries; the server takes them in before it answers anything.
"""

import itertools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Journal:
    """A folder of small files, one an entry, in the order of their names."""

    def __init__(self, state: Path) -> None:
        self._folder = state / "mlflow" / "journal"
        self._count = itertools.count()

    def add(self, entry: dict[str, Any]) -> None:
        """Keep an entry; it is there whole or not at all, whatever is killed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{time.time_ns():020d}-{next(self._count):06d}"
        part = self._folder / f".{name}"
        part.write_text(json.dumps(entry), encoding="utf-8")
        part.rename(self._folder / f"{name}.json")

    def clear(self) -> None:
        """Take every entry out, as if it had not been."""
        for file in self._folder.glob("*.json"):
            file.unlink(missing_ok=True)

    def __bool__(self) -> bool:
        """Whether there is anything to take in."""
        try:
            with os.scandir(self._folder) as files:
                return any(file.name.endswith(".json") for file in files)
        except FileNotFoundError:
            return False

    def entries(self) -> Iterator[dict[str, Any]]:
        """Each entry, oldest first; it is taken out when the next one is asked for."""
        for file in sorted(self._folder.glob("[0-9]*.json")):
            try:
                entry = json.loads(file.read_text(encoding="utf-8"))
            except FileNotFoundError:  # the workspace was emptied meanwhile
                continue
            yield entry
            file.unlink(missing_ok=True)
