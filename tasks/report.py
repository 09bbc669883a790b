"""The record of one run: what was planned, done, measured, said and deleted, and how long it took.

Written to runs/<run>/report.json below the home folder on every road out of the run.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from prefect.runtime import flow_run
from pydantic import BaseModel, Field

from tasks.artifacts import markdown, run_logger
from tasks.errors import explain, scrub
from tasks.metrics import first_and_last
from tasks.naming import clean
from tasks.ownership import home
from tasks.values import (
    JobOutcome,
    JobRef,
    LiveEndpoint,
    Metrics,
    Plan,
    RegisteredModel,
    Reply,
)

Status = Literal["running", "planned", "completed", "failed"]


class SplitRows(BaseModel):
    """What became of the rows of one split."""

    used: int
    read: int
    dropped: dict[str, int] = Field(default_factory=dict)


class MetricEnds(BaseModel):
    """First and last value of one metric's curve."""

    first: float
    last: float


class RunReport(BaseModel):
    """Everything that one run did. Parts that it did not reach are empty."""

    flow_run_id: str
    flow_run_name: str
    workspace: str
    status: Status = "running"
    error: str | None = None
    error_kind: str | None = None
    """What the error is about: transient, quota, permission, bad input, out of memory, service."""
    started: datetime = Field(default_factory=lambda: datetime.now(UTC))
    finished: datetime | None = None
    seconds: dict[str, float] = Field(default_factory=dict)
    """Seconds per stage, in their order."""
    rows: dict[str, SplitRows] = Field(default_factory=dict)
    plan: Plan | None = None
    job: JobRef | None = None
    outcome: JobOutcome | None = None
    metrics: Metrics | None = None
    losses: dict[str, MetricEnds] = Field(default_factory=dict)
    model: RegisteredModel | None = None
    endpoint: LiveEndpoint | None = None
    reply: Reply | None = None
    deleted: list[str] = Field(default_factory=list)
    kept: list[str] = Field(default_factory=list)

    @property
    def folder(self) -> Path:
        """The run's own folder."""
        return home() / "runs" / f"{clean(self.flow_run_name)}-{self.flow_run_id[:8]}"

    @property
    def job_status(self) -> str | None:
        return self.outcome.status if self.outcome else None

    def add_plan(self, plan: Plan) -> None:
        """Keep the plan, and the rows of its data by split."""
        self.plan = plan
        for part in (plan.data.train, plan.data.test, plan.data.sample):
            self.rows[part.split] = SplitRows(
                used=part.rows, read=part.rows_read, dropped=part.dropped
            )

    def add_metrics(self, metrics: Metrics) -> None:
        """Keep the metrics, and the ends of the loss curves."""
        self.metrics = metrics
        for name in ("loss", "eval_loss"):
            if ends := first_and_last(metrics, name):
                self.losses[name] = MetricEnds(first=ends[0], last=ends[1])

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


@contextmanager
def recording(workspace: str) -> Iterator[RunReport]:
    """The report of the running flow: written, and kept as an artifact, however the run ends."""
    report = RunReport(
        flow_run_id=str(flow_run.get_id() or "local"),
        flow_run_name=str(flow_run.get_name() or "local"),
        workspace=workspace,
    )
    try:
        yield report
        if report.status == "running":
            report.status = "completed"
    except BaseException as error:
        report.status, report.error = "failed", error_text(error)
        clear = explain(error, "The run")
        report.error_kind = None if clear is None else str(clear.kind)
        raise
    finally:
        report.finished = datetime.now(UTC)
        path = report.write()
        run_logger().info("Report: %s", path)
        markdown("report", report_markdown(report), "What the run did")


def error_text(error: BaseException) -> str:
    """The error in one piece, and the one that came before it, when tearing down failed too."""
    text = _sentence(error) or type(error).__name__
    before = error.__context__
    if error.__cause__ is None and isinstance(before, Exception) and (told := _sentence(before)):
        return f"{text} Before that: {told}"
    return text


def _sentence(error: BaseException) -> str:
    return scrub(str(explain(error, "The run") or error))


def summary_rows(report: RunReport) -> list[tuple[str, str]]:
    """What a person wants to know at the end, as (label, text)."""
    rows: list[tuple[str, str]] = [("status", report.status)]
    if report.error:
        rows.append(("error", report.error))
    if report.plan:
        rows.append(("model", f"{report.plan.model.name}, version {report.plan.model.version}"))
    for split, count in report.rows.items():
        dropped = f", dropped {count.read - count.used}" if count.read > count.used else ""
        rows.append((f"rows {split}", f"{count.used}{dropped}"))
    if report.job:
        adopted = ", adopted" if report.job.adopted else ""
        rows.append(("job", f"{report.job.name}, {report.job_status or 'not ended'}{adopted}"))
    for name, ends in report.losses.items():
        rows.append((name, f"{ends.first:.4g} -> {ends.last:.4g}"))
    if report.model:
        rows.append(("registered model", f"{report.model.name}, version {report.model.version}"))
    if report.endpoint:
        rows.append(("endpoint", report.endpoint.endpoint))
    if report.reply:
        rows.append(("reply", " ".join(report.reply.reply.split())[:300]))
    if report.deleted:
        rows.append(("deleted", ", ".join(report.deleted)))
    if report.kept:
        rows.append(("left running", ", ".join(report.kept)))
    if report.seconds:
        spent = ", ".join(f"{name} {seconds:.0f}" for name, seconds in report.seconds.items())
        rows.append(("seconds", f"{spent}; {sum(report.seconds.values()):.0f} in all"))
    return rows


def report_markdown(report: RunReport) -> str:
    """The summary as a Markdown table."""

    def cell(text: Any) -> str:
        return str(text).replace("|", "\\|").replace("\n", "<br>")

    lines = ["| | |", "|---|---|"]
    lines += [f"| {cell(label)} | {cell(text)} |" for label, text in summary_rows(report)]
    return "\n".join(lines)
