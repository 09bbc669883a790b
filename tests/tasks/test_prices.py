"""Prices come from the service or from a dated table; the bound follows the deadlines."""

import pytest

from tasks.prices import CostTooHigh, check_cost, estimate, hourly_price
from tasks.values import Cluster, ClusterSize
from tests.tasks.planning_support import A100, settings

SIZE = ClusterSize(name=A100, gpus=1, vcpus=24, memory_gb=220)
PRICED = SIZE.model_copy(update={"usd_per_hour": 2.0, "low_priority_usd_per_hour": 0.5})
UNKNOWN = ClusterSize(name="Standard_ND96asr_v4", gpus=8, vcpus=96, memory_gb=900)
DEADLINES = {"queue": 60, "run": 120, "deploy": 30}


def test_the_services_price_wins_over_the_table() -> None:
    assert hourly_price(PRICED, "eastus") == (2.0, "the service")
    assert hourly_price(PRICED, "eastus", low_priority=True) == (0.5, "the service")
    listed = hourly_price(SIZE, "EastUS")
    assert listed is not None
    assert listed[0] == 3.673
    assert "2026-11-09" in listed[1]


def test_a_price_is_never_invented() -> None:
    assert hourly_price(UNKNOWN, "eastus") is None
    assert hourly_price(SIZE, "westeurope") is None
    price = estimate(settings(), UNKNOWN, UNKNOWN, None, "eastus")
    assert (price.cluster_per_hour, price.most) == (None, None)
    assert price.unknown == ("Standard_ND96asr_v4",)


def test_a_price_of_nothing_is_a_price() -> None:
    free = SIZE.model_copy(update={"usd_per_hour": 0.0})
    price = estimate(settings(serving={"keep_endpoint": True}), free, free, None, "eastus")
    assert (price.most, price.unknown) == (0.0, ())


def test_the_bound_counts_nodes_attempts_deadlines_and_the_endpoint() -> None:
    config = settings(
        compute={"max_nodes": 3, "idle_seconds": 3600},
        serving={"instances": 2},
        deadlines=DEADLINES,
        max_attempts=2,
    )
    price = estimate(config, PRICED, PRICED, None, None)
    # 3 nodes x 2 USD x (2 attempts x 3 h + 1 h idle) + 2 instances x 2 USD x 1 h
    assert (price.cluster_per_hour, price.endpoint_per_hour, price.most) == (6.0, 4.0, 46.0)
    low = Cluster(name="c", size=A100, low_priority=True, max_nodes=1)
    assert estimate(config, PRICED, PRICED, low, None).cluster_per_hour == 0.5


@pytest.mark.parametrize(
    ("size", "serving", "told"),
    [
        (PRICED, {}, r"up to .* USD within its deadlines, which is more than max_cost = 1 USD"),
        (UNKNOWN, {}, r"price of Standard_ND96asr_v4 is not known"),
        (PRICED, {"keep_endpoint": True}, r"2\.00 USD an hour without an end"),
    ],
)
def test_a_run_that_is_not_sure_to_stay_below_the_limit_is_refused(
    size: ClusterSize, serving: dict[str, bool], told: str
) -> None:
    config = settings(max_cost=1, serving=serving)
    with pytest.raises(CostTooHigh, match=told):
        check_cost(config, estimate(config, size, size, None, "eastus"))


def test_a_run_below_the_limit_or_without_one_goes_on() -> None:
    for config in (settings(max_cost=1000), settings()):
        check_cost(config, estimate(config, PRICED, PRICED, None, "eastus"))
    check_cost(settings(), estimate(settings(), UNKNOWN, UNKNOWN, None, "eastus"))
