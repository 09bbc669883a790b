"""The script of the evaluation job: what is scored, and how."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.registry import Registry
from tasks.evaluation_job.evaluate import (
    batches,
    find_parts,
    label,
    likelihood,
    load,
    read_conversations,
    rouge_l,
    split,
)

IGNORED = -100
TALK = [
    {"role": "user", "content": "Hello, who are you?"},
    {"role": "assistant", "content": "A small model."},
    {"role": "user", "content": "And what do you like?"},
    {"role": "assistant", "content": "Short sentences."},
]


@pytest.fixture(scope="module")
def model() -> Any:
    return load(Registry().model_folder("Phi-3-mini-4k-instruct"))


def test_only_what_the_assistant_says_is_scored(model: Any) -> None:
    _, tokenizer = model
    ids, labels = label(tokenizer, TALK, 512)
    scored = tokenizer.decode([i for i, wanted in zip(ids, labels, strict=True) if wanted >= 0])
    assert "A small model." in scored
    assert "Short sentences." in scored
    assert "who are you" not in scored
    assert "what do you like" not in scored
    assert [wanted for wanted in labels if wanted != IGNORED] == [
        i for i, wanted in zip(ids, labels, strict=True) if wanted != IGNORED
    ]


def test_the_loss_is_that_of_each_token_alone(model: Any) -> None:
    """In batches of several lengths it is what one conversation after the other gives."""
    network, tokenizer = model
    talks = [TALK, TALK[:2], [*TALK, *TALK[:2]]]
    together = likelihood(network, tokenizer, talks, 512)
    alone = [likelihood(network, tokenizer, [talk], 512) for talk in talks]
    tokens = sum(one["tokens"] for one in alone)
    mean = sum(one["loss"] * one["tokens"] for one in alone) / tokens
    assert together["tokens"] == tokens
    assert together["loss"] == pytest.approx(mean, rel=1e-4)
    assert together["perplexity"] == pytest.approx(math.exp(mean), rel=1e-3)


def test_a_conversation_longer_than_the_limit_is_cut_off(model: Any) -> None:
    _, tokenizer = model
    ids, labels = label(tokenizer, TALK, 12)
    assert len(ids) == len(labels) == 12


@given(st.lists(st.integers(min_value=1, max_value=60), max_size=30), st.integers(1, 50_000))
def test_every_conversation_is_in_one_batch(lengths: list[int], vocabulary: int) -> None:
    examples = [([number] * length, [0] * length) for number, length in enumerate(lengths)]
    made = list(batches(examples, vocabulary))
    assert sorted(str(e) for batch in made for e in batch) == sorted(str(e) for e in examples)


@pytest.mark.parametrize(
    ("expected", "reply", "score"),
    [
        ("the cat sat", "the cat sat", 1.0),
        ("The cat, sat!", "the CAT sat", 1.0),
        ("the cat sat", "a dog ran", 0.0),
        ("police killed the gunman", "police kill the gunman", 0.75),
        ("police killed the gunman", "the gunman kill police", 0.5),
        ("", "anything", 0.0),
    ],
)
def test_rouge_l_is_the_published_one(expected: str, reply: str, score: float) -> None:
    assert rouge_l(expected, reply) == pytest.approx(score)


@given(st.text(), st.text())
def test_rouge_l_is_a_share(one: str, other: str) -> None:
    assert 0 <= rouge_l(one, other) <= 1
    assert rouge_l(one, other) == pytest.approx(rouge_l(other, one))


def test_what_is_asked_ends_before_the_last_answer() -> None:
    asked, expected = split([*TALK, {"role": "user", "content": "Bye"}])
    assert asked == TALK[:3]
    assert expected == "Short sentences."


def test_rows_without_an_answer_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(
        '{"messages": [{"role": "user", "content": "x"}]}\n'
        '{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}\n'
    )
    assert len(read_conversations(file, 5)) == 1
    file.write_text('{"messages": [{"role": "user", "content": "x"}]}\n')
    with pytest.raises(SystemExit, match="no conversation"):
        read_conversations(file, 5)


@pytest.mark.parametrize(
    ("weights", "tokenizer"),
    [("model", "components/tokenizer"), ("data/model", "data/tokenizer"), (".", ".")],
)
def test_the_weights_are_found_where_the_service_puts_them(
    tmp_path: Path, weights: str, tokenizer: str
) -> None:
    (tmp_path / weights).mkdir(parents=True, exist_ok=True)
    (tmp_path / weights / "config.json").write_text("{}")
    assert find_parts(tmp_path) == (tmp_path / weights, tmp_path / tokenizer)


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds no transformers model"):
        find_parts(tmp_path)
