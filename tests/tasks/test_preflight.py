"""What the run will need is looked at on the local Azure, by the real SDK, and reported whole."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from emulator.control_client import Control
from tasks.clients import forget_clients
from tasks.config import FinetuneConfig
from tasks.errors import PermissionProblem, UserError
from tasks.plan import Found, PlanError
from tasks.planning import decide_plan, look_around
from tasks.preflight import look_at_provider, look_at_storage, look_at_workspace, sign_in
from tasks.values import Plan
from tests.azure import local_azure
from tests.tasks.planning_support import TODAY, settings

LOCAL: dict[str, Any] = {"dataset": {"percent": 10}, "model": {"accept_retired": True}}


@pytest.fixture
def control(workspace: str) -> Iterator[Control]:
    control = Control.of(local_azure().state)
    yield control
    control.clear()


@flow(name="plan only")
def plan_stage(config: FinetuneConfig, folder: str) -> Plan:
    found: Found = look_around("local", config, Path(folder))
    return decide_plan(config, found, TODAY)


def test_everything_is_in_reach_of_the_local_azure(workspace: str) -> None:
    sign_in.fn(workspace)
    assert look_at_workspace.fn(workspace) == "eastus"
    look_at_provider.fn(workspace)
    look_at_storage.fn(workspace)


def test_a_wrong_secret_is_told_with_the_audience(
    workspace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "not-the-secret")
    forget_clients()
    with pytest.raises(PermissionProblem, match=r"Signing in for management, .*AADSTS7000215"):
        sign_in.fn(workspace)


def test_the_plan_comes_from_what_was_found(workspace: str, tmp_path: Path) -> None:
    plan = plan_stage(settings(**LOCAL), str(tmp_path))
    assert plan.model.version == "15"
    assert plan.price is not None
    assert plan.price.most == 0
    assert any("StandardNCADSA100v4Family" in line for line in plan.quota)
    assert plan.cluster is None or plan.cluster.name == "gpu-cluster-big"


def test_all_failures_are_reported_together(
    workspace: str, tmp_path: Path, control: Control
) -> None:
    control.set_quota("StandardNCADSA100v4Family", 0)
    control.set_quota("Total Cluster Low Priority Regional vCPUs", 0)
    config = settings(
        component={"name": "no_such_component"},
        dataset={"name": "nobody/nothing"},
        compute={"cluster": "never-made"},
        experiment="a b",
    )
    with pytest.raises(PlanError) as caught:
        plan_stage(config, str(tmp_path))
    told = str(caught.value)
    for part in (
        "The registry has no component no_such_component.",
        "nobody/nothing",
        "was retired for fine-tuning on 2025-08-30",
        "The quota of StandardNCADSA100v4Family is too small",
        "The experiment name 'a b' is not valid",
    ):
        assert part in told, part
    assert "\n  5. " in told
    assert all(problem.advice for problem in caught.value.problems)
    assert caught.value.draft is not None
    assert caught.value.draft.model is not None


def test_without_a_token_azure_is_asked_nothing_more(
    workspace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, control: Control
) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "not-the-secret")
    forget_clients()
    with pytest.raises(PlanError) as caught:
        plan_stage(settings(**LOCAL, experiment="a b"), str(tmp_path))
    problems: list[UserError] = list(caught.value.problems)
    assert [type(problem).__name__ for problem in problems] == ["PermissionProblem", "NameInvalid"]
    forget_clients()


def test_a_storage_that_refuses_is_told_with_the_role(workspace: str, control: Control) -> None:
    with (
        control.fault("Container_ListBlobs", status=403, code="AuthorizationFailure", times=None),
        pytest.raises(PermissionProblem, match="Storage Blob Data Contributor"),
    ):
        look_at_storage.fn(workspace)


def test_quotas_that_may_not_be_read_are_a_warning(
    workspace: str, tmp_path: Path, control: Control
) -> None:
    with control.fault("Usages_List", status=403, code="AuthorizationFailed", times=None):
        plan = plan_stage(settings(**LOCAL), str(tmp_path))
    assert plan.quota == ()
    assert any("core quotas" in warning and "403" in warning for warning in plan.warnings)
