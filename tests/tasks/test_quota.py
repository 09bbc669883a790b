"""Cores for training and serving at once, by the region's own counts."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tasks.quota import QuotaFindings, check_quota
from tasks.values import Cluster, ClusterSize, Usage
from tests.tasks.planning_support import A100, settings

FAMILY = "StandardNCADSA100v4Family"
SIZE = ClusterSize(name=A100, gpus=1, vcpus=24, memory_gb=220, family=FAMILY)
SMALL = ClusterSize(
    name="Standard_NC6s_v3", gpus=1, vcpus=6, memory_gb=112, family="standardNCSv3Family"
)
LOW = "Total Cluster Low Priority Regional vCPUs"
TOTAL = "Total Cluster Dedicated Regional vCPUs"


def check(
    usages: dict[str, tuple[int, int]],
    cluster: Cluster | None = None,
    serving: ClusterSize = SIZE,
    job_nodes: int = 1,
    **compute: Any,
) -> QuotaFindings:
    listed = [Usage(name=name, used=used, limit=limit) for name, (used, limit) in usages.items()]
    return check_quota(settings(compute=compute), listed, SIZE, serving, cluster, job_nodes)


def test_a_new_cluster_needs_all_its_nodes_beside_the_endpoint() -> None:
    assert not check({FAMILY: (0, 72)}).problems
    (problem,) = check({FAMILY: (0, 71)}).problems
    assert "72 vCPUs are needed at once for training 48 (2 x Standard_NC24ads_A100_v4) and " in str(
        problem
    )
    assert "71 of 71 are free" in str(problem)


def test_both_spellings_of_a_family_are_known() -> None:
    for name in (FAMILY.upper(), "Standard NCADSA100v4 Family Cluster Dedicated vCPUs"):
        assert check({name: (0, 10)}).problems


def test_families_are_counted_apart_and_the_region_together() -> None:
    usages = {FAMILY: (0, 48), "Standard NCSv3 Family Cluster Dedicated vCPUs": (0, 6)}
    assert not check(usages, serving=SMALL).problems
    (problem,) = check({**usages, TOTAL: (0, 53)}, serving=SMALL).problems
    assert "all dedicated cores of the region" in str(problem)


def test_what_the_region_does_not_list_cannot_be_told() -> None:
    found = check({"Standard DSv2 Family": (0, 0)})
    assert not found.problems
    assert f"cannot be told: the region lists no usage for its family {FAMILY}" in found.warnings[0]
    # A limit of -1 is how the region says that a row does not apply.
    assert check({FAMILY: (0, -1)}).warnings == found.warnings


def test_an_existing_cluster_needs_only_what_is_not_allocated() -> None:
    cluster = Cluster(name="c", size=A100, nodes=1, max_nodes=1)
    assert not check({FAMILY: (24, 48)}, cluster).problems
    assert check({FAMILY: (24, 47)}, cluster).problems


def test_idle_nodes_that_may_be_counted_already_leave_it_open() -> None:
    cluster = Cluster(name="c", size=A100, nodes=0, max_nodes=2)
    counted = check({FAMILY: (48, 72)}, cluster)
    assert not counted.problems
    assert "cannot be told whether the cluster's idle nodes are counted" in counted.warnings[0]
    assert check({FAMILY: (0, 24)}, cluster).problems  # none can be counted: nothing is in use


def test_a_new_cluster_falls_back_to_low_priority() -> None:
    found = check({FAMILY: (0, 30), LOW: (0, 48)})
    assert not found.problems
    assert "low-priority nodes, which Azure may take away" in found.warnings[0]
    assert "low-priority" in found.lines[0]
    assert "no way out" in check({FAMILY: (0, 30), LOW: (0, 47)}).problems[0].message
    assert check({FAMILY: (0, 20), LOW: (0, 48)}).problems  # the endpoint cannot


def test_a_low_priority_cluster_uses_its_own_quota() -> None:
    cluster = Cluster(name="c", size=A100, low_priority=True)
    assert not check({FAMILY: (0, 24), LOW: (0, 24)}, cluster).problems
    assert check({FAMILY: (0, 24), LOW: (0, 23)}, cluster).problems


def test_cores_set_aside_for_upgrades_are_a_warning() -> None:
    assert "24 more aside for upgrades" in check({FAMILY: (0, 80)}).warnings[0]
    assert not check({FAMILY: (0, 96)}).warnings


@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, 5))
def test_it_is_a_problem_exactly_when_too_few_are_free(used: int, limit: int, nodes: int) -> None:
    found = check({FAMILY: (used, limit)}, max_nodes=nodes)
    assert bool(found.problems) == (24 * (nodes + 1) > max(0, limit - used)) or found.warnings
