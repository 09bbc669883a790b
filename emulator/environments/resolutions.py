"""Resolutions that are remembered for the user: the next emulator installs them in a second."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

DAYS = 7
"""After so many days newer versions are looked for."""


def load(key: str, environment: Mapping[str, str] = os.environ) -> tuple[list[str], list[str]]:
    """Lines `name==version` and notes for people; nothing where none are remembered."""
    file = _folder(environment) / f"{key}.json"
    try:
        if time.time() - file.stat().st_mtime > DAYS * 86400:
            return [], []
        found: dict[str, Any] = json.loads(file.read_text())
        return [str(line) for line in found["packages"]], [str(note) for note in found["notes"]]
    except (OSError, ValueError, KeyError, TypeError):
        return [], []


def save(
    key: str,
    packages: Sequence[str],
    notes: Sequence[str],
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Remember a resolution; without a place to write, nothing is remembered."""
    folder = _folder(environment)
    part = folder / f"{key}.{os.getpid()}.part"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({"packages": list(packages), "notes": list(notes)}))
        part.replace(folder / f"{key}.json")


def _folder(environment: Mapping[str, str]) -> Path:
    home = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "azureml-emulator", "resolutions")
