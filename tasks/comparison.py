"""Whether the challenger is better than the champion, and both side by side."""

import math

from pydantic import BaseModel, ConfigDict

from tasks.errors import UserError
from tasks.evaluation import Scores
from tasks.markdown import markdown_table, wrapped_cell
from tasks.pictures import png_data_uri
from tasks.retrain_config import EvaluationChoice

_REPLIES_SHOWN = 3
_LONGEST_TEXT = 300


class Verdict(BaseModel):
    """Whether the challenger is released, and why, in full sentences."""

    model_config = ConfigDict(frozen=True)

    better: bool
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.reasons)


def compare(champion: Scores | None, challenger: Scores, choice: EvaluationChoice) -> Verdict:
    """The verdict on the challenger; without a champion only the limits count.

    Better is a loss that is lower by the margin, while ROUGE-L does not fall by more than
    `most_rouge_lost`. Models whose tokens differ are compared by their loss per character. Raises
    UserError for scores of different rows.
    """
    against: list[str] = []
    if not math.isfinite(challenger.loss):
        against.append(f"The challenger's loss is {challenger.loss}, not a number.")
    elif choice.highest_loss is not None and challenger.loss > choice.highest_loss:
        against.append(
            f"The challenger's loss is {challenger.loss:.4f}; at most {choice.highest_loss:g} is "
            "allowed."
        )
    if champion is None:
        return Verdict(
            better=not against,
            reasons=tuple(against) or (f"It is the first one; its loss is {challenger.loss:.4f}.",),
        )
    if champion.rows_sha256 != challenger.rows_sha256 or champion.rows != challenger.rows:
        raise UserError(
            f"{champion.model} and {challenger.model} cannot be compared: {champion.rows} and "
            f"{challenger.rows} conversations were scored, of {_same(champion, challenger)} file.",
            "Raise evaluation.max_length, so that no conversation is cut off before its answer.",
        )
    lost, told = _loss_problem(champion, challenger, choice.margin)
    if lost:
        against.append(told)
    if problem := _rouge_problem(champion.rouge_l, challenger.rouge_l, choice.most_rouge_lost):
        against.append(problem)
    return Verdict(better=not against, reasons=tuple(against) or (told,))


def _same(champion: Scores, challenger: Scores) -> str:
    return "the same" if champion.rows_sha256 == challenger.rows_sha256 else "another"


def _loss_problem(champion: Scores, challenger: Scores, margin: float) -> tuple[bool, str]:
    """Whether the loss speaks against the challenger, and the sentence about it."""
    old, new, what = champion.loss, challenger.loss, "loss"
    if champion.tokens != challenger.tokens:
        old, new = champion.loss_per_character, challenger.loss_per_character
        what = "loss per character"
    if not math.isfinite(old):
        return False, f"The champion's {what} is {old}; the challenger's is {new:.4f}."
    change = new / old - 1 if old else math.inf
    both = f"The challenger's {what} is {new:.4f}, the champion's {old:.4f}"
    if new <= old * (1 - margin) and new < old:
        return False, f"{both}: {-change:.1%} lower."
    return True, f"{both}: {change:+.1%}; at least {margin:.1%} lower is asked for."


def _rouge_problem(
    champion: float | None, challenger: float | None, most_lost: float
) -> str | None:
    if champion is None or challenger is None or champion - challenger <= most_lost:
        return None
    return (
        f"The challenger's ROUGE-L is {challenger:.3f}, the champion's {champion:.3f}; it may fall "
        f"by at most {most_lost:g}."
    )


def comparison_markdown(champion: Scores | None, challenger: Scores, verdict: Verdict) -> str:
    """Both models in a table, the verdict, and some replies side by side."""
    heads = ["", *(["champion"] if champion else []), "challenger"]
    both = [*([champion] if champion else []), challenger]
    rows = [
        ["model", *(scores.model for scores in both)],
        ["loss", *(f"{scores.loss:.4f}" for scores in both)],
        ["perplexity", *(_number(scores.perplexity, 2) for scores in both)],
        ["ROUGE-L", *(_number(scores.rouge_l, 3) for scores in both)],
        ["measured by", *(f"job {scores.job}" for scores in both)],
    ]
    word = "better" if verdict.better else "not better"
    parts = [
        f"**The challenger is {word}.** {verdict}",
        f"{challenger.rows} held-out conversations, {challenger.tokens} tokens of the assistant.",
        markdown_table(heads, rows),
    ]
    if challenger.replies:
        parts += ["**Replies**", _replies(champion, challenger)]
    return "\n\n".join(parts)


def _replies(champion: Scores | None, challenger: Scores) -> str:
    heads = ["asked", "expected", *(["champion"] if champion else []), "challenger"]
    shown = challenger.replies[:_REPLIES_SHOWN]
    # To the same conversations, in the same order.
    before = [[reply.reply] for reply in champion.replies] if champion else [[]] * len(shown)
    rows = [
        [reply.asked, reply.expected, *earlier, reply.reply]
        for reply, earlier in zip(shown, before, strict=False)
    ]
    return markdown_table(heads, [[_excerpt(text) for text in row] for row in rows])


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return wrapped_cell(line if len(line) <= _LONGEST_TEXT else line[:_LONGEST_TEXT] + " ...", 32)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def comparison_picture(champion: Scores | None, challenger: Scores) -> str | None:
    """Loss and ROUGE-L of both as bars, as a data URI; None without a champion."""
    if champion is None:
        return None
    from matplotlib.figure import Figure

    measures = [("loss (lower is better)", champion.loss, challenger.loss)]
    if champion.rouge_l is not None and challenger.rouge_l is not None:
        measures.append(("ROUGE-L (higher is better)", champion.rouge_l, challenger.rouge_l))
    figure = Figure(figsize=(3.5 * len(measures), 3.2), dpi=110, layout="constrained")
    for axes, (title, before, after) in zip(
        figure.subplots(1, len(measures), squeeze=False)[0], measures, strict=True
    ):
        bars = axes.bar(["champion", "challenger"], [before, after], color=["#8a94a6", "#2f6df6"])
        axes.bar_label(bars, fmt="%.4g", padding=2)
        axes.set_title(title, fontsize=10)
        axes.margins(y=0.15)
        axes.spines[["top", "right"]].set_visible(False)
    return png_data_uri(figure)
