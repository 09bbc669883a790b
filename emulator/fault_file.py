"""Faults and transitions from a file, set before the first request."""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from emulator.core import Emulator
from emulator.faults import FaultRule
from emulator.http import AzureError
from emulator.transitions import Setting, check_kind
from emulator.validation import parse


class BadFaultFile(Exception):
    """The file cannot be used; the text says why."""


class FaultFile(BaseModel):
    """The whole of a file. A list in it is the faults alone."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    faults: list[FaultRule] = []
    transitions: dict[str, Setting] = {}


def read_fault_file(file: Path) -> FaultFile:
    """What a file says. Raises BadFaultFile."""
    try:
        content = yaml.safe_load(file.read_text())
        found = parse(FaultFile, {"faults": content} if isinstance(content, list) else content)
        for kind in found.transitions:
            check_kind(kind)
    except (OSError, yaml.YAMLError) as error:
        raise BadFaultFile(f"cannot read the faults in {file}: {error}") from error
    except AzureError as error:
        raise BadFaultFile(f"the faults in {file} are wrong: {error.message}") from error
    return found


def apply_fault_file(emulator: Emulator, file: FaultFile) -> None:
    """Set what the file says."""
    for rule in file.faults:
        emulator.faults.add(rule)
    for kind, setting in file.transitions.items():
        emulator.transitions.set(kind, setting)
