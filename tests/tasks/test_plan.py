"""The plan says everything before anything is billed, and all that is wrong at once."""

import io
from datetime import date
from typing import Any

import pytest

from tasks.config import FinetuneConfig
from tasks.model import resolve_model
from tasks.plan import PlanError, make_plan, plan_markdown, plan_table
from tasks.values import Plan
from tests.tasks.planning_support import A100, SIZES, component, data, registry_client

NOW = date(2026, 11, 1)


def planned(model: str = "Phi-4", size: str = A100, serving: str = A100, **config: Any) -> Plan:
    config["serving"] = {"size": serving, **config.get("serving", {})}
    return make_plan(
        FinetuneConfig(**config),
        resolve_model(registry_client(), model, None),
        component(),
        data(),
        SIZES,
        size,
        NOW,
    )


def test_a_plan_holds_versions_sizes_parameters_and_names() -> None:
    plan = planned(parameters={"num_train_epochs": 3}, size="standard_nc48ads_a100_v4")
    by_name = {parameter.name: parameter for parameter in plan.parameters}
    assert (by_name["num_train_epochs"].value, by_name["num_train_epochs"].origin) == (3, "user")
    assert by_name["deepspeed_stage"].origin == "model default"
    assert by_name["lora_alpha"].origin == "component default"
    gpus = by_name["number_of_gpu_to_use_finetuning"]
    assert (gpus.value, gpus.origin, plan.cluster_size.gpus) == (2, "run", 2)
    assert plan.names.job == f"ft-{plan.names.run_key}-1"
    assert "bs2" in plan.names.display_name
    assert any("4 of 100 rows of train_sft are left out" in text for text in plan.warnings)


def test_the_run_key_follows_the_training_and_not_the_serving() -> None:
    key = planned().names.run_key
    assert planned(serving="Standard_NC48ads_A100_v4").names.run_key == key
    assert planned(parameters={"num_train_epochs": 1}).names.run_key == key  # the default, said
    assert planned(parameters={"num_train_epochs": 2}).names.run_key != key
    assert planned(size="Standard_NC48ads_A100_v4").names.run_key != key  # other batch size


def test_everything_that_stands_against_the_plan_is_told_at_once() -> None:
    with pytest.raises(PlanError) as caught:
        planned(
            model="Phi-3-mini-4k-instruct",
            size="Standard_NC24s_v3",
            serving="Standard_DS3_v2",
            parameters={"precision": 8, "num_nodes_finetune": 3},
            experiment="e" * 300,
        )
    told = [str(problem) for problem in caught.value.problems]
    assert len(told) == 6
    for part in (
        "was retired for fine-tuning on 2025-08-30",
        "Standard_NC24s_v3 is not allowed for fine-tuning",
        "Standard_DS3_v2 is not allowed for serving",
        "precision = 8",
        "num_nodes_finetune = 3 is more than compute.max_nodes = 2",
        "experiment name",
    ):
        assert any(part in text for text in told), part
        assert part in str(caught.value)
    assert all(problem.advice for problem in caught.value.problems)


def test_a_single_problem_is_told_as_itself() -> None:
    with pytest.raises(PlanError, match=r"^Standard_NC24s_v3 is not allowed for fine-tuning"):
        planned(size="Standard_NC24s_v3")


def test_an_allowed_size_must_also_be_offered() -> None:
    with pytest.raises(PlanError, match=r"ND96asr_v4 is not offered .* Allowed and offered there"):
        planned(size="Standard_ND96asr_v4")
    with pytest.raises(PlanError, match="ND96asr_v4 is not offered"):
        planned(serving="Standard_ND96asr_v4")


def test_a_size_without_a_gpu_cannot_fine_tune() -> None:
    with pytest.raises(PlanError, match=r"Standard_DS3_v2 has no GPU"):
        make_plan(
            FinetuneConfig(),
            resolve_model(registry_client(), "Phi-4", None).model_copy(
                update={"finetune_sizes": None}
            ),
            component(),
            data(),
            SIZES,
            "Standard_DS3_v2",
            NOW,
        )


def test_an_accepted_retired_model_is_planned_with_a_warning() -> None:
    plan = make_plan(
        FinetuneConfig(model={"accept_retired": True}),
        resolve_model(registry_client(), "Phi-3-mini-4k-instruct", None),
        component(),
        data(),
        SIZES,
        A100,
        NOW,
    )
    assert "was retired" in plan.warnings[0]
    assert {item.name for item in plan.ignored} == {"learning_rate_min", "learning_rate_max"}


def test_the_plan_is_shown_whole_in_markdown_and_in_a_terminal() -> None:
    from rich.console import Console

    plan = planned(parameters={"num_train_epochs": 3})
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(plan_table(plan))
    for shown in (plan_markdown(plan), console.export_text()):
        for part in (
            plan.model.id,
            plan.component.version,
            plan.names.job,
            plan.names.endpoint,
            plan.names.model,
            A100.upper(),
            "num_train_epochs",
            "model default",
            "lora_alpha=128",
            "deleted after the run",
        ):
            assert part in shown


def test_a_plan_survives_being_stored() -> None:
    plan = planned()
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
