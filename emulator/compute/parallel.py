"""A parallel node as the command that runs it: a driver that hands out mini-batches."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from emulator.compute.commands import read_command
from emulator.compute.components import Component
from emulator.compute.durations import seconds
from emulator.compute.mltable import TABLE
from emulator.compute.plan import Command, StepInput
from emulator.compute.scope import Scope, user_error
from emulator.compute.values import Data, literal_text
from emulator.http import AzureError

DRIVER = Path(__file__).parents[1] / "parallel_step"
NO_CODE = DRIVER / "no_code" / "score.py"
"""What a model is run with that brings no script."""
MODEL_INPUT = "task_model"
"""The input that a task's model becomes."""

_INPUT = re.compile(r"\s*\$\{\{\s*inputs\.([\w.-]+)\s*\}\}\s*")
_SIZE = re.compile(r"(\d+)\s*(kb|mb|gb)?", re.IGNORECASE)
_UNITS = {"": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}


def read_parallel(
    name: str,
    scope: Scope,
    component: Component,
    node: Mapping[str, Any],
    inputs: Mapping[str, StepInput],
    cores: int,
) -> tuple[Command, dict[str, StepInput]]:
    """What a parallel node runs, and its inputs as the driver needs them.

    The node's settings go over the component's. `cores` bounds the processes.
    Raises AzureError: 400 for a node that cannot run as written, 501 for an unknown task.
    """
    spec = component.spec
    settings = {**spec, **{key: value for key, value in node.items() if value is not None}}
    task = settings.get("task") or {}
    kind = str(task.get("type") or "run_function")
    if kind not in ("run_function", "model"):
        raise AzureError(
            501,
            "OperationNotSupported",
            f"The task of parallel job {name} is a {kind}. The local Azure ML runs tasks of type "
            "run_function, with an entry script, and model.",
        )
    model = _plain(task.get("model"))
    if kind == "model":
        if model is None:
            raise user_error(f"The task of parallel job {name} is a model and names none.")
        task = {**task, "entry_script": task.get("entry_script") or str(NO_CODE)}
    split = _split_input(name, settings.get("input_data"), inputs)
    given = inputs[split]
    keys = _partition_keys(settings.get("partition_keys"))
    tabular = given.type == "mltable" and given.mode == "direct"
    described = tabular or (given.type == "mltable" and bool(keys))
    wanted = TABLE if described else _file_mode(given)
    words = _words(name, scope, settings, task)
    words += ["--input-name", split, "--processes", str(_processes(scope, settings, cores))]
    words += ["--tabular"] if tabular else []
    words += ["--partition-keys", *keys] if keys else []
    text = f'python {shlex.quote(str(DRIVER))} --input "${{{{inputs.{split}}}}}" '
    for option in ("append_row_to", "output_folder"):
        if task.get(option):
            text += f'--{option.replace("_", "-")} "{task[option]}" '
    if model is not None:
        text += f'--model "${{{{inputs.{MODEL_INPUT}}}}}" '
        inputs = {
            **inputs,
            MODEL_INPUT: StepInput(Data(model, "custom_model"), "custom_model", None),
        }
    text += f"{shlex.join(words)} -- {(task.get('program_arguments') or '').strip()}"
    code = component.code or _plain(task.get("code"))
    body = {
        **spec,
        "command": " ".join(text.split("\n")),
        "environment": _plain(task.get("environment")),
    }
    command = read_command(scope, body, node, code)
    return command, {**inputs, split: replace(given, mode=wanted)}


def _words(
    name: str, scope: Scope, settings: Mapping[str, Any], task: Mapping[str, Any]
) -> list[str]:
    if not task.get("entry_script"):
        raise user_error(f"Parallel job {name} has no task.entry_script.")
    retries = settings.get("retry_settings") or {}
    options: dict[str, Any] = {
        "--entry-script": task["entry_script"],
        "--mini-batch-size": _size(name, scope.text(settings.get("mini_batch_size"))),
        "--max-retries": _number(name, "max_retries", scope.text(retries.get("max_retries"))),
        "--mini-batch-error-threshold": _number(
            name,
            "mini_batch_error_threshold",
            scope.text(settings.get("mini_batch_error_threshold")),
        ),
        "--error-threshold": _number(
            name, "error_threshold", scope.text(settings.get("error_threshold"))
        ),
        "--logging-level": scope.text(settings.get("logging_level")),
    }
    try:
        options["--timeout"] = seconds(scope.text(retries.get("timeout")))
    except ValueError as error:
        raise user_error(str(error)) from error
    return [f"{key}={value}" for key, value in options.items() if value is not None]


def _split_input(name: str, written: Any, inputs: Mapping[str, StepInput]) -> str:
    match = _INPUT.fullmatch(str(written or ""))
    if match is None or match[1] not in inputs:
        raise user_error(
            f"The input_data of parallel job {name} must name one of its inputs as "
            f"${{{{inputs.<name>}}}}, not {written or 'nothing'}."
        )
    return match[1]


def _file_mode(given: StepInput) -> str | None:
    """The mode in which files come: those that a table names, without the table's own file."""
    download = given.mode in ("download", "eval_download")
    if given.type == "mltable":
        return "eval_download" if download else "eval_mount"
    return "download" if download else None


def _partition_keys(written: Any) -> list[str]:
    """The SDK sends a list as JSON text."""
    if isinstance(written, str):
        try:
            written = json.loads(written)
        except ValueError as error:
            raise user_error(f"The partition_keys {written} are no list.") from error
    return [str(key) for key in written or []]


def _processes(scope: Scope, settings: Mapping[str, Any], cores: int) -> int:
    each = scope.text(settings.get("max_concurrency_per_instance"))
    resources = settings.get("resources") or {}
    instances = scope.text(resources.get("instance_count")) or "1"
    try:
        return max(1, min(cores, int(each or cores) * int(instances)))
    except ValueError as error:
        raise user_error(str(error)) from error


def _size(name: str, text: str | None) -> int | None:
    if text is None or text == "0":  # the SDK sends 0 where none is given
        return None
    match = _SIZE.fullmatch(text.strip())
    size = int(match[1]) * _UNITS[(match[2] or "").lower()] if match else 0
    if size < 1:
        raise user_error(
            f"The mini_batch_size {text} of parallel job {name} is no number of files, and no "
            "size in kb, mb or gb."
        )
    return size


def _number(name: str, what: str, text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError as error:
        raise user_error(f"The {what} {text} of parallel job {name} is no whole number.") from error


def _plain(reference: Any) -> str | None:
    """A reference without the prefix that the SDK puts before ARM ids."""
    if not reference:
        return None
    text = literal_text(reference)
    return text.removeprefix("azureml:") if text.startswith("azureml:/") else text
