"""What changed since the last successful run is found, shown, and refused when pinned."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tasks.config import FinetuneConfig
from tasks.drift import PlanChanged, check_pinned, diff_plans, last_run, record_path, remember_plan
from tasks.errors import UserError
from tasks.plan import PlanError, check_plan
from tasks.storage import default_container
from tasks.values import ComponentInput, PastRun, Plan
from tests.tasks.planning_support import TODAY, found, planned, settings


def changed(plan: Plan, part: str, **update: Any) -> Plan:
    return plan.model_copy(update={part: getattr(plan, part).model_copy(update=update)})


def told(before: Plan, after: Plan) -> list[str]:
    return [str(change) for change in diff_plans(before, after)]


PLAN = planned()


def test_the_same_plan_has_no_changes() -> None:
    assert diff_plans(PLAN, Plan.model_validate_json(PLAN.model_dump_json())) == ()


def test_other_names_and_settings_are_no_drift() -> None:
    assert told(PLAN, planned(parameters={"num_train_epochs": 2}, max_cost=1e6)) == []


@pytest.mark.parametrize(
    ("part", "update", "expected"),
    [
        ("model", {"version": "9"}, ["model version: 8 -> 9"]),
        ("model", {"tags": {**PLAN.model.tags, "new": "x"}}, ["model tag new: - -> x"]),
        (
            "model",
            {"defaults": {**PLAN.model.defaults, "precision": 32}},
            ["model default precision: 16 -> 32"],
        ),
        ("model", {"finetune_sizes": ("A",)}, ["sizes allowed for fine-tuning: "]),
        ("model", {"inference_sizes": None}, ["sizes allowed for serving: "]),
        ("component", {"version": "0.0.83"}, ["component version: 0.0.82 -> 0.0.83"]),
        ("cluster_size", {"gpus": 2}, ["GPUs a node: 1 -> 2"]),
        ("cluster_size", {"name": "Standard_X"}, ["cluster size: "]),
        ("serving_size", {"name": "Standard_X"}, ["serving size: "]),
        ("data", {"revision": "abc"}, ["data revision: 8049631c405a -> abc"]),
        (
            "data",
            {"train": PLAN.data.train.model_copy(update={"rows": 90})},
            ["rows of train_sft: 96 -> 90"],
        ),
    ],
)
def test_each_change_is_named(part: str, update: dict[str, Any], expected: list[str]) -> None:
    found_changes = told(PLAN, changed(PLAN, part, **update))
    assert len(found_changes) == len(expected)
    assert all(text.startswith(start) for text, start in zip(found_changes, expected, strict=True))


def test_inputs_of_the_component_come_go_and_change() -> None:
    inputs = dict(PLAN.component.inputs)
    del inputs["lora_alpha"]
    inputs["fresh"] = ComponentInput(name="fresh", type="string")
    inputs["lora_r"] = inputs["lora_r"].model_copy(update={"default": 16, "minimum": 1.0})
    assert told(PLAN, changed(PLAN, "component", inputs=inputs)) == [
        "component input fresh: - -> string",
        "component input lora_alpha: integer -> -",
        "default of component input lora_r: 8 -> 16",
        "minimum of component input lora_r: - -> 1.0",
    ]


def test_the_order_and_case_of_allowed_sizes_do_not_matter() -> None:
    sizes = PLAN.model.finetune_sizes or ()
    other = tuple(size.upper() for size in reversed(sizes))
    assert told(PLAN, changed(PLAN, "model", finetune_sizes=other)) == []


def test_a_pinned_run_accepts_no_change() -> None:
    changes = diff_plans(PLAN, changed(PLAN, "model", version="9"))
    pinned = settings(pinned=True)
    with pytest.raises(PlanChanged, match=r"differs from job ft-x-1 in 1: model version: 8 -> 9"):
        check_pinned(pinned, changes, "job ft-x-1")
    with pytest.raises(PlanChanged, match="no successful run"):
        check_pinned(pinned, (), None)
    check_pinned(pinned, (), "job ft-x-1")
    check_pinned(settings(), changes, "job ft-x-1")


def test_the_plan_shows_the_changes_and_a_pinned_one_is_refused() -> None:
    past = PastRun(
        job="ft-old-1",
        finished=datetime(2026, 10, 1, 8, tzinfo=UTC),
        plan=changed(PLAN, "model", version="7"),
    )
    plan = check_plan(settings(), found(past=past), TODAY)
    assert [str(change) for change in plan.changes] == ["model version: 7 -> 8"]
    assert plan.previous == "job ft-old-1 of 2026-10-01 08:00 UTC"
    with pytest.raises(PlanError, match="model version: 7 -> 8"):
        check_plan(settings(pinned=True), found(past=past), TODAY)


def test_a_record_has_one_place_for_each_model_data_set_and_component() -> None:
    assert record_path("Phi-4", "HuggingFaceH4/ultrachat_200k", "c") == (
        "finetune-plans/Phi-4/HuggingFaceH4--ultrachat_200k/c.json"
    )


def test_the_last_successful_run_is_found_in_the_workspace(workspace: str) -> None:
    plan = planned(model={"name": "remembered"})
    config: FinetuneConfig = plan.config
    assert last_run.fn(workspace, config) is None
    assert remember_plan.fn(workspace, plan, "ft-a-1")
    assert remember_plan.fn(workspace, plan, "ft-b-1")
    past = last_run.fn(workspace, config)
    assert past is not None
    assert (past.job, past.plan) == ("ft-b-1", plan)
    other = settings(model={"name": "another"})
    assert last_run.fn(workspace, other) is None


def test_a_record_that_cannot_be_read_says_so(workspace: str) -> None:
    config = settings(model={"name": "spoilt"})
    path = record_path("spoilt", config.dataset.name, config.component.name)
    default_container(workspace).upload_blob(path, b'{"job": 1}', overwrite=True)
    with pytest.raises(UserError, match=r"finetune-plans/spoilt/.* cannot be read"):
        last_run.fn(workspace, config)


def test_a_tag_that_is_read_otherwise_is_told_once() -> None:
    tags = {**PLAN.model.tags, "model_specific_defaults": "{ }"}
    assert told(PLAN, changed(PLAN, "model", tags=tags)) == []
