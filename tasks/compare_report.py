"""The report of one comparison: every training with its scores, the best first."""

import math
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tasks.comparison import Verdict
from tasks.evaluation import Scores
from tasks.recording import Record
from tasks.release_report import ReleaseReport
from tasks.values import RegisteredModel


class Entry(BaseModel):
    """One training of the comparison. `error`: why it has no model."""

    model_config = ConfigDict(frozen=True)

    name: str
    run: str | None = None
    """Name of its fine-tuning run."""
    model: RegisteredModel | None = None
    scores: Scores | None = None
    error: str | None = None


class CompareReport(Record):
    """Everything that one comparison did. Parts that it did not reach are empty."""

    entries: list[Entry] = Field(default_factory=list)
    champion: RegisteredModel | None = None
    """The champion as it was before."""
    champion_scores: Scores | None = None
    verdict: Verdict | None = None
    """On the best of the entries, against the champion."""
    reason: str = ""
    """Why it ended as its status says."""
    release: ReleaseReport | None = None

    def rank(self) -> None:
        """Put the entry with the lowest loss first; those without scores go last."""
        self.entries.sort(key=lambda entry: entry.scores.loss if entry.scores else math.inf)

    def end(self, status: str, reason: str) -> "CompareReport":
        """Say how the run ended, and why."""
        self.status, self.reason = status, reason
        return self

    def rows(self) -> list[dict[str, Any]]:
        """One row an entry, the best first, then the champion."""
        rows = [
            _row(number, entry.name, entry.model, entry.scores, entry.error)
            for number, entry in enumerate(self.entries, start=1)
        ]
        if self.champion:
            rows.append(_row(None, "champion", self.champion, self.champion_scores, None))
        return rows

    def summary(self) -> list[tuple[str, str]]:
        """What a person wants to know at the end, as (label, text)."""
        rows: list[tuple[str, str]] = [("status", self.status)]
        rows += [("why", self.reason)] if self.reason else []
        rows += [("error", self.error)] if self.error else []
        for row in self.rows():
            told = row["error"] or f"{row['model']}: loss {row['loss']}, ROUGE-L {row['ROUGE-L']}"
            rows.append((row["name"], told))
        if self.release:
            rows.append(("release", f"{self.release.status}: {self.release.endpoint}"))
        return rows + self.spent()


def _row(
    place: int | None,
    name: str,
    model: RegisteredModel | None,
    scores: Scores | None,
    error: str | None,
) -> dict[str, Any]:
    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.4f}"

    return {
        "place": place if scores else None,
        "name": name,
        "model": f"{model.name}:{model.version}" if model else "-",
        "loss": number(scores.loss if scores else None),
        "perplexity": number(scores.perplexity if scores else None),
        "ROUGE-L": number(scores.rouge_l if scores else None),
        "error": error or "",
    }
