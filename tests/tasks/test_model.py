"""Models of the registry in both shapes of their metadata, and which of them may be used."""

import json
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.errors import ModelRetired, NotFound, UserError
from tasks.model import check_model, read_model, resolve_model
from tasks.values import FoundationModel
from tests.tasks.planning_support import A100, registry_client

ALLOWED = (A100, "Standard_ND96asr_v4")
DEFAULTS = {"apply_lora": "true", "deepspeed_stage": 2, "learning_rate": "5e-6", "precision": 16}
NOW = date(2026, 11, 1)


def entity(tags: dict[str, Any] | None = None, properties: dict[str, Any] | None = None) -> Any:
    """What the SDK gives: tags and properties are texts."""
    return SimpleNamespace(
        id="azureml://registries/azureml/models/Tiny/versions/3",
        name="Tiny",
        version="3",
        tags=tags,
        properties=properties,
    )


IN_TAGS = {
    "finetune_compute_allow_list": str(list(ALLOWED)),
    "inference_compute_allow_list": str([A100]),
    "model_specific_defaults": json.dumps(DEFAULTS),
    "task": "chat-completion",
    "FinetuneRetirementDate": "2025-08-30",
}
IN_METADATA = {
    "supportedComputes": {"finetuneComputes": list(ALLOWED), "inferenceComputes": [A100]},
    "tasks": {"fineTuningTasks": ["chat-completion"]},
    "deprecation": {"finetuneRetirementDate": "2025-08-30T00:00:00.000000Z"},
}


@pytest.mark.parametrize(
    "read",
    [
        read_model(entity(IN_TAGS)),
        read_model(
            entity({"model_specific_defaults": IN_TAGS["model_specific_defaults"]}), IN_METADATA
        ),
    ],
    ids=["tags", "system metadata"],
)
def test_both_shapes_say_the_same(read: FoundationModel) -> None:
    assert read.registry == "azureml"
    assert read.finetune_sizes == ALLOWED
    assert read.inference_sizes == (A100,)
    assert read.task == "chat-completion"
    assert read.finetune_retirement == datetime(2025, 8, 30, tzinfo=UTC)
    assert read.inference_retirement is None
    assert read.defaults == DEFAULTS | {"learning_rate": 5e-6}


def test_a_model_without_any_metadata_has_no_lists_and_no_dates() -> None:
    read = read_model(entity())
    assert (read.finetune_sizes, read.inference_sizes, read.task) == (None, None, None)
    assert (read.defaults, read.finetune_retirement) == ({}, None)
    assert "does not say" in check_model(read, NOW, False)[0]


@pytest.mark.parametrize(
    "spelling",
    ["['A', 'B']", '["A", "B"]', "[A, B]", "A, B"],
    ids=["python", "json", "bare", "commas"],
)
def test_lists_are_read_in_any_spelling(spelling: str) -> None:
    assert read_model(entity({"finetune_compute_allow_list": spelling})).finetune_sizes == (
        "A",
        "B",
    )


def test_defaults_may_be_json_with_its_own_words() -> None:
    read = read_model(entity({"model_specific_defaults": '{"a": true, "b": null, "c": "x"}'}))
    assert read.defaults == {"a": True, "c": "x"}


def test_the_registrys_latest_models_are_read() -> None:
    phi3 = resolve_model(registry_client(), "Phi-3-mini-4k-instruct", None)
    phi4 = resolve_model(registry_client(), "Phi-4", None)
    for model in (phi3, phi4):
        assert model.id.endswith(f"/models/{model.name}/versions/{model.version}")
        assert model.task == "chat-completion"
        assert A100 in (model.finetune_sizes or ())
        assert A100 in (model.inference_sizes or ())
        assert model.defaults["learning_rate"] == 5e-6
    assert phi3.finetune_retirement is not None
    assert phi4.finetune_retirement is None


def test_an_unknown_model_is_answered_with_near_names() -> None:
    with pytest.raises(NotFound, match=r"no model phi3-mini-4k-instruct.*Phi-3-mini-4k-instruct"):
        resolve_model(registry_client(), "phi3-mini-4k-instruct", None)


def test_an_unknown_version_is_told_apart_from_an_unknown_model() -> None:
    with pytest.raises(NotFound, match=r"no model Phi-4 version 999\. Check model\.version"):
        resolve_model(registry_client(), "Phi-4", "999")


def test_a_passing_error_is_left_to_the_retry() -> None:
    def get(*arguments: Any, **options: Any) -> Any:
        raise ConnectionResetError("reset")

    with pytest.raises(ConnectionResetError):
        resolve_model(SimpleNamespace(models=SimpleNamespace(get=get)), "Phi-4", None)


def model(**values: Any) -> FoundationModel:
    base = {"id": "m", "name": "Tiny", "version": "3", "registry": "azureml"}
    return FoundationModel(**{**base, "task": "chat-completion", **values})


def test_a_retired_model_is_refused_with_its_dates_and_a_successor() -> None:
    retired = model(
        finetune_retirement=datetime(2025, 8, 30, tzinfo=UTC),
        inference_retirement=datetime(2026, 1, 31, tzinfo=UTC),
    )
    with pytest.raises(ModelRetired) as caught:
        check_model(retired, NOW, accept_retired=False)
    for part in ("2025-08-30", "2026-01-31", "Phi-4", "accept_retired"):
        assert part in str(caught.value)
    (warning,) = check_model(retired, NOW, accept_retired=True)
    assert "2025-08-30" in warning


def test_the_day_of_retirement_counts_as_retired_and_the_day_before_is_a_warning() -> None:
    ends = model(finetune_retirement=datetime(2025, 8, 30, tzinfo=UTC))
    with pytest.raises(ModelRetired):
        check_model(ends, date(2025, 8, 30), accept_retired=False)
    (warning,) = check_model(ends, date(2025, 8, 29), accept_retired=False)
    assert "will be retired" in warning


def test_a_model_for_another_task_is_refused_by_its_task() -> None:
    with pytest.raises(UserError, match="made for fill-mask, not for chat-completion"):
        check_model(model(task="fill-mask"), NOW, accept_retired=True)
