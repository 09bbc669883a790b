"""The finetune flow from a terminal: python -m flows.finetune --config FILE.yaml"""

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from prefect.exceptions import ObjectAlreadyExists
from prefect.logging.handlers import PrefectConsoleHandler
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from blocks.azureml import AzureMLWorkspace
from tasks.clients import forget_clients
from tasks.config import FinetuneConfig
from tasks.errors import explain
from tasks.ownership import home
from tasks.recording import Record, error_text

DEFAULT_BLOCK = "default"


class UsageError(Exception):
    """The command line or the configuration file is wrong; the text says how."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the flow in this process: 0 completed, 1 failed, 2 wrong usage or nowhere to write."""
    options = _parser().parse_args(arguments)
    try:
        config = read_config(options)
        _require_home()
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    from flows.finetune import finetune

    if options.workspace == DEFAULT_BLOCK:
        ensure_default_block()
    quiet_user_errors()
    try:
        report = finetune(config, workspace=options.workspace)
    except KeyboardInterrupt:
        print("\nInterrupted. What was under way is named above as undone.", file=sys.stderr)
        return 1
    except Exception as error:
        clear = explain(error, "The run")
        if clear is None:
            raise
        print(f"error: {error_text(error)} [{clear.kind}]", file=sys.stderr)
        return 1
    print_summary(report)
    return 0


def read_config(options: argparse.Namespace) -> FinetuneConfig:
    """The configuration file with the options of the command line put over it."""
    values: dict[str, Any] = {}
    if options.config is not None:
        values = _read_yaml(options.config)
    for setting in options.set:
        _put(values, setting)
    switches = {
        "plan_only": options.plan_only,
        "model.accept_retired": options.accept_retired,
        "serving.keep_endpoint": options.keep_endpoint,
    }
    for path, wanted in switches.items():
        if wanted:
            _put(values, f"{path}=true")
    try:
        return FinetuneConfig.model_validate(values)
    except ValidationError as error:
        raise UsageError(_explain_validation(error)) from error


def ensure_default_block() -> None:
    """Save an empty block `default` where there is none: the environment then says the rest."""
    for tries_left in (2, 1, 0):
        try:
            AzureMLWorkspace.load(DEFAULT_BLOCK, _sync=True)  # type: ignore[call-arg]
            return
        except ValueError:
            pass
        try:
            AzureMLWorkspace().save(DEFAULT_BLOCK, overwrite=True, _sync=True)  # type: ignore[call-arg]
            forget_clients()
            return
        except ObjectAlreadyExists:  # another run is just doing the same
            if not tries_left:
                raise


def _require_home() -> None:
    """Refuse a home folder that cannot be written, before anything is looked up or billed."""
    try:
        home().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home()) as file:
            file.write(b"\0" * 4096)
    except OSError as error:
        raise UsageError(
            f"The folder {home()}, for everything that a run writes, cannot be written: "
            f"{os.strerror(error.errno or 0)}. Correct that, or set FINETUNE_HOME to another one."
        ) from error


def print_summary(report: Record) -> None:
    """The run in a table, and where the report lies."""
    table = Table(show_header=False, title=f"finetune: {report.flow_run_name}")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in report.summary():
        table.add_row(label, text)
    Console().print(table)
    print(f"Report: {report.folder / 'report.json'}")


class _WithoutTrace(logging.Filter):
    """Leaves out the traceback of errors that are explained to a person; a bug keeps its own."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and explain(error, "") is not None:
            record.exc_info, record.exc_text = None, None
        return True


def quiet_user_errors() -> None:
    """Show an error that can be explained in the terminal's log without its traceback."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):
            handler.addFilter(_WithoutTrace())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flows.finetune",
        description="Fine-tune a chat model with Azure ML, deploy it, ask it, tear it down.",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of the settings")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="one setting, for example parameters.num_train_epochs=2; may be repeated",
    )
    parser.add_argument(
        "--plan-only", action="store_true", help="print the plan and stop: nothing is billed"
    )
    parser.add_argument(
        "--accept-retired", action="store_true", help="go on although the model is retired"
    )
    parser.add_argument(
        "--keep-endpoint", action="store_true", help="leave the endpoint running, and billed"
    )
    parser.add_argument(
        "--workspace",
        default=DEFAULT_BLOCK,
        metavar="BLOCK",
        help="name of the Azure ML Workspace block (default: %(default)s)",
    )
    return parser


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not YAML: it is not text in UTF-8.") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {os.strerror(error.errno or 0)}.") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())}.") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UsageError(f"{path} has to hold settings by name, not a {type(values).__name__}.")
    return values


def _put(values: dict[str, Any], setting: str) -> None:
    """Put `a.b=value` into nested dicts; the value is read as YAML."""
    path, equals, text = setting.partition("=")
    if not equals or not path:
        raise UsageError(f"--set takes KEY=VALUE, not {setting!r}.")
    *groups, name = path.split(".")
    for group in groups:
        inner = values.setdefault(group, {})
        if not isinstance(inner, dict):
            raise UsageError(f"{group} in --set {setting} has no settings below it.")
        values = inner
    try:
        values[name] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {setting}: the value is not YAML.") from error


def _explain_validation(error: ValidationError) -> str:
    """One line a setting: its path, what is wrong and what was given."""
    lines = []
    for problem in error.errors():
        path = ".".join(str(part) for part in problem["loc"])
        given = "" if problem["type"] == "extra_forbidden" else f" (given: {problem['input']!r})"
        reason = (
            "there is no such setting" if problem["type"] == "extra_forbidden" else problem["msg"]
        )
        lines.append(f"{path}: {reason}{given}")
    return "; ".join(lines)
