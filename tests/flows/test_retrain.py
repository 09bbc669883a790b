"""Retraining: skipped while nothing is new, and only what is better is released.

The tests share one workspace and go on from each other.
"""

import time
from typing import Any

import pytest

from tests.flows.retrain_support import BAD, MODEL, STRONG, WEAK, Retraining


@pytest.fixture(scope="module")
def first(retraining: Retraining) -> dict[str, Any]:
    return retraining.run(WEAK)


def test_the_first_model_is_the_champion_and_is_released(
    first: dict[str, Any], retraining: Retraining
) -> None:
    assert first["status"] == "new champion"
    assert "no champion" in first["news"][0]
    assert first["release"]["status"] == "released"
    version = first["challenger"]["version"]
    assert "champion" in retraining.tags()[version]
    assert retraining.live() == {version}


def test_nothing_new_is_skipped_in_seconds(first: dict[str, Any], retraining: Retraining) -> None:
    retraining.control.clear_events()
    started = time.monotonic()
    again = retraining.run(WEAK)
    assert time.monotonic() - started < 20
    assert again["status"] == "skipped"
    assert "Nothing has changed" in again["reason"]
    assert retraining.control.events(operation="Jobs_CreateOrUpdate", kind="write") == []


@pytest.fixture(scope="module")
def second(first: dict[str, Any], retraining: Retraining) -> dict[str, Any]:
    return retraining.run(STRONG)


def test_a_better_model_takes_the_champions_place(
    first: dict[str, Any], second: dict[str, Any], retraining: Retraining
) -> None:
    assert second["status"] == "new champion", second["reason"]
    assert second["champion"]["version"] == first["challenger"]["version"]
    assert second["challenger_scores"]["loss"] < second["champion_scores"]["loss"]
    assert second["release"]["replaced_model"] == f"{MODEL}:{first['challenger']['version']}"
    version = second["challenger"]["version"]
    assert retraining.live() == {version}
    assert [v for v, tags in retraining.tags().items() if "champion" in tags] == [version]


def test_a_worse_one_is_registered_and_goes_no_further(
    second: dict[str, Any], retraining: Retraining
) -> None:
    third = retraining.run(BAD)
    assert third["status"] == "kept the champion"
    assert third["champion"]["version"] == second["challenger"]["version"]
    assert third["release"] is None
    assert "at least 1.0% lower is asked for" in third["reason"]
    assert retraining.live() == {second["challenger"]["version"]}
    assert retraining.tags()[third["challenger"]["version"]]["verdict"] == "worse"
    again = retraining.run(BAD)
    assert again["status"] == "skipped"
    assert "is worse" in again["reason"]


def test_one_new_row_is_reason_enough(second: dict[str, Any], retraining: Retraining) -> None:
    retraining.add_a_row()
    fourth = retraining.run(STRONG, evaluation={"rows": 16, "replies": 0, "max_length": 128})
    assert any("The dataset's revision" in news for news in fourth["news"])
    assert fourth["training"]
    assert fourth["status"] in ("new champion", "kept the champion")
