"""The environments of one emulator: from what a job names to the Python that runs it."""

import asyncio
import hashlib
import json
import os
import platform
import shutil
import sys
import time
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulator.compute.process import started_at
from emulator.compute.threads import in_thread
from emulator.environments import own_torch
from emulator.environments.build import Build
from emulator.environments.conda import CondaFile, read
from emulator.environments.interpreter import Interpreter, own_python
from emulator.environments.layer import layer
from emulator.environments.reference import find

if TYPE_CHECKING:
    from emulator.core import Emulator

_SWITCH = "AZUREML_EMULATOR_PINS"
_RECIPE = 4
"""Changes when the same conda file comes to another environment than before."""

_READY = "ready.json"


@dataclass
class _Work:
    """A build that runs, and who waits for it."""

    task: asyncio.Task[None] | None = None
    waiting: int = 0
    text: str = ""
    logs: list[Path] = field(default_factory=list)

    def listen(self, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        _append(log, self.text)
        self.logs.append(log)

    def write(self, text: str) -> None:
        self.text += text
        for log in self.logs:
            _append(log, text)


class Environments:
    """Finds and builds environments. Lives on the event loop of the server.

    They are kept below the state folder by the hash of what they consist of, through restarts and
    resets. One is ready when its `ready.json` is there, which is written last.
    """

    def __init__(self, emulator: "Emulator") -> None:
        self._emulator = emulator
        self._folder = emulator.config.state / "environments"
        self._builds: dict[str, _Work] = {}

    async def interpreter(
        self, reference: str | None, log: Path, workspace: str | None = None
    ) -> Interpreter:
        """The Python of an environment, built first if need be; `log` gets the build's output.

        `reference`: an ARM id, azureml:NAME:VERSION, azureml:NAME@LABEL, or
        azureml://registries/R/environments/N/versions|labels/V. `workspace` is the path of the
        workspace that short names belong to. Raises EnvironmentFailed.
        """
        source = find(self._emulator, reference, workspace)
        if source.conda is None:
            return own_python(f"Environment {source.name}.", *source.notes)
        made = await self.for_conda(source.conda, log)
        notes = (f"Environment {source.name}.", *source.notes, *made.notes)
        return replace(made, notes=notes)

    async def for_conda(self, conda: str, log: Path) -> Interpreter:
        """The Python of a conda file's text, built first if need be. Raises EnvironmentFailed."""
        content = read(conda)
        key = _key(content)
        if ready := self._ready(key):
            return _interpreter(ready, content, "from an earlier build")
        await self._built(key, content, log)
        ready = self._ready(key)
        assert ready is not None
        return _interpreter(ready, content, f"built in {ready['seconds']:.1f} s")

    async def layer(self, beneath: Interpreter, folder: Path) -> Interpreter:
        """An environment over another, for a command that installs packages; in a new folder."""
        return await in_thread(layer, beneath, folder)

    def is_ready(self, reference: str | None, workspace: str | None = None) -> bool:
        """Whether nothing has to be built for an environment. Raises EnvironmentFailed."""
        conda = find(self._emulator, reference, workspace).conda
        return conda is None or self._ready(_key(read(conda))) is not None

    async def _built(self, key: str, content: CondaFile, log: Path) -> None:
        """Wait for a build, which ends with the last who waits for it."""
        work = self._builds.get(key)
        if work is None:
            work = self._builds[key] = _Work()
            work.task = asyncio.create_task(self._build(key, content, work))
        assert work.task is not None
        work.listen(log)
        work.waiting += 1
        try:
            await asyncio.shield(work.task)
        finally:
            work.waiting -= 1
            if not work.waiting and not work.task.done():
                # Who comes now begins anew: this one cannot be stopped from ending.
                self._builds.pop(key, None)
                work.task.cancel()
                await asyncio.wait([work.task])

    async def _build(self, key: str, content: CondaFile, work: _Work) -> None:
        place = self._folder / key
        folder = place / uuid.uuid4().hex[:8]
        processes = self._emulator.store.document("processes")
        name = f"environment-{key}-{folder.name}"
        begun = time.monotonic()

        def started(pid: int) -> None:  # the next start of the emulator kills what is left
            processes.put(name, {"pid": pid, "started": started_at(pid)})

        strict = os.environ.get(_SWITCH) == "strict"
        build = Build(content, key, folder, work.write, started, strict)
        work.write("".join(f"{note}\n" for note in content.notes))
        try:
            await asyncio.to_thread(_clear, place)
            await build.run()
            seconds = time.monotonic() - begun
            _save(place, {"folder": folder.name, "seconds": seconds, "notes": build.notes})
            work.write(f"The environment was built in {seconds:.1f} s: {folder}\n")
        except BaseException as error:
            work.write(f"The environment was not built: {error or 'canceled'}\n")
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            raise
        finally:
            processes.delete(name)
            if self._builds.get(key) is work:
                del self._builds[key]

    def _ready(self, key: str) -> dict[str, Any] | None:
        place = self._folder / key
        try:
            ready: dict[str, Any] = json.loads((place / _READY).read_text())
        except (OSError, ValueError):
            return None
        ready["python"] = place / ready["folder"] / "bin" / "python"
        return ready if ready["python"].exists() else None


def _interpreter(ready: dict[str, Any], content: CondaFile, how: str) -> Interpreter:
    place = f"Virtual environment {ready['python'].parent.parent}, {how}."
    notes = (place, *content.notes, *ready["notes"])
    return Interpreter(ready["python"], False, notes)


def _key(content: CondaFile) -> str:
    """What an environment is known by: the same content and Python give the same."""
    parts = [
        _RECIPE,
        sys.base_prefix,
        platform.python_version(),
        own_torch.version(),
        os.environ.get(_SWITCH) == "strict",
        sorted(content.requirements),
        content.options,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _clear(place: Path) -> None:
    """Remove what builds that were killed have left."""
    for left in place.glob("*"):
        shutil.rmtree(left, ignore_errors=True)
    place.mkdir(parents=True, exist_ok=True)


def _save(place: Path, content: dict[str, Any]) -> None:
    part = place / f"{_READY}.part"
    part.write_text(json.dumps(content, indent=2))
    part.replace(place / _READY)


def _append(log: Path, text: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(text)
