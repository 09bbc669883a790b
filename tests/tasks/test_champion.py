"""The champion is a registered version whose tags say so, whatever else is there."""

import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.champion import CHAMPION, crown, find_champion, find_judged, record_verdict
from tasks.clients import workspace_client
from tasks.values import RegisteredModel


@pytest.fixture
def name(workspace: str, tmp_path: Path) -> str:
    """A model with the versions 1 to 3, which nobody has crowned."""
    from azure.ai.ml.entities import Model

    name = f"m-{uuid.uuid4().hex[:8]}"
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "MLmodel").write_text("flavors:\n")
    for version in ("1", "2", "3"):
        model = Model(name=name, version=version, path=str(tmp_path / "weights"), tags={"a": "b"})
        workspace_client(workspace).models.create_or_update(model)
    return name


def version(name: str, number: str) -> RegisteredModel:
    return RegisteredModel(id="", name=name, version=number)


def tags(workspace: str, name: str, number: str) -> dict[str, str]:
    return dict(workspace_client(workspace).models.get(name, version=number).tags)


def tag(workspace: str, name: str, number: str, **new: str) -> None:
    model = workspace_client(workspace).models.get(name, version=number)
    model.tags |= new
    workspace_client(workspace).models.create_or_update(model)


def test_there_is_none_at_first(workspace: str, name: str) -> None:
    assert find_champion.fn(workspace, [name]) is None
    assert find_champion.fn(workspace, ["nobody-has-registered-this", name]) is None


def test_the_crown_goes_from_one_to_the_next(workspace: str, name: str) -> None:
    for number in ("1", "2"):
        crown.fn(workspace, version(name, number), f"key-{number}", [name])
        found = find_champion.fn(workspace, [name])
        assert found is not None
        assert found.model.version == number
        assert found.tags["retrain_key"] == f"key-{number}"
        assert found.tags["a"] == "b"
        assert (datetime.now(UTC) - found.since).total_seconds() < 60
    assert CHAMPION not in tags(workspace, name, "1")


def test_of_two_that_a_killed_run_has_left_the_later_counts(workspace: str, name: str) -> None:
    tag(workspace, name, "1", champion="2026-01-02T00:00:00+00:00")
    tag(workspace, name, "2", champion="2026-01-01T00:00:00+00:00")
    found = find_champion.fn(workspace, [name])
    assert found is not None
    assert found.model.version == "1"
    crown.fn(workspace, version(name, "3"), None, [name])
    left = [number for number in ("1", "2", "3") if CHAMPION in tags(workspace, name, number)]
    assert left == ["3"]


def test_a_tag_that_somebody_has_edited_crowns_nobody(workspace: str, name: str) -> None:
    tag(workspace, name, "1", champion="yes!")
    assert find_champion.fn(workspace, [name]) is None
    tag(workspace, name, "2", champion="2026-01-01")
    found = find_champion.fn(workspace, [name])
    assert found is not None
    assert found.model.version == "2"


def test_a_verdict_is_found_again_by_what_the_model_was_made_from(
    workspace: str, name: str
) -> None:
    assert find_judged.fn(workspace, [name], "k") is None
    record_verdict.fn(workspace, version(name, "2"), "k", "worse", f"{name}:1")
    judged = find_judged.fn(workspace, [name], "k")
    assert judged is not None
    assert (judged.model.version, judged.verdict, judged.against) == ("2", "worse", f"{name}:1")
    assert find_judged.fn(workspace, [name], "another") is None
