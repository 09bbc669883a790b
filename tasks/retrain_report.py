"""The report of one retraining: what was new, how both models did, and what became of them."""

from typing import Literal

from tasks.comparison import Verdict
from tasks.evaluation import Scores
from tasks.recording import Record
from tasks.release_report import ReleaseReport
from tasks.values import RegisteredModel

Outcome = Literal["skipped", "kept the champion", "new champion", "not approved"]


class RetrainReport(Record):
    """Everything that one retraining did. Parts that it did not reach are empty."""

    key: str | None = None
    """Stands for the model, the data, the configuration and the rules of the comparison."""
    news: tuple[str, ...] = ()
    """What has changed since the champion was made."""
    reason: str = ""
    """Why it ended as its status says."""
    training: str | None = None
    """Name of the fine-tuning run."""
    champion: RegisteredModel | None = None
    """The champion as it was before."""
    challenger: RegisteredModel | None = None
    champion_scores: Scores | None = None
    challenger_scores: Scores | None = None
    verdict: Verdict | None = None
    comparison: str = ""
    """Both models side by side, as Markdown."""
    release: ReleaseReport | None = None

    def end(self, outcome: Outcome, reason: str) -> "RetrainReport":
        """Say how the run ended, and why."""
        self.status, self.reason = outcome, reason
        return self

    def summary(self) -> list[tuple[str, str]]:
        """What a person wants to know at the end, as (label, text)."""
        rows: list[tuple[str, str]] = [("status", self.status)]
        rows += [("why", self.reason)] if self.reason else []
        rows += [("error", self.error)] if self.error else []
        rows += [("new", sentence) for sentence in self.news]
        for label, model, scores in (
            ("champion", self.champion, self.champion_scores),
            ("challenger", self.challenger, self.challenger_scores),
        ):
            if model is not None:
                rows.append((label, f"{model.name}, version {model.version}{_measured(scores)}"))
        if self.release:
            rows.append(("release", f"{self.release.status}: {self.release.endpoint}"))
        return rows + self.spent()


def _measured(scores: Scores | None) -> str:
    if scores is None:
        return ""
    second = "" if scores.rouge_l is None else f", ROUGE-L {scores.rouge_l:.3f}"
    return f": loss {scores.loss:.4f} on {scores.rows} rows{second}"
