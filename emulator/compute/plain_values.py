"""Plain values that steps write for the steps after them: a number or a word in a file."""

from pathlib import Path
from typing import TYPE_CHECKING

from emulator.blob_store import BlobError
from emulator.compute.outcome import StepError
from emulator.compute.scope import literal_problem
from emulator.compute.values import LITERAL_TYPES, Data, Literal, Value
from emulator.http import AzureError
from emulator.uris import local_path

if TYPE_CHECKING:
    from emulator.compute.step import StepJob
    from emulator.core import Emulator

MOST_BYTES = 1_000_000


def written_values(emulator: "Emulator", job: "StepJob") -> dict[str, Literal]:
    """The plain values among a step's outputs, by name; what was not written is left out."""
    workspace = job.path.rpartition("/jobs/")[0]
    found = {}
    for name, place in job.outputs.items():
        if place["type"] in LITERAL_TYPES:
            try:
                found[name] = Literal(_read(local_path(emulator, place["uri"], workspace)))
            except (AzureError, BlobError, OSError, ValueError):
                continue  # a step that reads it says so
    return found


def _read(file: Path) -> str:
    """The file's text; the end of the line that `echo` writes is no part of the value."""
    if file.stat().st_size > MOST_BYTES:
        raise ValueError(f"{file} has more than {MOST_BYTES} bytes.")
    return file.read_text().removesuffix("\n")


def checked_text(name: str, value: Value, kind: str) -> str:
    """An input's plain value. Raises StepError for one that was not written, or of another type."""
    if not isinstance(value, Literal):
        where = value.uri if isinstance(value, Data) else ""
        raise StepError(
            f"Input {name} cannot be read: the job that it comes from wrote no value to {where}. "
            "A command writes a plain value as text into the file that ${{outputs.<name>}} names."
        )
    if problem := literal_problem(value.text, kind, {}):
        raise StepError(f"Invalid value {value.text!r} of input {name}: {problem}.")
    return value.text
