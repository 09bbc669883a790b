"""What `make install` checks before it changes anything.

Runs with whatever `python3` the machine has: the standard library alone, and nothing newer than
Python 3.7, or an old Python would fail before it can say that it is too old.

    python3 deployments/preflight.py    exit 1 and say why, if this machine is not enough
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from typing import Callable, List, Tuple

# Names that Python 3.7 understands too: it must come as far as the message.
Runs = Callable[[str], bool]

OLDEST = (3, 11)
FREE_GB = 4.0


def problems(
    version: Tuple[int, int],
    has_module: Callable[[str], bool],
    free_gb: float,
    runs: Runs,
) -> List[str]:
    """What keeps this machine from running the project: one text each, with the next step.

    version: (major, minor) of this Python; has_module(name) -> bool; free_gb: free disk space;
    runs(name) -> whether the program `name` is there and starts.
    """
    found = []
    if version < OLDEST:
        found.append(
            "python3 is Python {}.{}; this project needs {}.{} or newer. {}".format(
                *version, *OLDEST, _newer_python(runs)
            )
        )
    elif not (has_module("venv") and has_module("ensurepip")):
        found.append(
            "This Python cannot make virtual environments: its modules venv and ensurepip are "
            "missing. On Debian and Ubuntu: sudo apt install python{}.{}-venv. "
            "Then run make again.".format(*version)
        )
    if free_gb < FREE_GB:
        found.append(
            f"Only {free_gb:.1f} GB of disk are free here; the environment needs "
            f"{FREE_GB:.0f} GB (torch and its companions). Free some and run make again."
        )
    return found


def _newer_python(runs: Runs) -> str:
    for minor in range(14, OLDEST[1] - 1, -1):
        name = f"python3.{minor}"
        if runs(name):
            return f"{name} is on this machine: run make again with PYTHON={name}."
    return (
        "Install a newer Python (python.org, your system's packages, pyenv or uv), "
        "then run make again with PYTHON=/path/to/python3."
    )


def starts(name: str) -> bool:
    """Whether the program `name` is there and starts; a version manager's stand-in may not."""
    try:
        done = subprocess.run(
            [name, "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        )
    except OSError:
        return False
    return done.returncode == 0


def main() -> int:
    found = problems(
        (sys.version_info[0], sys.version_info[1]),
        lambda name: importlib.util.find_spec(name) is not None,
        shutil.disk_usage(".").free / 1e9,
        starts,
    )
    for text in found:
        print(text, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
