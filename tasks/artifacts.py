"""What a run shows while it goes on: Prefect artifacts, and a bar where a person looks on."""

import logging
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import MissingContextError
from rich.console import Console
from rich.default_styles import DEFAULT_STYLES
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.theme import Theme

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]


def in_run() -> bool:
    """Whether this code runs inside a flow or task run, where artifacts have a place."""
    return FlowRunContext.get() is not None or TaskRunContext.get() is not None


def run_logger() -> Logger:
    """The log of the running task or flow; outside of one an ordinary logger."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("finetune")


def markdown(key: str, text: str, description: str = "") -> None:
    """Keep a text with the run."""
    if in_run():
        create_markdown_artifact(text, key=key, description=description or None)


def table(key: str, rows: list[dict[str, Any]], description: str = "") -> None:
    """Keep a table with the run, one dict a row."""
    if in_run():
        create_table_artifact(rows, key=key, description=description or None)


def link(key: str, url: str, text: str) -> None:
    """Keep a link with the run."""
    if in_run():
        create_link_artifact(url, link_text=text, key=key, description=text)


def image(key: str, url: str, description: str, text: str = "") -> None:
    """Keep a picture with the run, and a text in Markdown below it; `url` may be a data URI.

    It is kept as Markdown: the UI prints the address of other pictures, in full, beside them.
    """
    markdown(key, f"![{description}]({url})" + (f"\n\n{text}" if text else ""), description)


@dataclass
class ProgressReport:
    """Progress of one piece of work: an artifact in the UI and a bar in the terminal."""

    what: str
    artifact: UUID | None = None
    bar: Progress | None = None
    task: TaskID | None = None
    _shown: tuple[float, str] = (-1.0, "")

    def update(self, percent: float, text: str = "") -> None:
        """Show `percent` (0 to 100) and a short text; nothing is sent while nothing changes."""
        if (percent, text) == self._shown:
            return
        self._shown = (percent, text)
        if self.artifact is not None:
            update_progress_artifact(self.artifact, percent, f"{self.what}: {text}")
        if self.bar is not None and self.task is not None:
            # A bar at zero says less than one that moves: so it pulses until the first step.
            self.bar.update(self.task, completed=percent, total=100 if percent else None, note=text)

    def finish(self) -> None:
        """Show that it is done."""
        percent, text = self._shown
        if percent < 100:
            self.update(100, text or "done")


def terminal() -> Console | None:
    """The console that the log lines go to, if a person looks at it.

    A bar has to share the log's console, else they write over each other.
    """
    for handler in logging.getLogger().handlers:
        console = getattr(handler, "console", None)
        if isinstance(console, Console):
            return console if console.is_terminal else None
    return Console(stderr=True) if sys.stderr.isatty() else None


def without_dots() -> AbstractContextManager[Any]:
    """Keep the dots that the SDK prints while it polls out of the log.

    The SDK has no switch for them and prints from threads of its own. Its one module that does is
    given a silent `print`, for good; the process's stdout stays as it is.
    """
    from azure.ai.ml._utils import _azureml_polling

    vars(_azureml_polling)["print"] = _print_nothing
    return nullcontext()


def _print_nothing(*texts: object, **options: object) -> None:
    pass


@contextmanager
def terminal_progress(what: str, key: str = "progress") -> Iterator[ProgressReport]:
    """Progress of `what` in the UI, and as a bar where the log goes to a terminal.

    What ends without an error is shown as done, also where nobody counted its steps.
    """
    artifact = None
    if in_run():
        artifact = cast(UUID, create_progress_artifact(0.0, key=key, description=what))
    report = ProgressReport(what, artifact)
    with _bar(report):
        yield report
    report.finish()


@contextmanager
def _bar(report: ProgressReport) -> Iterator[None]:
    console = terminal()
    if console is None:
        yield
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    # Prefect's console has a theme of its own, without the colours of a bar.
    with (
        console.use_theme(Theme(DEFAULT_STYLES)),
        Progress(*columns, console=console, transient=True) as bar,
    ):
        report.bar, report.task = bar, bar.add_task(report.what, total=None, note="")
        yield
    report.bar = None
