"""How far a training is, by the lines that it logs.

Read are the bars of tqdm and the records of the Hugging Face Trainer, which every fine-tuning
component of Azure ML is built on, and lines such as `step 12/75  loss 2.31  900 tokens/s`.
"""

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

_TIME = r"(?:\d+ days?, )?(?:\d+:)?\d+:\d\d"
_BAR = re.compile(
    rf"\s*(?:\d+%\|[^|]*\|)?\s*(?P<step>\d+)/(?P<steps>\d+)\s+"
    rf"\[(?P<spent>{_TIME})<(?P<left>{_TIME}|\?),\s+[\d.?]+(?:it/s|s/it)"
)
_TOTAL = re.compile(r"Total optimization steps\s*=\s*([\d,]+)")
_STEP = re.compile(r"\bstep (?P<step>\d+)(?:/(?P<steps>\d+))?\b")
_SPEED = re.compile(r"(?P<speed>[\d,]+(?:\.\d+)?) tokens/s(?:ec)?\b")
_LEFT = re.compile(rf"(?P<left>{_TIME}) left\b")
_LOSS = re.compile(r"(?:^|\s)loss[ =:]+(?P<loss>\d+(?:\.\d+)?(?:e[-+]?\d+)?)")
_EVALUATION = re.compile(r"\bevaluation loss (?P<loss>\d+(?:\.\d+)?)")
_RECORD = re.compile(r"\{'[a-z_]+'.*\}")


@dataclass(frozen=True)
class TrainingProgress:
    """What a training has said of itself. None: it has not said it."""

    step: int | None = None
    steps: int | None = None
    announced: bool = False
    """Whether `steps` was told in words, so that a bar of another length is another one's."""
    epoch: float | None = None
    loss: float | None = None
    eval_loss: float | None = None
    tokens_per_second: float | None = None
    seconds_spent: float | None = None
    seconds_left: float | None = None

    @property
    def share(self) -> float | None:
        """The part that is done, from 0 to 1."""
        if self.step is None or not self.steps:
            return None
        return min(1.0, self.step / self.steps)

    def __str__(self) -> str:
        parts = []
        if self.step is not None and self.steps:
            parts.append(f"step {self.step:,} of {self.steps:,}")
        elif self.epoch is not None:
            parts.append(f"epoch {self.epoch:.2f}")
        if self.loss is not None:
            parts.append(f"loss {self.loss:.3g}")
        if self.eval_loss is not None:
            parts.append(f"evaluation loss {self.eval_loss:.3g}")
        if self.tokens_per_second:
            parts.append(f"{self.tokens_per_second:,.0f} tokens/s")
        if self.seconds_left is not None:
            parts.append(f"{timedelta(seconds=round(self.seconds_left))} left")
        return ", ".join(parts)


def read_progress(lines: Iterable[str], known: TrainingProgress | None = None) -> TrainingProgress:
    """What is known after these lines, in their order; a line that says nothing changes nothing."""
    progress = known or TrainingProgress()
    for line in lines:
        progress = _read_line(line, progress)
    return progress


def _read_line(line: str, known: TrainingProgress) -> TrainingProgress:
    if total := _TOTAL.search(line):
        return replace(known, steps=_number(total[1]), announced=True)
    if record := _RECORD.search(line):
        return _read_record(record[0], known)
    if bar := _BAR.match(line):
        return _read_bar(bar, known)
    if step := _STEP.search(line):
        return _read_sentence(line, step, known)
    return known


def _read_bar(bar: re.Match[str], known: TrainingProgress) -> TrainingProgress:
    """A bar without a name; one that is shorter than the training's counts an evaluation."""
    steps = int(bar["steps"])
    if known.steps and (steps != known.steps if known.announced else steps < known.steps):
        return known
    left = None if bar["left"] == "?" else _seconds(bar["left"])
    return replace(
        known,
        step=int(bar["step"]),
        steps=steps,
        seconds_spent=_seconds(bar["spent"]),
        seconds_left=left,
    )


def _read_record(text: str, known: TrainingProgress) -> TrainingProgress:
    """A record of the Trainer, whose newer versions write the values as strings."""
    try:
        record: dict[str, Any] = ast.literal_eval(text)
    except (ValueError, SyntaxError):  # such as nan: the record says nothing that can be shown
        return known
    values = {name: number for name, value in record.items() if (number := _float(value))}
    progress = replace(
        known,
        epoch=values.get("epoch", known.epoch),
        loss=values.get("loss", known.loss),
        eval_loss=values.get("eval_loss", known.eval_loss),
    )
    speed = values.get("train_tokens_per_second") or values.get("tokens_per_second")
    if speed is None and known.seconds_spent:
        seen = values.get("num_input_tokens_seen") or values.get("num_tokens")
        speed = seen and seen / known.seconds_spent
    return replace(progress, tokens_per_second=speed) if speed else progress


def _read_sentence(line: str, step: re.Match[str], known: TrainingProgress) -> TrainingProgress:
    if evaluation := _EVALUATION.search(line):
        return replace(known, eval_loss=float(evaluation["loss"]))
    if not step["steps"]:
        return known
    loss, speed, left = _LOSS.search(line), _SPEED.search(line), _LEFT.search(line)
    return replace(
        known,
        step=int(step["step"]),
        steps=int(step["steps"]),
        loss=float(loss["loss"]) if loss else known.loss,
        tokens_per_second=float(speed["speed"].replace(",", "")) if speed else None,
        seconds_left=_seconds(left["left"]) if left else None,
    )


def _seconds(text: str) -> float:
    days, _, time = text.rpartition(", ")
    parts = [int(part) for part in time.split(":")]
    hours, minutes, seconds = [0] * (3 - len(parts)) + parts
    return int(days.split()[0] if days else 0) * 86400 + hours * 3600 + minutes * 60 + seconds


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def _float(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
