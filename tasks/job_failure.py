"""Why a job failed: its own error text, its last log lines, and what kind of failure that is."""

from dataclasses import dataclass, field

from tasks.artifacts import run_logger
from tasks.clients import workspace_block, workspace_client
from tasks.errors import ErrorKind
from tasks.explaining import azure_code_and_text
from tasks.failures import advice_for, classify_job_failure
from tasks.history import RunHistory, Step
from tasks.scrubbing import scrub

_LINES = 20
_LONGEST_LINE = 400


@dataclass(frozen=True)
class JobFailure:
    """A failed job's error text ("" when it gave none) and the last lines of its log."""

    reason: str = ""
    lines: tuple[str, ...] = field(default=())

    @property
    def kind(self) -> ErrorKind:
        return classify_job_failure(self.reason, self.lines)

    @property
    def advice(self) -> str:
        return advice_for(self.kind)

    def __str__(self) -> str:
        text = self.reason or "it gave no error text"
        if not self.lines:
            return f"{text.rstrip('.')}."
        logs = "".join(f"\n    {line}" for line in self.lines)
        return f"{text}\n  Its last log lines:{logs}\n "


def examine(workspace: str, name: str) -> JobFailure:
    """Read why the job failed; what cannot be read is left out."""
    try:
        client = workspace_client(workspace)
        history = RunHistory(client, workspace_block(workspace).get_credential())
        for step in reversed(history.steps(name)):  # children come after their parents
            if step.status == "Failed" and (text := history.details(step.name).error):
                return JobFailure(f"step {step.title}: {text}", _last_lines(history, step))
        job = Step(name, "", "Failed")
        return JobFailure(history.details(name).error or "", _last_lines(history, job))
    except Exception as error:  # the reason is an extra; that it failed is known
        run_logger().debug("no reason for %s: %s", name, azure_code_and_text(error)[1])
    return JobFailure()


def _last_lines(history: RunHistory, step: Step) -> tuple[str, ...]:
    lines = [line for line in history.new_lines(step) if line.strip()]
    return tuple(scrub(line)[:_LONGEST_LINE] for line in lines[-_LINES:])
