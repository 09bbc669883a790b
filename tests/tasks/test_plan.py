"""The plan says everything before anything is billed, and all that is wrong at once."""

from typing import Any

import pytest

from tasks.config import FinetuneConfig
from tasks.errors import NotFound, UserError
from tasks.plan import PlanError, check_plan
from tasks.values import Cluster, Plan, Usage
from tests.tasks.planning_support import A100, TODAY, found, planned, settings


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
            model_name="Phi-3-mini-4k-instruct",
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
    anything = found()
    assert anything.model
    model = anything.model.model_copy(update={"finetune_sizes": None})
    with pytest.raises(PlanError, match=r"Standard_DS3_v2 has no GPU"):
        check_plan(settings("Standard_DS3_v2"), found(model=model), TODAY)


def test_an_accepted_retired_model_is_planned_with_a_warning() -> None:
    config = settings(model={"accept_retired": True})
    plan = check_plan(config, found("Phi-3-mini-4k-instruct"), TODAY)
    assert "was retired" in plan.warnings[0]
    assert {item.name for item in plan.ignored} == {"learning_rate_min", "learning_rate_max"}


def refused(config: FinetuneConfig, **others: Any) -> PlanError:
    with pytest.raises(PlanError) as caught:
        check_plan(config, found(**others), TODAY)
    return caught.value


def test_what_could_not_be_looked_up_stands_beside_what_is_wrong() -> None:
    lost = NotFound("The registry has no model Phi-9.", "Near names: Phi-4.")
    config = settings(experiment="no spaces please", serving={"deployment": "1st"})
    error = refused(config, model=None, problems=(lost,))
    assert error.problems[0] is lost
    assert {problem.message.split("'")[1] for problem in error.problems[1:]} == {
        "no spaces please",
        "1st",
    }
    assert error.draft is not None
    assert error.draft.data is not None
    assert error.draft.names is None


def test_an_existing_cluster_decides_the_size_and_the_nodes() -> None:
    cluster = Cluster(name="big", size="standard_nc48ads_a100_v4", max_nodes=1, has_identity=True)
    plan = check_plan(settings(), found(cluster=cluster), TODAY)
    assert plan.cluster_size.gpus == 2
    assert any("configured size Standard_NC24ads_A100_v4 is not used" in w for w in plan.warnings)
    assert not any("identity" in warning for warning in plan.warnings)
    error = refused(settings(parameters={"num_nodes_finetune": 2}), cluster=cluster)
    assert "more than cluster big can have (1)" in str(error)


def test_a_cluster_without_an_identity_is_a_warning() -> None:
    assert any("is created with no managed identity" in w for w in planned().warnings)
    plan = check_plan(settings(), found(cluster=Cluster(name="c", size=A100)), TODAY)
    assert any("has no managed identity" in warning for warning in plan.warnings)


def test_training_and_serving_must_fit_the_quota_together() -> None:
    usages = [Usage(name="Standard NCADSA100v4 Family Cluster Dedicated vCPUs", used=10, limit=80)]
    error = refused(settings(), usages=usages)
    assert "72 vCPUs are needed at once for training 48" in str(error)
    assert "70 of 80 are free" in str(error)
    assert check_plan(settings(compute={"max_nodes": 1}), found(usages=usages), TODAY).quota == (
        "48 of 70 free vCPUs of Standard NCADSA100v4 Family Cluster Dedicated vCPUs",
    )


def test_a_plan_above_the_cost_limit_is_refused() -> None:
    assert "more than max_cost = 50 USD" in str(refused(settings(max_cost=50)))
    assert planned(max_cost=5000).price is not None


def test_a_size_below_the_models_own_minimum() -> None:
    anything = found()
    assert anything.model
    strict = {"finetune_min_spec": "48|2|440|64"}
    warned = check_plan(settings(), found(model=anything.model.model_copy(update=strict)), TODAY)
    assert any("24 of 48 vCPUs, 1 of 2 GPUs, 220 of 440 GB" in text for text in warned.warnings)
    model = anything.model.model_copy(update={**strict, "finetune_sizes": None})
    assert "below the minimum" in str(refused(settings(), model=model))


def test_a_size_that_is_not_allowed_still_has_a_price_and_a_quota() -> None:
    names = ("Standard NCSv3 Family", "Total Cluster Low Priority Regional vCPUs")
    usages = [Usage(name=name, used=0, limit=1) for name in names]
    error = refused(settings("Standard_NC24s_v3", max_cost=50), usages=usages)
    told = [type(problem).__name__ for problem in error.problems]
    assert told == ["SizeNotAllowed", "CostTooHigh", "QuotaExceeded"]


def test_wrong_parameters_give_no_run_key() -> None:
    draft = refused(settings(parameters={"precision": 8})).draft
    assert draft is not None
    assert draft.names is None


def test_one_problem_keeps_its_kind() -> None:
    lost = UserError("No.", "Do it.")
    assert refused(settings(), problems=(lost,)).kind is lost.kind


def test_a_plan_survives_being_stored() -> None:
    plan = planned()
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
