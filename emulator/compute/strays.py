"""What an emulator started and did not end, because it was killed itself."""

import os
import time
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "AZUREML_EMULATOR_CHILD_OF"
"""An environment variable of every process that an emulator starts: its state folder."""

MOST_SECONDS = 10.0


def marked(state: Path) -> dict[str, str]:
    """The mark of an emulator, for the environment of what it starts."""
    return {MARK: str(state)}


def kill_strays(state: Path) -> int:
    """Kill all that carries the mark of a state folder, and what that started; says how many.

    Who starts processes while they are killed is met by the next look. Call it before anything
    is started.
    """
    killed: set[int] = set()
    end = time.monotonic() + MOST_SECONDS
    while found := _strays(str(state)):
        for process in found:
            with suppress(psutil.Error):
                process.kill()
                killed.add(process.pid)
        if time.monotonic() > end:
            break
        time.sleep(0.01)
    return len(killed)


def _strays(state: str) -> list[psutil.Process]:
    found, own = [], os.getpid()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # gone, or somebody else's
            if process.pid != own and process.environ().get(MARK) == state:
                found.append(process)
    return found
