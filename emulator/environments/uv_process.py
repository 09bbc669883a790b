"""Runs uv, and pip for its words, with the indexes and certificates that pip is set up for."""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import uv

from emulator.compute.process import end_group
from emulator.compute.strays import marked
from emulator.environments.indexes import (
    build_environment,
    certificates,
    pip_settings,
    uv_options,
)
from emulator.environments.interpreter import FAILURE, EnvironmentFailed

MOST_MESSAGE_CHARACTERS = 2000


class Uv:
    """Runs uv for the environment in `folder`, which need not be there yet.

    `write` adds to the build's log; `started` is told the id of each process group. `options` are
    those of every command that looks for packages.
    """

    def __init__(
        self, folder: Path, write: Callable[[str], None], started: Callable[[int], None]
    ) -> None:
        self.folder = folder
        self.write = write
        self.options: list[str] = []
        self._started = started
        self._variables: dict[str, str] = {}

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    async def create(self, options: Sequence[str]) -> None:
        """Make the virtual environment, without packages. `options` are a conda file's own."""
        variables = build_environment()
        settings = await pip_settings(variables)
        self._variables = variables | certificates(settings) | _cache(self.folder, variables)
        self.options = [*uv_options(settings), *options]
        await self.must("venv", "--no-project", "--python", sys.executable, str(self.folder))

    async def must(self, *arguments: str) -> None:
        """Run uv. Raises EnvironmentFailed with its message."""
        code, output, errors = await self.run(*arguments)
        self.write(f"{output}{errors}")
        if code != 0:
            raise EnvironmentFailed(FAILURE, errors.strip()[-MOST_MESSAGE_CHARACTERS:])

    async def run(
        self, *arguments: str, text: str = "", variables: Mapping[str, str] | None = None
    ) -> tuple[int, str, str]:
        """Exit code and both streams of uv, which reads `text`."""
        # Configuration of a project in a folder above the state is not meant for jobs.
        command = [uv.find_uv_bin(), *arguments, "--no-config"]
        return await self._process(command, text, variables or {})

    async def pip(self, *arguments: str) -> tuple[int, str, str]:
        """The same of the environment's own pip, which is installed first if need be."""
        if not (self.folder / "bin" / "pip").exists():
            await self.run("pip", "install", "--python", str(self.python), *self.options, "pip")
        return await self._process([str(self.python), "-m", "pip", *arguments], "", {})

    async def _process(
        self, command: list[str], text: str, variables: Mapping[str, str]
    ) -> tuple[int, str, str]:
        """Run a program; nothing of it is left when the wait for it is cancelled."""
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.folder.parent,
            # .../STATE/environments/KEY/FOLDER
            env={**self._variables, **variables, **marked(self.folder.parents[2])},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self._started(process.pid)
        try:
            output, errors = await process.communicate(text.encode())
        finally:
            if process.returncode is None:
                await end_group(process.pid, grace=0.0)
                await process.wait()
        assert process.returncode is not None
        return process.returncode, output.decode(errors="replace"), errors.decode(errors="replace")


def _cache(folder: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """The user's cache of uv, or, where that cannot be written, one beside the environments."""
    home = variables.get("XDG_CACHE_HOME") or Path(variables.get("HOME", "/nowhere"), ".cache")
    place = Path(variables.get("UV_CACHE_DIR") or Path(home, "uv"))
    there = next((path for path in (place, *place.parents) if path.exists()), Path("/"))
    if os.access(there, os.W_OK):
        return {}
    return {"UV_CACHE_DIR": str(folder.parent.parent / ".cache")}
