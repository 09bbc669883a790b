"""The plan fits one screen, and says everything that a person decides by."""

import pytest

from tasks.plan import PlanError, check_plan
from tasks.plan_view import plan_markdown, plan_text
from tasks.values import Change
from tests.tasks.planning_support import A100, TODAY, found, planned, settings


def test_the_plan_is_shown_whole_as_text_and_as_markdown() -> None:
    plan = planned(parameters={"num_train_epochs": 3})
    for shown in (plan_markdown(plan), plan_text(plan)):
        for part in (
            plan.model.id,
            plan.component.version,
            plan.names.job,
            plan.names.endpoint,
            plan.names.model,
            A100.upper(),
            "num_train_epochs",
            "model default",
            "deleted after the run",
            "72 of 200 free vCPUs",
            "cluster 7.35 USD an hour (2 nodes)",
            "list price of 2026-11-09, eastus",
            "at most",
            "compare with",
        ):
            assert part in " ".join(shown.split()), part
    assert "lora_alpha=128" in plan_markdown(plan)


def test_the_text_fits_one_screen() -> None:
    lines = plan_text(planned(parameters={"num_train_epochs": 3})).splitlines()
    assert len(lines) <= 45
    assert max(map(len, lines)) <= 110


def test_changes_and_problems_are_numbered_and_listed() -> None:
    with pytest.raises(PlanError) as caught:
        check_plan(settings("Standard_NC24s_v3", experiment="a b"), found(), TODAY)
    error = caught.value
    assert error.draft is not None
    changed = error.draft.model_copy(
        update={
            "previous": "job ft-1-1 of 2026-10-01 08:00 UTC",
            "changes": tuple(
                Change(what=f"model tag t{n}", before="1", after="2") for n in range(20)
            ),
        }
    )
    text = plan_text(changed, error.problems)
    assert "Changed since the last successful run (job ft-1-1 of 2026-10-01 08:00 UTC)" in text
    assert "and 8 more" in text
    assert "not possible: 2 problems" in text
    assert "1.  Standard_NC24s_v3 is not allowed" in text
    document = plan_markdown(changed, error.problems)
    assert "| model tag t19 | 1 | 2 |" in document
    assert "2. The experiment name" in document


def test_a_draft_without_model_and_data_is_shown_too() -> None:
    with pytest.raises(PlanError) as caught:
        check_plan(settings(experiment="a b"), found(model=None, data=None, sizes=None), TODAY)
    assert caught.value.draft is not None
    for show in (plan_text, plan_markdown):
        shown = show(caught.value.draft, caught.value.problems)
        assert "Phi-3-mini-4k-instruct, not looked up" in shown
        assert "gpu-cluster-big: to be created" in shown
