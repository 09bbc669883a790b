"""One step as an operating system process: its environment, its log, its end."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from emulator.compute.strays import marked

GRACE_SECONDS = 5.0
"""How long a process may take to end by itself after SIGTERM."""

_NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "CONDA_PREFIX")
_NOT_INHERITED_PREFIXES = ("MLFLOW_", "AZUREML_RUN", "AZUREML_ROOT", "AZURE_ML_")


@dataclass(frozen=True)
class Exit:
    """How a process ended: its exit code (negative: the signal), or that its time ran out."""

    code: int
    timed_out: bool = False


def step_environment(
    state: Path,
    variables: Mapping[str, str],
    inherited: Mapping[str, str] = os.environ,
    scripts: Sequence[Path] = (),
) -> dict[str, str]:
    """The environment of a step: the emulator's own, cleaned, with `variables` over it.

    `scripts` are the folders of the step's `python` and of what else it finds; without them it has
    the emulator's. Output is not buffered, and one thread is used for mathematics, because steps
    share the machine.
    """
    kept = {
        name: value
        for name, value in inherited.items()
        if name not in _NOT_INHERITED and not name.startswith(_NOT_INHERITED_PREFIXES)
    }
    folders = scripts or [python_folder(state)]
    place = {"VIRTUAL_ENV": str(scripts[0].parent)} if scripts else {}
    return {
        **kept,
        **place,
        "PATH": os.pathsep.join([*map(str, folders), kept.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
        **variables,
        **marked(state),
    }


def python_folder(state: Path) -> Path:
    """A folder whose `python` is the Python that runs the emulator."""
    own = Path(sys.executable).parent
    if (own / "python").exists():
        return own
    folder = state / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    # A symbolic link would leave the virtual environment: Python finds it by its own path.
    for name in ("python", "python3"):
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        script.chmod(0o755)
    return folder


class Process(Protocol):
    """A process in a group of its own, whose id is the process's."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    async def wait(self) -> int: ...


async def shell(command: str, folder: Path, environment: Mapping[str, str], log: Path) -> Process:
    """A new process group that runs a shell command; both of its streams are added to `log`."""
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            command,
            cwd=folder,
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


async def run_process(
    process: Process, started: Callable[[int], None], timeout: float | None = None
) -> Exit:
    """Wait for the end of a process, which `started` is told the id of.

    When the wait is cancelled, or after `timeout` seconds, its whole group is ended; nothing that
    it started is left behind in any case.
    """
    try:
        started(process.pid)
        async with asyncio.timeout(timeout):
            code = await process.wait()
    except TimeoutError:
        await end_group(process.pid)
        return Exit(await process.wait(), timed_out=True)
    except BaseException:
        await end_group(process.pid)
        await process.wait()
        raise
    await end_group(process.pid, grace=0.0)
    return Exit(code)


async def end_group(group: int, grace: float = GRACE_SECONDS) -> None:
    """Ask all processes of a group to end, and kill what is left after `grace` seconds."""
    if grace > 0:
        _signal(group, signal.SIGTERM)
        loop = asyncio.get_running_loop()
        end = loop.time() + grace
        while loop.time() < end and members(group):
            await asyncio.sleep(0.05)
    _signal(group, signal.SIGKILL)


def members(group: int) -> list[psutil.Process]:
    """The living processes of a group; a dead one that nobody has collected does not count."""
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, PermissionError, psutil.Error):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def started_at(pid: int) -> float | None:
    """When a process was started, in seconds since 1970; None when it is gone."""
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def kill_stray(group: int, started: float | None, job: str) -> bool:
    """Kill what is left of a job's process group from an earlier life of the emulator.

    Process ids are used again: a process counts only when it is the recorded one by its start
    time, or carries the job's name in its environment. Says whether anything was killed.
    """
    killed = False
    for process in members(group):
        with suppress(psutil.Error):
            if process.pid == group and started is not None:
                ours = abs(process.create_time() - started) < 1.0
            else:
                ours = process.environ().get("AZUREML_RUN_ID") == job
            if ours:
                process.kill()
                killed = True
    return killed


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
