"""The record of one flow run: its stages and their seconds, its end, and the file that keeps it.

Written to runs/<run>/report.json below the home folder on every road out of the run.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from prefect.runtime import flow_run
from pydantic import BaseModel, Field

from tasks.artifacts import markdown, run_logger
from tasks.explaining import explain
from tasks.markdown import summary_table
from tasks.naming import clean
from tasks.ownership import home
from tasks.scrubbing import scrub

RUNNING, FAILED = "running", "failed"


class Record(BaseModel, ABC):
    """Everything that one run did. Parts that it did not reach are empty."""

    flow_name: str = Field(default_factory=lambda: str(flow_run.get_flow_name() or "local"))
    flow_run_id: str = Field(default_factory=lambda: str(flow_run.get_id() or "local"))
    flow_run_name: str = Field(default_factory=lambda: str(flow_run.get_name() or "local"))
    workspace: str
    status: str = RUNNING
    error: str | None = None
    error_kind: str | None = None
    """What the error is about: transient, quota, permission, bad input, out of memory, service."""
    started: datetime = Field(default_factory=lambda: datetime.now(UTC))
    finished: datetime | None = None
    seconds: dict[str, float] = Field(default_factory=dict)
    """Seconds per stage, in their order."""

    @abstractmethod
    def summary(self) -> list[tuple[str, str]]:
        """What a person wants to know at the end, as (label, text)."""

    def markdown(self) -> str:
        """The record as its artifact shows it."""
        return summary_table(self.summary())

    @property
    def folder(self) -> Path:
        """The run's own folder."""
        return home() / "runs" / f"{clean(self.flow_run_name)}-{self.flow_run_id[:8]}"

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure one stage; a stage that comes twice adds up."""
        started = time.monotonic()
        run_logger().info("Stage: %s", name)
        try:
            yield
        finally:
            spent = self.seconds.get(name, 0.0) + time.monotonic() - started
            self.seconds[name] = round(spent, 2)

    def spent(self) -> list[tuple[str, str]]:
        """The seconds as a row of the summary; none before the first stage has ended."""
        if not self.seconds:
            return []
        spent = ", ".join(f"{name} {seconds:.0f}" for name, seconds in self.seconds.items())
        return [("seconds", f"{spent}; {sum(self.seconds.values()):.0f} in all")]

    def write(self) -> Path:
        """Write report.json and point `latest` at its folder; the path of the file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "report.json"
        path.write_text(scrub(self.model_dump_json(indent=2)), encoding="utf-8")
        latest = self.folder.parent / "latest"
        fresh = latest.with_name(f".latest-{self.flow_run_id[:8]}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(self.folder.name)
        fresh.replace(latest)
        return path


_Kind = TypeVar("_Kind", bound=Record)


@contextmanager
def recording(record: _Kind, end: str = "completed") -> Iterator[_Kind]:
    """Write the record, and keep it as an artifact, however the run ends.

    A run that has not said how it ended has the status `end`.
    """
    try:
        yield record
        if record.status == RUNNING:
            record.status = end
    except BaseException as error:
        record.status, record.error = FAILED, error_text(error)
        clear = explain(error, "The run")
        record.error_kind = None if clear is None else str(clear.kind)
        raise
    finally:
        record.finished = datetime.now(UTC)
        path = record.write()
        run_logger().info("Report: %s", path)
        markdown("report", record.markdown(), "What the run did")


def error_text(error: BaseException) -> str:
    """The error in one piece, and the one that came before it, when tearing down failed too."""
    text = _sentence(error) or type(error).__name__
    before = error.__context__
    if error.__cause__ is None and isinstance(before, Exception) and (told := _sentence(before)):
        return f"{text} Before that: {told}"
    return text


def _sentence(error: BaseException) -> str:
    return scrub(str(explain(error, "The run") or error))
