"""What a step reads and writes, as files where its command finds them."""

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from emulator.blob_store import BlobError
from emulator.compute.copies import copy_tree
from emulator.compute.mltable import MLTABLE, TABLE, described_table, read_table
from emulator.compute.outcome import StepError
from emulator.compute.plain_values import checked_text
from emulator.compute.records import artifact_prefix, system_log, user_log
from emulator.compute.values import FILE_TYPES, LITERAL_TYPES, Data, Literal
from emulator.http import AzureError
from emulator.uris import local_path
from emulator.web import is_web, synthetic_note

if TYPE_CHECKING:
    from emulator.compute.step import StepJob
    from emulator.core import Emulator

DIRECT = "direct"
"""The mode in which a command is given the address itself."""

_KEPT = ("outputs", "logs")
"""Folders beside the code that are kept with the job's artifacts, as Azure does."""


def workspace_of_job(path: str) -> str:
    """The path of the workspace that a job is in."""
    return path.rpartition("/jobs/")[0]


def input_files(emulator: "Emulator", job: "StepJob", folder: Path) -> dict[str, str | None]:
    """Each input as the command sees it: a literal's text, or where its data is.

    Data that is not mounted is copied below `folder`. Raises StepError for what is not there.
    """
    found: dict[str, str | None] = {}
    for name, value in job.inputs.items():
        if value is None:
            found[name] = None
            continue
        assert isinstance(value, Literal | Data)
        if isinstance(value, Literal) or value.type in LITERAL_TYPES:
            found[name] = checked_text(name, value, job.step.inputs[name].type)
            continue
        mode = job.step.inputs[name].mode or value.mode
        if mode == DIRECT:
            found[name] = value.uri
            continue
        try:
            path = _readable(emulator, job, name, value.uri)
            if note := synthetic_note(emulator.config, path):
                tell(emulator, job.name, f"Input {name}: {note}")
            place = _in_mode(emulator, job, path, mode, folder / "inputs" / name)
            if is_web(value.uri):
                place = _without_spaces(place, folder / "inputs" / name)
            found[name] = str(place)
        except (AzureError, BlobError) as error:
            raise StepError(f"Input {name} cannot be read: {error.message}") from error
    return found


def tell(emulator: "Emulator", name: str, line: str) -> None:
    """Say something in both logs of a job: in that of its program, which people read, too."""
    for log in (user_log(name), system_log(name)):
        emulator.jobs.records.append(log, line)


def _readable(emulator: "Emulator", job: "StepJob", name: str, uri: str) -> Path:
    path = local_path(emulator, uri, workspace_of_job(job.path))
    if not path.exists():
        raise StepError(
            f"Input {name} cannot be read: {uri} does not exist in the workspace's "
            "storage. Upload it, or correct the path."
        )
    return path


def _in_mode(
    emulator: "Emulator", job: "StepJob", path: Path, mode: str | None, target: Path
) -> Path:
    if mode == TABLE:
        return described_table(emulator, path, target, workspace_of_job(job.path))
    if mode in ("eval_mount", "eval_download") and (path / MLTABLE).is_file():
        return read_table(emulator, path, target, workspace_of_job(job.path))
    if mode not in ("download", "eval_download"):
        return path
    if path.is_dir():
        copy_tree(path, target)
        return target
    target.mkdir(parents=True)
    return Path(shutil.copy(path, target))


def _without_spaces(path: Path, folder: Path) -> Path:
    """A path that is one word of a command: spaces in a file's name are as in its address."""
    if not re.search(r"\s", path.name):
        return path
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / quote(path.name)
    link.symlink_to(path)
    return link


def output_places(emulator: "Emulator", job: "StepJob") -> dict[str, str]:
    """Where the command writes each output: a folder that is there, a file in one, an address."""
    places = {}
    for name, output in job.outputs.items():
        if job.step.outputs[name].mode == DIRECT:
            places[name] = output["uri"]
            continue
        try:
            path = local_path(emulator, output["uri"], workspace_of_job(job.path))
        except (AzureError, BlobError) as error:
            raise StepError(f"Output {name} cannot be written: {error.message}") from error
        folder = path.parent if output["type"] in FILE_TYPES else path
        folder.mkdir(parents=True, exist_ok=True)
        places[name] = str(path)
    return places


def offer_outputs(work: Path) -> None:
    """Make the folder `outputs` beside the code, as Azure does: commands write into it at once."""
    place = work / _KEPT[0]
    if not place.exists():
        place.mkdir()


def keep_folders(emulator: "Emulator", name: str, work: Path) -> None:
    """Keep what a job wrote into its folders `outputs` and `logs`, however it ended."""
    for own in _KEPT:
        if (work / own).is_dir() and any((work / own).iterdir()):
            prefix = f"{artifact_prefix(name)}/{own}"
            target = emulator.blobs.path(emulator.config.artifact_container, prefix)
            copy_tree(work / own, target)
