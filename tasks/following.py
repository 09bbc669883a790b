"""Following the job: status, steps and log lines until it ends or a deadline passes."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect import task

from tasks.artifacts import ProgressReport, link, run_logger, terminal_progress
from tasks.clients import REMOTE, workspace_block, workspace_client
from tasks.config import Deadlines
from tasks.errors import JobFailed
from tasks.explaining import azure_code_and_text
from tasks.history import RunHistory, Step
from tasks.job import cancel_job, job_phase
from tasks.job_board import FEW, JobBoard, job_board
from tasks.job_failure import examine
from tasks.polling import Observation, Patience, wait
from tasks.progress import TrainingProgress, read_progress
from tasks.scrubbing import scrub
from tasks.values import JobOutcome, JobRef, Phase

_LONGEST_LINE = 400


@task(name="follow the job", task_run_name="follow {job.name}", **REMOTE)
def follow_job(
    workspace: str, job: JobRef, deadlines: Deadlines, poll_seconds: float
) -> JobOutcome:
    """Wait for the job while its log lines go to this run's log; see `follow`."""
    return follow(workspace, job, deadlines, poll_seconds)


def follow(
    workspace: str,
    job: JobRef,
    deadlines: Deadlines,
    poll_seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] | None = None,
) -> JobOutcome:
    """Wait for the job while its log lines go to the log.

    Of many jobs that one process awaits only the states are followed. Raises JobFailed with the
    job's own error and its last log lines, DeadlineExceeded after cancelling a job that is too
    late. `sleep`: instead of sleeping until the job has changed.
    """
    client, started = workspace_client(workspace), clock()
    if job.studio_url:
        link("studio", job.studio_url, f"Job {job.name} in the studio")
    history = RunHistory(client, workspace_block(workspace).get_credential())
    board = job_board(workspace)
    with (
        terminal_progress(f"Job {job.name}") as progress,
        board.waiting(job.name, poll_seconds) as waiting,
    ):
        reporter = _Reporter(job.name, board, history, progress, run_logger())
        seen = wait(
            f"Job {job.name}",
            waiting.look,
            Patience(
                {Phase.QUEUED: deadlines.queue * 60, Phase.RUNNING: deadlines.run * 60},
                interval=poll_seconds,
            ),
            cancel=lambda: cancel_job(workspace, job.name),
            on_progress=reporter.report,
            on_error=reporter.report_error,
            clock=clock,
            sleep=sleep or waiting.sleep,
        )
    if seen.phase is not Phase.SUCCEEDED:
        raise _failure(workspace, job.name, seen)
    return JobOutcome(
        name=job.name,
        status=seen.status,
        seconds=round(clock() - started, 1),
        adopted=job.adopted,
    )


@dataclass
class _Reporter:
    """Carries status, steps and log lines of one job to the run's log and its progress."""

    job: str
    board: JobBoard
    history: RunHistory
    progress: ProgressReport
    logger: Any
    last_status: str = ""
    trainings: dict[str, TrainingProgress] = field(default_factory=dict)
    """Name of a step -> what its lines say of its training."""
    _unreadable: bool = False
    _left_out: bool = False

    def report(self, seen: Observation) -> None:
        """Never raises: what cannot be read now is read at the next look."""
        if seen.status != self.last_status:
            self.logger.info("Job %s: %s", self.job, seen.status)
            self.last_status = seen.status
        if seen.phase is Phase.QUEUED:
            self.progress.update(0, seen.status)
            return
        if not self.board.has_few:
            self._leave_out()
            return
        try:
            self._report_steps(seen)
        except Exception as error:  # logs are an extra: they never fail a run
            if not self._unreadable:
                self.logger.warning(
                    "The logs of job %s cannot be read now: %s",
                    self.job,
                    azure_code_and_text(error)[1],
                )
            self._unreadable = True
        else:
            self._unreadable = False

    def _leave_out(self) -> None:
        self.progress.update(0, "running")
        if not self._left_out:
            self.logger.info(
                "More than %d jobs are awaited by this process: their logs are in the studio.",
                FEW,
            )
            self._left_out = True

    def report_error(self, error: Exception) -> None:
        self.logger.warning(
            "Job %s cannot be looked at now, trying again: %s",
            self.job,
            azure_code_and_text(error)[1],
        )

    def _report_steps(self, seen: Observation) -> None:
        steps = [step for step in self.history.steps(self.job) if step.children == 0]
        job = Step(self.job, "", seen.status)
        try:
            for step in [job, *steps]:
                self._report_lines(step)
        finally:
            percent, text = how_far(steps or [job], self.trainings)
            if steps or text:
                self.progress.update(percent, text)

    def _report_lines(self, step: Step) -> None:
        lines = [scrub(line)[:_LONGEST_LINE] for line in self.history.new_lines(step) if line]
        for line in lines:
            self.logger.info("%s%s", f"[{step.title}] " if step.title else "", line)
        bars = self.history.unfinished_lines(step)
        self.trainings[step.name] = read_progress([*lines, *bars], self.trainings.get(step.name))


def how_far(steps: Sequence[Step], trainings: Mapping[str, TrainingProgress]) -> tuple[float, str]:
    """Percent of the steps that is done, every step counting the same, and a line about it.

    A step that trains counts by its own share. `trainings`: by the step's name.
    """
    running = [step for step in steps if job_phase(step.status) is Phase.RUNNING]
    done = sum(job_phase(step.status).ended for step in steps)
    texts = [f"{done} of {len(steps)} steps done"] if steps[0].title else []
    share = float(done)
    for step in running:
        training = trainings.get(step.name, TrainingProgress())
        share += training.share or 0.0
        texts.append(": ".join(part for part in (step.title, str(training)) if part))
    return round(100 * share / len(steps), 1), ", ".join(text for text in texts[:3] if text)


def _failure(workspace: str, job: str, seen: Observation) -> JobFailed:
    if seen.phase is Phase.CANCELLED:
        return JobFailed(
            f"Job {job} was cancelled by someone else.", "Run again to submit it once more."
        )
    failure = examine(workspace, job)
    return JobFailed(f"Job {job} failed: {failure}", failure.advice, failure.kind)
