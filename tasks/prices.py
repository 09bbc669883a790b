"""What the run's VMs cost: per hour, and at most within the deadlines. Never a guess."""

from datetime import date

from tasks.config import FinetuneConfig
from tasks.errors import UserError
from tasks.values import Cluster, ClusterSize, Price

# Linux, on demand, region eastus, in USD an hour. Sizes of one GPU only: for larger ones the
# source repeats Windows prices, which are higher.
TABLE_DATE = date(2026, 11, 9)
TABLE_SOURCE = "github.com/datareceipts/data-receipts, 109-gpu-pricing/hyperscalers.json"
TABLE_REGION = "eastus"
TABLE = {
    "standard_nc24ads_a100_v4": 3.673,
    "standard_nc40ads_h100_v5": 6.98,
}

_FROM_SERVICE = "the service"
_FROM_TABLE = f"list price of {TABLE_DATE:%Y-%m-%d}, {TABLE_REGION}"


class CostTooHigh(UserError):
    """The run could cost more than `max_cost`, or nobody can say that it cannot."""


def hourly_price(
    size: ClusterSize, region: str | None, low_priority: bool = False
) -> tuple[float, str] | None:
    """(USD an hour of one VM, where the price is from); None when it is not known.

    The service's own price wins over the dated table, which holds for its own region only.
    """
    told = size.low_priority_usd_per_hour if low_priority else size.usd_per_hour
    if told is not None:
        return told, _FROM_SERVICE
    listed = TABLE.get(size.name.lower())
    if listed is not None and (region or "").lower() == TABLE_REGION:
        # A low-priority VM costs less: as a bound the dedicated price is right.
        return listed, _FROM_TABLE
    return None


def estimate(
    config: FinetuneConfig,
    cluster_size: ClusterSize,
    serving_size: ClusterSize,
    cluster: Cluster | None,
    region: str | None,
) -> Price:
    """Per hour, and the most that the deadlines allow.

    The bound takes every node of the cluster from the submission to the job's last deadline, for
    every attempt, and through the idle time; and the endpoint through creation and deletion.
    Storage, traffic and taxes are not in it.
    """
    nodes = cluster.max_nodes if cluster else config.compute.max_nodes
    training = hourly_price(cluster_size, region, bool(cluster and cluster.low_priority))
    serving = hourly_price(serving_size, region)
    deadlines = config.deadlines
    cluster_hours = config.max_attempts * (deadlines.queue + deadlines.run) / 60
    cluster_hours += config.compute.idle_seconds / 3600
    endpoint_hours = 2 * deadlines.deploy / 60 if config.serving.test else 0.0
    per_hour = training and nodes * training[0]
    endpoint_per_hour = serving and config.serving.instances * serving[0]
    without_end = config.serving.test and config.serving.keep_endpoint and endpoint_per_hour != 0
    most = None
    if per_hour is not None and endpoint_per_hour is not None and not without_end:
        most = round(per_hour * cluster_hours + endpoint_per_hour * endpoint_hours, 2)
    unknown = [s.name for s, p in ((cluster_size, training), (serving_size, serving)) if p is None]
    sources = [price[1] for price in (training, serving) if price]
    return Price(
        nodes=nodes,
        cluster_per_hour=per_hour,
        endpoint_per_hour=endpoint_per_hour,
        most=most,
        unknown=tuple(dict.fromkeys(unknown)),
        sources=tuple(dict.fromkeys(sources)),
    )


def check_cost(config: FinetuneConfig, price: Price) -> None:
    """Raise CostTooHigh when `max_cost` is set and the run is not sure to stay below it."""
    limit = config.max_cost
    if limit is None:
        return
    if price.unknown:
        raise CostTooHigh(
            f"max_cost is {limit:g} USD, but the price of {' and '.join(price.unknown)} is not "
            "known: neither the service nor the built-in table gives it.",
            "Choose a size whose price is known, or run without max_cost.",
        )
    if price.most is None:
        raise CostTooHigh(
            f"max_cost is {limit:g} USD, but serving.keep_endpoint leaves the endpoint running: "
            f"it costs {price.endpoint_per_hour:,.2f} USD an hour without an end.",
            "Switch serving.keep_endpoint off, or run without max_cost.",
        )
    if price.most > limit:
        raise CostTooHigh(
            f"The run may cost up to {price.most:,.2f} USD within its deadlines, which is more "
            f"than max_cost = {limit:g} USD.",
            "Shorten deadlines.run or deadlines.queue, lower compute.max_nodes or max_attempts, "
            "choose smaller sizes, or raise max_cost.",
        )
