"""A parallel_for node: its body once for each item, and a step that gathers what they wrote."""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emulator.compute.plan import Command, StepInput
from emulator.compute.scope import user_error
from emulator.compute.values import FILE_TYPES, LITERAL_TYPES, StepOutput

MOST_ITEMS = 1000

_GATHER = Path(__file__).parents[1] / "parallel_step" / "gather.py"
_LABEL = re.compile(r"[\w-]{1,100}")


def read_items(name: str, text: str) -> dict[str, dict[str, Any]]:
    """The inputs of each iteration, by its label: the key of an object, the place in a list.

    Raises AzureError 400 for items that are neither.
    """
    try:
        items = json.loads(text)
    except ValueError as error:
        raise user_error(f"The items of job {name} are no JSON: {error}") from error
    if isinstance(items, list):
        items = {str(number): item for number, item in enumerate(items)}
    if not isinstance(items, dict) or not all(isinstance(item, dict) for item in items.values()):
        raise user_error(f"The items of job {name} must be a list or an object of objects.")
    if len(items) > MOST_ITEMS:
        raise user_error(f"Job {name} has {len(items)} items; {MOST_ITEMS} is the most.")
    if bad := next((label for label in items if not _LABEL.fullmatch(label)), None):
        raise user_error(
            f"The item {bad!r} of job {name} must be named by letters, digits, '-' and '_'."
        )
    return items


def gathered_type(kind: str) -> str:
    """What outputs of a type become together: plain values one text, files one table."""
    return "string" if kind in LITERAL_TYPES else "mltable"


def gathering(
    outputs: Mapping[str, str], written: Mapping[str, Mapping[str, StepOutput]]
) -> tuple[Command, dict[str, StepInput]]:
    """The step that gathers `outputs` (name -> type) of what iterations have written, by label."""
    inputs: dict[str, StepInput] = {}
    lines = []
    for output, kind in outputs.items():
        plain = kind in LITERAL_TYPES
        words = [f'"${{{{outputs.{output}}}}}"']
        for number, (label, iteration) in enumerate(written.items()):
            port = f"{output}_{number}"
            mode = None if kind in FILE_TYPES else "ro_mount"
            inputs[port] = StepInput(iteration[output], kind, mode)
            words += [shlex.quote(label), f'"${{{{inputs.{port}}}}}"']
        what = "values" if plain else "table"
        lines.append(f"python {shlex.quote(str(_GATHER))} {what} {' '.join(words)}")
    return Command(" && ".join(lines) or "true", None, None, {}, None, 1, None), inputs
