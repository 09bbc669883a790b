"""What a run of the contract tests will create on the real service, said before it does."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple, TextIO

import pytest

from tests.contract.target import Target


class Cost(NamedTuple):
    """One kind of what is created."""

    what: str
    price: str
    time: str


CLUSTER_SIZE = "Standard_DS3_v2"
ENDPOINT_SIZE = "Standard_DS3_v2"
IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04"
"""What jobs run in; it has a Python."""
SERVING_IMAGE = "mcr.microsoft.com/azureml/minimal-ubuntu22.04-py39-cpu-inference"
"""What deployments run in; it has the scoring server."""
COSTS = {
    "storage": Cost(
        "datastores, data, models, code, environments, components, schedules (disabled) and "
        "their blobs, some kB each",
        "well below 0.01 USD",
        "until the end of the run",
    ),
    "compute-minutes": Cost(
        f"one cluster of 0 to 1 {CLUSTER_SIZE}, low priority, and short jobs on it",
        "about 0.1 USD an hour while its node is up",
        "30 to 60 minutes; no node is kept",
    ),
    "endpoint-minutes": Cost(
        f"one online endpoint with one instance of {ENDPOINT_SIZE}",
        "about 0.3 USD an hour",
        "20 to 40 minutes",
    ),
}
"""What a test may name as its cost. Prices: a magnitude, of list prices in 2026."""


def costs(item: pytest.Item) -> set[str]:
    """The costs that a test's markers name."""
    named = (marker.kwargs.get("cost") for marker in item.iter_markers("operation"))
    found = {str(cost) for cost in named if cost}
    unknown = found - COSTS.keys()
    if unknown:
        raise pytest.UsageError(f"{item.nodeid}: there is no cost named {', '.join(unknown)}")
    return found


def plan(items: Iterable[pytest.Item], target: Target) -> str:
    """What the collected tests create, what it may cost, and for how long."""
    items = list(items)
    tests = Counter(cost for item in items for cost in costs(item))
    lines = [
        f"{len(items)} tests will use the workspace {target.workspace} (resource group "
        f"{target.resource_group}, subscription {target.subscription}).",
        "They create there, with names that begin with 'ct' and random digits:",
    ]
    for name, cost in COSTS.items():
        if tests[name]:
            lines.append(f"  - {cost.what} ({tests[name]} tests)")
            lines.append(f"    {cost.price}; {cost.time}")
    if not tests:
        lines.append("  nothing")
    lines.append("All of it is removed at the end, also when a test fails or you interrupt it.")
    lines.append("Leave out what costs by the hour: -m 'not expensive'.")
    return "\n".join(lines)


def confirmed(answers: TextIO) -> bool:
    """Ask; anything but yes is no, and so is no answer at all."""
    print("Create this? [y/N] ", end="", flush=True)
    return answers.readline().strip().lower() in ("y", "yes")
