import pytest

from tasks.clients import workspace_client
from tasks.compute import ensure_cluster, list_sizes, look_at_cluster
from tasks.config import ComputeChoice
from tasks.errors import UserError
from tests.tasks.planning_support import A100

TAGS = {"run_key": "abc"}


def test_the_regions_sizes_have_their_gpus(workspace: str) -> None:
    sizes = {size.name.lower(): size for size in list_sizes.fn(workspace)}
    assert sizes[A100.lower()].gpus == 1
    assert sizes[A100.lower()].vcpus == 24
    assert sizes[A100.lower()].memory_gb == 220


def test_looking_at_a_cluster_that_is_missing_creates_nothing(workspace: str) -> None:
    choice = ComputeChoice(cluster="not-there")
    assert look_at_cluster.fn(workspace, choice) == choice.size
    assert "not-there" not in {c.name for c in workspace_client(workspace).compute.list()}


def test_a_cluster_is_created_once_and_scales_to_zero(workspace: str) -> None:
    choice = ComputeChoice(cluster="made-once", max_nodes=3, idle_seconds=90)
    assert ensure_cluster.fn(workspace, choice, TAGS, minutes=1) == "Succeeded"
    assert ensure_cluster.fn(workspace, choice, TAGS, minutes=1) == "Succeeded"
    made = workspace_client(workspace).compute.get("made-once")
    assert made.size.lower() == choice.size.lower()
    assert (made.min_instances, made.max_instances) == (0, 3)
    assert made.tags["run_key"] == "abc"


def test_the_size_of_an_existing_cluster_wins(workspace: str) -> None:
    ensure_cluster.fn(workspace, ComputeChoice(cluster="has-size"), TAGS, minutes=1)
    other = ComputeChoice(cluster="has-size", size="Standard_NC48ads_A100_v4")
    assert look_at_cluster.fn(workspace, other).lower() == A100.lower()


def test_a_size_that_the_region_lacks_is_a_clear_error(workspace: str) -> None:
    choice = ComputeChoice(cluster="odd-size", size="Standard_Nothing_v9")
    with pytest.raises(UserError, match="Creating cluster odd-size"):
        ensure_cluster.fn(workspace, choice, TAGS, minutes=1)
