"""What the commands of the flows share: settings from a file and options, and how a run is told."""

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import yaml
from prefect.exceptions import ObjectAlreadyExists
from prefect.logging.handlers import PrefectConsoleHandler
from prefect.settings import PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, temporary_settings
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from blocks.azureml import AzureMLWorkspace
from flows import BEGAN
from tasks.clients import forget_clients
from tasks.config import Section
from tasks.explaining import explain
from tasks.ownership import home
from tasks.preload import import_meanwhile
from tasks.recording import Record, error_text

DEFAULT_BLOCK = "default"
_START_SECONDS = 120
"""For the Prefect server that a run without one starts for itself."""

_Config = TypeVar("_Config", bound=Section)
_Report = TypeVar("_Report")


class UsageError(Exception):
    """The command line or the configuration file is wrong; the text says how."""


class Told(Protocol):
    """What a run gives back: it can be told in a table."""

    def summary(self) -> list[tuple[str, str]]: ...


def settings_parser(flow: str, description: str) -> argparse.ArgumentParser:
    """A parser with the options that every flow with settings has."""
    parser = argparse.ArgumentParser(prog=f"python -m flows.{flow}", description=description)
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of the settings")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="one setting, its groups joined by dots; may be repeated",
    )
    add_workspace(parser)
    return parser


def add_workspace(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the workspace's block."""
    parser.add_argument(
        "--workspace",
        default=DEFAULT_BLOCK,
        metavar="BLOCK",
        help="name of the Azure ML Workspace block (default: %(default)s)",
    )


def run_with_settings(
    parser: argparse.ArgumentParser,
    kind: type[_Config],
    run: Callable[[_Config, argparse.Namespace], Told],
    arguments: Sequence[str] | None = None,
    switches: Sequence[tuple[str, str]] = (),
) -> int:
    """Read the settings and run: 0 completed, 1 failed, 2 wrong usage or nowhere to write.

    `switches`: (option, setting) pairs; a given option makes its setting true.
    """
    options = parser.parse_args(arguments)
    try:
        on = [setting for option, setting in switches if getattr(options, option)]
        config = read_settings(options, kind, on)
        _require_home()
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return carry_out(lambda: run(config, options), options.workspace, print_summary)


def read_settings(
    options: argparse.Namespace, kind: type[_Config], on: Sequence[str] = ()
) -> _Config:
    """The configuration file with the options of the command line put over it."""
    values = {} if options.config is None else _read_yaml(options.config)
    for setting in [*options.set, *(f"{path}=true" for path in on)]:
        _put(values, setting)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UsageError(_explain_validation(error)) from error


def carry_out(run: Callable[[], _Report], workspace: str, show: Callable[[_Report], None]) -> int:
    """Run in this process and show what came of it: 0 completed, 1 failed."""
    import_meanwhile()
    with temporary_settings({PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: _START_SECONDS}):
        if workspace == DEFAULT_BLOCK:
            ensure_default_block()
        quiet_user_errors()
        try:
            report = run()
        except KeyboardInterrupt:
            print("\nInterrupted. What was under way is named above as undone.", file=sys.stderr)
            return 1
        except Exception as error:
            clear = explain(error, "The run")
            if clear is None:
                raise
            print(f"error: {error_text(error)} [{clear.kind}]", file=sys.stderr)
            return 1
    show(report)
    return 0


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


def print_summary(report: Told) -> None:
    """The run in a table, and where its report lies."""
    record = report if isinstance(report, Record) else None
    title = f"{record.flow_name}: {record.flow_run_name}" if record else None
    table = Table(show_header=False, title=title)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in report.summary():
        table.add_row(label, text)
    Console().print(table)
    if record:
        print(f"Report: {record.folder / 'report.json'}")
        took, inside = time.monotonic() - BEGAN, sum(record.seconds.values())
        print(f"Took {took:.0f} s: {inside:.0f} in these stages, the rest to start and to report.")


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
