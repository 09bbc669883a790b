"""The verdict on a challenger: margin, floor, and what is told of both models."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.comparison import compare, comparison_markdown, comparison_picture
from tasks.errors import UserError
from tasks.evaluation import HeldOutReply, Scores
from tasks.retrain_config import EvaluationChoice

LOSSES = st.floats(min_value=0.01, max_value=20)
SHARES = st.floats(min_value=0, max_value=0.9)


def scores(loss: float, rouge: float | None = None, model: str = "m:1", **other: object) -> Scores:
    values = {
        "model": model,
        "job": "ev-1",
        "rows_sha256": "a",
        "loss": loss,
        "perplexity": 2.0,
        "rouge_l": rouge,
        "rows": 10,
        "tokens": 100,
        "characters": 400,
    }
    return Scores.model_validate(values | other)


@given(champion=LOSSES, challenger=LOSSES, margin=SHARES)
def test_better_means_lower_by_the_margin(
    champion: float, challenger: float, margin: float
) -> None:
    verdict = compare(scores(champion), scores(challenger), EvaluationChoice(margin=margin))
    assert verdict.better == (challenger <= champion * (1 - margin) and challenger < champion)
    assert verdict.reasons


@given(loss=LOSSES, margin=SHARES)
def test_nobody_is_better_than_itself(loss: float, margin: float) -> None:
    assert not compare(scores(loss), scores(loss), EvaluationChoice(margin=margin)).better


@given(champion=LOSSES, challenger=LOSSES, floor=LOSSES)
def test_above_the_limit_nothing_is_released(
    champion: float, challenger: float, floor: float
) -> None:
    choice = EvaluationChoice(highest_loss=floor)
    for before in (scores(champion), None):
        verdict = compare(before, scores(challenger), choice)
        assert not (verdict.better and challenger > floor)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_never_better(loss: float) -> None:
    for before in (scores(3.0), None):
        verdict = compare(before, scores(loss), EvaluationChoice())
        assert not verdict.better
        assert "not a number" in verdict.reasons[0]


def test_the_first_one_only_has_to_hold_the_limit() -> None:
    assert compare(None, scores(9.0), EvaluationChoice()).better


def test_a_broken_champion_is_beaten_by_any_number() -> None:
    assert compare(scores(math.nan), scores(9.0), EvaluationChoice()).better


def test_a_lower_loss_with_worse_replies_is_not_better() -> None:
    choice = EvaluationChoice(most_rouge_lost=0.05)
    assert compare(scores(3, 0.30), scores(2, 0.26), choice).better
    verdict = compare(scores(3, 0.30), scores(2, 0.20), choice)
    assert not verdict.better
    assert "ROUGE-L is 0.200, the champion's 0.300" in str(verdict)


def test_scores_of_other_rows_cannot_be_compared() -> None:
    for other in ({"rows_sha256": "b"}, {"rows": 11}):
        with pytest.raises(UserError, match="cannot be compared"):
            compare(scores(3), scores(2, **other), EvaluationChoice())


def test_models_with_other_tokens_are_compared_by_character() -> None:
    """Half as many tokens for the same text, each one twice as hard to tell: the same model."""
    old, new = scores(2.0, tokens=100), scores(4.0, tokens=50)
    verdict = compare(old, new, EvaluationChoice(margin=0.01))
    assert not verdict.better
    assert "loss per character is 0.5000, the champion's 0.5000" in str(verdict)
    assert compare(old, scores(3.0, tokens=50), EvaluationChoice(margin=0.01)).better


def test_both_are_told_side_by_side() -> None:
    def replies(text: str) -> list[HeldOutReply]:
        return [HeldOutReply(asked="a | b", expected="yes", reply=text, rouge_l=0.0)]

    before = scores(3, 0.1, model="m:old", replies=replies("old words"))
    after = scores(2, 0.2, model="m:new", replies=replies("new words"))
    shown = comparison_markdown(before, after, compare(before, after, EvaluationChoice()))
    assert "**The challenger is better.**" in shown
    assert "| loss | 3.0000 | 2.0000 |" in shown
    assert "| a \\| b | yes | old words | new words |" in shown
    alone = comparison_markdown(None, after, compare(None, after, EvaluationChoice()))
    assert "champion |" not in alone


def test_the_picture_needs_two() -> None:
    assert comparison_picture(None, scores(2)) is None
    picture = comparison_picture(scores(3, 0.1), scores(2, 0.2))
    assert picture
    assert picture.startswith("data:image/png;base64,")
