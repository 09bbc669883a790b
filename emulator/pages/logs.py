"""The logs of jobs for the pages: their end as a page, all of them as text."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from emulator.pages.reading import without_signatures

if TYPE_CHECKING:
    from emulator.core import Emulator

MOST_LOG_BYTES = 64 << 10
"""How much of a log's end a page shows."""


def log_file(emulator: "Emulator", name: str, path: str) -> Path | None:
    """The file of one of a job's logs; None for what is none of them."""
    run = emulator.store.document("runs").get(name) or {}
    wanted = f"ExperimentRun/dcid.{name}/{path}"
    if wanted not in run.get("logs", []):
        return None
    blob = emulator.blobs.get(emulator.config.artifact_container, wanted)
    return None if blob is None else blob.file


def end_of(file: Path) -> tuple[str, int]:
    """The end of a log as text, and how many bytes it has in all."""
    size = file.stat().st_size
    with file.open("rb") as log:
        log.seek(max(0, size - MOST_LOG_BYTES))
        return without_signatures(log.read().decode("utf-8", "replace")), size


def lines_of(file: Path) -> Iterator[str]:
    """All lines of a log; one of a megabyte or more comes in pieces."""
    with file.open(encoding="utf-8", errors="replace", newline="") as log:
        while line := log.readline(1 << 20):
            yield without_signatures(line)
