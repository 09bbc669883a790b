"""Computes for tests: made, looked at, waited for; all are gone after the test."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import requests

from emulator.control_client import Control

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import AmlCompute, Command, ComputeInstance

MINUTE = 60.0


def cluster(name: str, **options: Any) -> "AmlCompute":
    from azure.ai.ml.entities import AmlCompute

    settings: dict[str, Any] = {"size": "STANDARD_DS3_v2", "max_instances": 4, **options}
    return AmlCompute(name=name, **settings)


def instance(name: str, **options: Any) -> "ComputeInstance":
    from azure.ai.ml.entities import ComputeInstance

    return ComputeInstance(name=name, **options)


@pytest.fixture
def made(ml_client: "MLClient") -> Iterator[Any]:
    """Creates computes that are gone after the test."""
    names: list[str] = []

    def make(compute: Any) -> Any:
        names.append(compute.name)
        return ml_client.compute.begin_create_or_update(compute).result()

    yield make
    for name in names:
        ml_client.compute.begin_delete(name).wait()


def ask(control: Control, method: str, path: str, body: Any = None) -> requests.Response:
    """What the SDK does not ask for, or hides."""
    from azure.identity import DefaultAzureCredential

    token = DefaultAzureCredential().get_token("https://management.azure.com/.default").token
    url = f"https://management.azure.com{control.config.workspace_path}/computes/{path}"
    return requests.request(
        method,
        f"{url}?api-version=2023-08-01-preview",
        json=body,
        headers={"Authorization": f"Bearer {token}"},
        timeout=10,
    )


def details(control: Control, name: str) -> dict[str, Any]:
    found: dict[str, Any] = ask(control, "GET", name).json()["properties"]["properties"]
    return found


def nodes(control: Control, name: str) -> tuple[int, int]:
    """How many nodes of a cluster work and wait."""
    shown = details(control, name)
    counts = shown["nodeStateCounts"]
    assert shown["currentNodeCount"] == counts["runningNodeCount"] + counts["idleNodeCount"]
    return counts["runningNodeCount"], counts["idleNodeCount"]


def sleeper(compute: str, seconds: float, instances: int = 1) -> "Command":
    from azure.ai.ml import command
    from azure.ai.ml.entities import Environment

    return command(
        command=f"sleep {seconds}",
        environment=Environment(image="example.test/any"),
        compute=compute,
        instance_count=instances,
    )


def until(client: "MLClient", job: str, *statuses: str) -> str:
    deadline = time.monotonic() + 60
    while (status := client.jobs.get(job).status) not in statuses:
        assert time.monotonic() < deadline, status
        time.sleep(0.05)
    return str(status.value)


def until_state(client: "MLClient", name: str, state: str) -> None:
    deadline = time.monotonic() + 10
    while (found := client.compute.get(name).state) != state:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
