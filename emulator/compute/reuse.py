"""Steps that need not run again: the same component on the same content has the same outputs."""

import asyncio
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from emulator.blob_store import BlobError
from emulator.compute.copies import copy_tree
from emulator.compute.materials import workspace_of_job
from emulator.compute.outputs import register_asset
from emulator.compute.plan import Target
from emulator.compute.records import artifact_prefix, job_name
from emulator.compute.values import Data, Literal
from emulator.environments import EnvironmentFailed
from emulator.environments.reference import find
from emulator.http import AzureError
from emulator.uris import local_path

if TYPE_CHECKING:
    from emulator.compute.step import StepJob
    from emulator.core import Emulator

_UNREADABLE = (AzureError, BlobError, EnvironmentFailed, OSError)


class Reuse:
    """Which steps were completed with what: the document `reuse`, by fingerprint.

    A fingerprint is made of content: the command, the files of the code and of the inputs, the
    literals, the environment, and what the outputs are. Names and versions do not matter.
    """

    def __init__(self, emulator: "Emulator") -> None:
        self._emulator = emulator
        self._known = emulator.store.document("reuse")
        self._digests: dict[Path, tuple[int, int, str]] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def fingerprint(self, job: "StepJob") -> str | None:
        """What a step would do, in one word; None where that cannot be said."""
        if not job.step.deterministic:
            return None
        if "jobs" in self._emulator.transitions.as_json()["kinds"]:
            return None  # who says how jobs move wants to see them move
        try:
            return await asyncio.to_thread(self._fingerprint, job)
        except _UNREADABLE:
            return None  # the step itself finds out, and says what is wrong

    def turn(self, fingerprint: str) -> asyncio.Lock:
        """Held by the one step that does this now; others wait to see what it has written."""
        return self._turns.setdefault(fingerprint, asyncio.Lock())

    async def adopt(self, job: "StepJob", fingerprint: str) -> bool:
        """Give a step the outputs of an earlier one that did the same, if any."""
        known = self._known.get(fingerprint)
        if known is None or not self._is_there(known):
            return False
        try:
            if not await asyncio.to_thread(self._unchanged, known):
                return False
            outputs = await asyncio.to_thread(self._take_over, job, known)
            await asyncio.to_thread(self._copy_artifacts, job_name(known["path"]), job.name)
        except _UNREADABLE:
            return False
        for name, uri in outputs.items():
            job.outputs[name]["uri"] = uri
        reused = {
            "azureml.isreused": "true",
            "azureml.reusedrunid": job_name(known["path"]),
            "azureml.reusedpipelinerunid": known["root"],
        }
        self._emulator.jobs.records.reused(job.path, job.outputs, reused)
        for name, target in job.step.outputs.items():
            if target.asset_name:
                register_asset(self._emulator, job.path, name, target, job.outputs[name]["uri"])
        return True

    async def remember(self, job: "StepJob", fingerprint: str) -> None:
        """Keep what a step that was completed has written."""
        outputs = {name: place["uri"] for name, place in job.outputs.items()}
        chosen = {name for name, target in job.step.outputs.items() if target.uri}
        try:
            contents = {
                name: await asyncio.to_thread(self._content, job.path, outputs[name])
                for name in chosen
            }
        except _UNREADABLE:
            return
        self._known.put(
            fingerprint,
            {"path": job.path, "root": job.root, "outputs": outputs, "contents": contents},
        )

    def _is_there(self, known: dict[str, Any]) -> bool:
        """Whether the earlier step and its pipeline were neither deleted nor undone."""
        records = self._emulator.jobs.records
        run = records.get(job_name(known["path"]))
        # What is remembered has done its work; the record of its end may be a moment behind.
        done = run is not None and run["status"] in ("Finalizing", "Completed")
        return done and records.get(known["root"]) is not None

    def _unchanged(self, known: dict[str, Any]) -> bool:
        """Whether the outputs are there. Another job can have written to a path of the user's."""
        if not all(self._local(known["path"], uri).exists() for uri in known["outputs"].values()):
            return False
        contents = known["contents"].items()
        return all(
            self._content(known["path"], known["outputs"][name]) == digest
            for name, digest in contents
        )

    def _take_over(self, job: "StepJob", known: dict[str, Any]) -> dict[str, str]:
        """Where the step's outputs are: with the earlier step, or copied to where they belong."""
        earlier, taken = known["outputs"], {}
        for name, target in job.step.outputs.items():
            taken[name] = job.outputs[name]["uri"]
            if _own(job, target) and not target.uri:
                taken[name] = earlier[name]
            elif taken[name] != earlier[name]:
                source = self._local(known["path"], earlier[name])
                _copy(source, self._local(job.path, taken[name]))
        return taken

    def _copy_artifacts(self, earlier: str, name: str) -> None:
        """The earlier step's logs and artifacts are shown with the one that reuses it."""
        container = self._emulator.config.artifact_container
        source = self._emulator.blobs.path(container, artifact_prefix(earlier))
        if source.is_dir():
            _copy(source, self._emulator.blobs.path(container, artifact_prefix(name)))

    def _fingerprint(self, job: "StepJob") -> str:
        command = job.step.command
        source = find(self._emulator, command.environment, workspace_of_job(job.path))
        inputs: dict[str, Any] = {}
        for name, value in job.inputs.items():
            item = job.step.inputs[name]
            if isinstance(value, Data):
                address = value.uri if item.mode == "direct" else None
                inputs[name] = [item.type, item.mode, address, self._content(job.path, value.uri)]
            else:
                inputs[name] = value.text if isinstance(value, Literal) else None
        outputs = {
            # What belongs to the pipeline has an address with its name; it is copied there.
            name: [target.type, target.mode, target.uri if _own(job, target) else None]
            for name, target in job.step.outputs.items()
        }
        code = command.code
        what = {
            "command": command.text,
            "code": self._tree(code)
            if isinstance(code, Path)
            else code and self._content(job.path, code),
            "environment": [source.conda, *source.notes],
            "variables": command.variables,
            "instances": command.instances,
            "distribution": command.distribution,
            "inputs": inputs,
            "outputs": outputs,
        }
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()

    def _content(self, job_path: str, uri: str) -> str:
        return self._tree(self._local(job_path, uri))

    def _local(self, job_path: str, uri: str) -> Path:
        return local_path(self._emulator, uri, workspace_of_job(job_path))

    def _tree(self, path: Path) -> str:
        """The digest of a file, or of a folder's files with their names."""
        if path.is_file():
            return self._file(path)
        if not path.is_dir():
            raise FileNotFoundError(path)
        digest = hashlib.sha256()
        for file in _files(path):
            digest.update(f"{file.relative_to(path)}\0{self._file(file)}\n".encode())
        return digest.hexdigest()

    def _file(self, path: Path) -> str:
        """A file's digest, read once as long as its size and time stay the same."""
        status = path.stat()
        size, changed, digest = self._digests.get(path, (-1, -1, ""))
        if (size, changed) != (status.st_size, status.st_mtime_ns):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            self._digests[path] = (status.st_size, status.st_mtime_ns, digest)
        return digest


def _own(job: "StepJob", target: Target) -> bool:
    """Whether an output is the step's own, not one of a pipeline around it."""
    return target.owner == job.step.key


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        copy_tree(source, target)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
