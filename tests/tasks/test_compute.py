import pytest

from tasks.clients import workspace_client
from tasks.compute import ensure_cluster, find_cluster, list_sizes, list_usage
from tasks.config import ComputeChoice
from tasks.errors import UserError
from tests.tasks.planning_support import A100

TAGS = {"run_key": "abc"}


def test_the_regions_sizes_have_their_gpus(workspace: str) -> None:
    sizes = {size.name.lower(): size for size in list_sizes.fn(workspace)}
    assert sizes[A100.lower()].gpus == 1
    assert sizes[A100.lower()].vcpus == 24
    assert sizes[A100.lower()].memory_gb == 220
    assert sizes[A100.lower()].family == "StandardNCADSA100v4Family"
    # The local service says what its own VMs cost.
    assert sizes[A100.lower()].usd_per_hour == 0
    assert sizes[A100.lower()].low_priority_usd_per_hour == 0


def test_the_regions_quotas_have_what_is_used(workspace: str) -> None:
    before = {usage.name: usage for usage in list_usage.fn(workspace)}
    ensure_cluster.fn(workspace, ComputeChoice(cluster="counted", max_nodes=2), TAGS, minutes=1)
    after = {usage.name: usage for usage in list_usage.fn(workspace)}
    for name in ("StandardNCADSA100v4Family", "Total Cluster Dedicated Regional vCPUs"):
        assert after[name].used - before[name].used == 48
        assert after[name].limit > 0


def test_looking_at_a_cluster_that_is_missing_creates_nothing(workspace: str) -> None:
    choice = ComputeChoice(cluster="not-there")
    assert find_cluster.fn(workspace, choice) is None
    assert "not-there" not in {c.name for c in workspace_client(workspace).compute.list()}


def test_a_cluster_is_created_once_and_scales_to_zero(workspace: str) -> None:
    choice = ComputeChoice(cluster="made-once", max_nodes=3, idle_seconds=90)
    assert ensure_cluster.fn(workspace, choice, TAGS, minutes=1) == "Succeeded"
    assert ensure_cluster.fn(workspace, choice, TAGS, minutes=1) == "Succeeded"
    made = workspace_client(workspace).compute.get("made-once")
    assert made.size.lower() == choice.size.lower()
    assert (made.min_instances, made.max_instances) == (0, 3)
    assert made.tags["run_key"] == "abc"


def test_an_existing_cluster_is_told_as_it_is(workspace: str) -> None:
    ensure_cluster.fn(workspace, ComputeChoice(cluster="has-size", max_nodes=3), TAGS, minutes=1)
    other = ComputeChoice(cluster="has-size", size="Standard_NC48ads_A100_v4")
    cluster = find_cluster.fn(workspace, other)
    assert cluster is not None
    assert cluster.size.lower() == A100.lower()
    assert (cluster.max_nodes, cluster.nodes) == (3, 0)
    assert not cluster.low_priority
    assert not cluster.has_identity


def test_the_identity_and_the_tier_of_a_cluster_are_seen(workspace: str) -> None:
    from azure.ai.ml.entities import AmlCompute, IdentityConfiguration

    made = AmlCompute(
        name="with-identity",
        size=A100,
        tier="low_priority",
        identity=IdentityConfiguration(type="SystemAssigned"),
    )
    workspace_client(workspace).compute.begin_create_or_update(made).result()
    cluster = find_cluster.fn(workspace, ComputeChoice(cluster="with-identity"))
    assert cluster is not None
    assert cluster.has_identity
    assert cluster.low_priority


def test_a_size_that_the_region_lacks_is_a_clear_error(workspace: str) -> None:
    choice = ComputeChoice(cluster="odd-size", size="Standard_Nothing_v9")
    with pytest.raises(UserError, match="Creating cluster odd-size"):
        ensure_cluster.fn(workspace, choice, TAGS, minutes=1)
