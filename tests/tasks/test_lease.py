"""Who holds an endpoint, and how a model's deployment is called."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.lease import Lease, is_over, read_lease, with_lease
from tasks.release_config import ReleaseConfig
from tasks.releasing import Release, deployment_name, lease_minutes, short_model
from tasks.values import RegisteredModel

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
LATER, BEFORE = NOW + timedelta(minutes=1), NOW - timedelta(minutes=1)


def lease(expires: datetime = LATER, old: str | None = "old", made: bool = False) -> Lease:
    return Lease(endpoint="chat", flow_run_id="run", expires=expires, new="new", old=old, made=made)


@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize("made", [False, True])
def test_a_lease_is_read_back_from_the_tags(old: str | None, made: bool) -> None:
    held = lease(old=old, made=made)
    tags = with_lease({"keep": "true", "release_old": "before"}, held)
    assert tags["keep"] == "true"
    assert read_lease("chat", tags) == held
    assert with_lease(tags, None) == {"keep": "true"}
    assert read_lease("chat", {"keep": "true"}) is None


@pytest.mark.parametrize(
    ("expires", "ended", "over"),
    [
        (LATER, False, False),
        (LATER, None, False),
        (LATER, True, True),
        (BEFORE, False, True),
        (BEFORE, None, True),
    ],
)
def test_a_lease_ends_with_its_run_or_its_time(
    expires: datetime, ended: bool | None, over: bool
) -> None:
    assert is_over(lease(expires), lambda run: ended, NOW) is over


def test_a_lease_whose_time_cannot_be_read_is_over() -> None:
    tags = lease().tags() | {"release_expires": "soon"}
    read = read_lease("chat", tags)
    assert read
    assert is_over(read, lambda run: None, NOW)


def test_a_lease_lasts_longer_than_what_comes_between_two_changes() -> None:
    config = ReleaseConfig(deploy_minutes=60)
    assert lease_minutes(config) > 60 + config.checks.seconds / 60


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=60))
def test_a_deployment_has_a_name_that_azure_takes(name: str, version: str) -> None:
    made = deployment_name(RegisteredModel(id="", name=name, version=version))
    assert re.fullmatch(r"[a-z][a-z0-9-]{1,30}[a-z0-9]", made)


def test_different_models_have_different_deployments() -> None:
    models = [("a", "1"), ("b", "1"), ("a", "2"), ("a", "1-"), ("a", "A"), ("a", "a")]
    made = {deployment_name(RegisteredModel(id="", name=n, version=v)) for n, v in models}
    assert len(made) == len(models)


@pytest.mark.parametrize(
    "asset",
    [
        "phi:3",
        "azureml:phi:3",
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces"
        "/w/models/phi/versions/3",
        "azureml://registries/azureml/models/phi/versions/3",
    ],
)
def test_a_model_is_known_by_any_of_its_ids(asset: str) -> None:
    assert short_model(asset) == "phi:3"


@pytest.mark.parametrize(
    ("old", "share", "stages"),
    [
        ("old", 0, [(0, 10), (10, 0), (50, 0), (100, 0)]),
        ("old", 10, [(10, 0), (50, 0), (100, 0)]),
        ("old", 30, [(50, 0), (100, 0)]),
        ("old", 100, [(100, 0)]),
        (None, 0, [(0, 0)]),
        (None, 100, [(100, 0)]),
    ],
)
def test_a_release_goes_on_from_the_traffic_that_it_finds(
    old: str | None, share: int, stages: list[tuple[int, int]]
) -> None:
    model = RegisteredModel(id="", name="phi", version="3")
    held = Release(lease=lease(old=old), model=model, scoring_uri="", share=share)
    assert held.stages(ReleaseConfig()) == stages
