"""Tables by their MLTable file: the files that one consists of, for the modes that evaluate it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from emulator.http import AzureError
from emulator.uris import local_path

if TYPE_CHECKING:
    from emulator.core import Emulator

MLTABLE = "MLTable"
TABLE = "table"
"""The mode of an input that is read as a table: its files, and its transformations as JSON."""


def read_table(emulator: "Emulator", folder: Path, target: Path, workspace: str) -> Path:
    """Copy the files that a table names into `target`; gives `target`.

    Files below the table's folder keep their place in it. The table's transformations are not
    applied: those work on rows, and what is mounted are files.
    Raises AzureError 400 for a table that cannot be read.
    """
    for name, file in _files(emulator, folder, workspace):
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    target.mkdir(parents=True, exist_ok=True)
    return target


def described_table(emulator: "Emulator", folder: Path, target: Path, workspace: str) -> Path:
    """As `read_table`, with the table's transformations beside its files, as JSON.

    For programs whose Python may have no YAML. Raises AzureError 400.
    """
    if not (folder / MLTABLE).is_file():
        raise _bad("the folder has none")
    read_table(emulator, folder, target, workspace)
    table = yaml.safe_load((folder / MLTABLE).read_text())
    (target / MLTABLE).write_text(json.dumps(table.get("transformations") or []))
    return target


def _files(emulator: "Emulator", folder: Path, workspace: str) -> Iterator[tuple[Path, Path]]:
    """(name in the table, file) of all that a table names."""
    try:
        table = yaml.safe_load((folder / MLTABLE).read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _bad(f"it is no YAML: {error}") from error
    entries = table.get("paths") if isinstance(table, dict) else None
    if not isinstance(entries, list) or not entries:
        raise _bad("it names no paths")
    for entry in entries:
        kind, location = _entry(entry)
        place = _place(emulator, folder, location, workspace)
        if kind == "pattern":
            found = sorted(path for path in place.parent.glob(place.name) if path.is_file())
            found = found or _below(folder, location)
        elif kind == "folder":
            found = sorted(path for path in place.rglob("*") if path.is_file())
        else:
            found = [place] if place.is_file() else []
        if not found:
            raise _bad(f"{kind} {location} is not there")
        for file in found:
            own = file.is_relative_to(folder)
            yield file.relative_to(folder if own else file.parent), file


def _entry(entry: Any) -> tuple[str, str]:
    if isinstance(entry, dict) and len(entry) == 1:
        kind, location = next(iter(entry.items()))
        if kind in ("file", "folder", "pattern"):
            return str(kind), str(location)
    raise _bad(f"{entry} is none of file, folder and pattern")


def _place(emulator: "Emulator", folder: Path, location: str, workspace: str) -> Path:
    if "://" in location or location.startswith("azureml:"):
        return local_path(emulator, location, workspace)
    place = (folder / location).resolve()
    if not place.is_relative_to(folder.resolve()):
        raise _bad(f"{location} leads out of the table's folder")
    return folder / place.relative_to(folder.resolve())


def _below(folder: Path, pattern: str) -> list[Path]:
    """The files of a pattern with wildcards in its folders too (`**/*.csv`)."""
    if "://" in pattern or pattern.startswith(("/", "azureml:")):
        return []
    found = folder.glob(pattern.removeprefix("./"))
    return sorted(path for path in found if path.is_file() and path.name != MLTABLE)


def _bad(reason: str) -> AzureError:
    return AzureError(400, "UserError", f"The {MLTABLE} file cannot be read: {reason}.")
