"""What one release did: its steps, what was measured at each, and what it replaced."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from tasks.markdown import summary_table


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Measured(_Value):
    """What became of the requests of one check to one deployment. Times are seconds."""

    deployment: str
    requests: int
    errors: int
    p50: float | None = None
    """Half of the good replies took at most this; None when there was none."""
    p95: float | None = None
    reasons: tuple[str, ...] = ()
    """What went wrong, every kind once."""

    def __str__(self) -> str:
        times = "no reply" if self.p50 is None else f"p50 {self.p50:.3f} s, p95 {self.p95:.3f} s"
        return f"{self.errors} of {self.requests} failed, {times}"


class ReleaseStep(_Value):
    """One step of the traffic, and how both deployments did meanwhile."""

    share: int
    """Percent of the traffic that the new deployment answered."""
    mirrored: int = 0
    """Percent of the traffic that it got a copy of."""
    new: Measured
    old: Measured | None = None
    problems: tuple[str, ...] = ()
    """The limits that the new deployment did not hold, a sentence each."""

    @property
    def name(self) -> str:
        return f"mirror {self.mirrored} %" if self.mirrored else f"{self.share} %"


Outcome = Literal["released", "already live", "not approved", "refused"]


class ReleaseReport(_Value):
    """How one release ended. One that was rolled back has none: it raises ReleaseFailed."""

    status: Outcome
    reason: str = ""
    """Why nothing was released; "" for a release."""
    endpoint: str
    scoring_uri: str | None = None
    deployment: str
    model: str
    """Name and version, with a colon between them."""
    replaced_deployment: str | None = None
    replaced_model: str | None = None
    steps: tuple[ReleaseStep, ...] = ()
    deleted: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def is_live(self) -> bool:
        """Whether the endpoint serves the model now."""
        return self.status in ("released", "already live")

    def summary(self) -> list[tuple[str, str]]:
        """What a person wants to know at the end, as (label, text)."""
        rows: list[tuple[str, str]] = [("status", self.status)]
        rows += [("why", self.reason)] if self.reason else []
        rows += [
            ("model", self.model),
            ("endpoint", self.endpoint),
            ("deployment", self.deployment),
        ]
        rows += [("answers at", self.scoring_uri)] if self.scoring_uri else []
        if self.replaced_deployment:
            rows.append(("replaced", f"{self.replaced_deployment} ({self.replaced_model})"))
        rows += [(f"step {step.name}", str(step.new)) for step in self.steps]
        rows += [("deleted", ", ".join(self.deleted))] if self.deleted else []
        return [*rows, ("seconds", f"{self.seconds:.0f}")]

    def markdown(self) -> str:
        """The report as its artifact shows it."""
        return summary_table(self.summary())


def step_rows(steps: Sequence[ReleaseStep]) -> list[dict[str, Any]]:
    """One row a step, for the table in Prefect's UI. Times are seconds."""
    return [
        {
            "step": step.name,
            "requests": step.new.requests,
            "errors": step.new.errors,
            "p50": step.new.p50,
            "p95": step.new.p95,
            "old errors": step.old.errors if step.old else None,
            "old p50": step.old.p50 if step.old else None,
            "old p95": step.old.p95 if step.old else None,
            "verdict": "; ".join(step.problems) or "holds",
        }
        for step in steps
    ]
