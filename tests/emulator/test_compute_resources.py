"""Compute clusters, sizes and quotas through the unmodified SDK."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from emulator.control_client import Control
from tests.emulator.compute_resource_support import (
    MINUTE,
    ask,
    cluster,
    instance,
    made,
    nodes,
    sleeper,
    until,
)

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

__all__ = ["made"]


def test_a_cluster_is_created_changed_listed_and_deleted(
    ml_client: "MLClient", control: Control
) -> None:
    from azure.ai.ml.entities import AmlComputeSshSettings

    wanted = cluster(
        "whole-life",
        idle_time_before_scale_down=100,
        tags={"team": "a"},
        ssh_public_access_enabled=True,
        ssh_settings=AmlComputeSshSettings(admin_username="azureuser", admin_password="secret-1"),
    )
    made = ml_client.compute.begin_create_or_update(wanted).result()
    assert (made.tier, made.min_instances, made.max_instances) == ("dedicated", 0, 4)
    assert made.ssh_settings.admin_username == "azureuser"
    assert "secret-1" not in ask(control, "GET", "whole-life").text
    made.idle_time_before_scale_down = 200
    made.max_instances = 2
    ml_client.compute.begin_update(made).result()
    changed = ml_client.compute.get("whole-life")
    assert (changed.idle_time_before_scale_down, changed.max_instances) == (200, 2)
    assert changed.created_on == made.created_on
    answer = ask(
        control,
        "PATCH",
        "whole-life",
        {"properties": {"properties": {"scaleSettings": {"maxNodeCount": 3}}}},
    )
    assert answer.status_code == 200
    assert ml_client.compute.get("whole-life").max_instances == 3
    assert "whole-life" in [c.name for c in ml_client.compute.list(compute_type="amlcompute")]
    assert "whole-life" not in [
        c.name for c in ml_client.compute.list(compute_type="computeinstance")
    ]
    with pytest.raises(HttpResponseError, match="Detach is not supported"):
        ml_client.compute.begin_delete("whole-life", action="Detach").result()
    ml_client.compute.begin_delete("whole-life").result()
    with pytest.raises(ResourceNotFoundError, match="Compute with name whole-life was not found"):
        ml_client.compute.get("whole-life")


def test_nodes_follow_the_jobs(ml_client: "MLClient", control: Control, made: Any) -> None:
    made(cluster("follows", idle_time_before_scale_down=120))
    assert nodes(control, "follows") == (0, 0)
    job = ml_client.jobs.create_or_update(sleeper("follows", 1.5, instances=2))
    until(ml_client, job.name, "Running")
    assert nodes(control, "follows") == (2, 0)
    listed = [vars(node) for node in ml_client.compute.list_nodes("follows")]
    assert [node["nodeState"] for node in listed] == ["running", "running"]
    assert [node["runId"] for node in listed] == [job.name, job.name]
    assert until(ml_client, job.name, "Completed", "Failed") == "Completed"
    assert nodes(control, "follows") == (0, 2)
    assert {vars(n)["nodeState"] for n in ml_client.compute.list_nodes("follows")} == {"idle"}
    # A node that waits is used again.
    again = ml_client.jobs.create_or_update(sleeper("follows", 0.5))
    until(ml_client, again.name, "Running")
    assert nodes(control, "follows") == (1, 1)
    until(ml_client, again.name, "Completed")
    control.advance(100)
    assert nodes(control, "follows") == (0, 2)
    control.advance(30)
    assert nodes(control, "follows") == (0, 0)


def test_the_least_nodes_stay(control: Control, made: Any) -> None:
    made(cluster("has-two", min_instances=2))
    assert nodes(control, "has-two") == (0, 2)
    control.advance(30 * MINUTE)
    assert nodes(control, "has-two") == (0, 2)


@pytest.mark.parametrize(
    ("body", "name", "status", "problem"),
    [
        ({"computeType": "VirtualMachine"}, "other", 501, "type 'VirtualMachine'"),
        ({"computeType": "Kubernetes"}, "other", 501, "type 'Kubernetes'"),
        ({"computeType": "SynapseSpark"}, "other", 501, "type 'SynapseSpark'"),
        ({"computeType": "AmlCompute"}, "9lives", 400, "name '9lives' is invalid: 2 to 32"),
        ({"computeType": "ComputeInstance"}, "ci", 400, "name 'ci' is invalid: 3 to 24"),
        ({"computeType": "AmlCompute", "properties": {"vmSize": "Huge"}}, "c1", 400, "size 'Huge'"),
        (
            {
                "computeType": "AmlCompute",
                "properties": {
                    "vmSize": "Standard_DS3_v2",
                    "scaleSettings": {"minNodeCount": 3, "maxNodeCount": 2},
                },
            },
            "upside-down",
            400,
            "minNodeCount 3 and maxNodeCount 2",
        ),
        (
            {
                "computeType": "ComputeInstance",
                "properties": {"vmSize": "Standard_DS3_v2", "idleTimeBeforeShutdown": "PT1M"},
            },
            "hurried",
            400,
            "idleTimeBeforeShutdown: PT1M is not from 15 minutes",
        ),
    ],
)
def test_a_compute_that_cannot_be_is_refused(
    control: Control, body: dict[str, Any], name: str, status: int, problem: str
) -> None:
    answer = ask(control, "PUT", name, {"location": "eastus", "properties": body})
    assert answer.status_code == status
    assert problem in answer.json()["error"]["message"]
    assert ask(control, "GET", name).status_code == 404


def test_what_a_compute_cannot_change(ml_client: "MLClient", made: Any) -> None:
    made(cluster("fixed"))
    with pytest.raises(HttpResponseError, match="cannot be changed from STANDARD_DS3_v2"):
        ml_client.compute.begin_create_or_update(cluster("fixed", size="Standard_DS4_v2"))
    with pytest.raises(HttpResponseError, match="type AmlCompute with the name fixed exists"):
        ml_client.compute.begin_create_or_update(instance("fixed"))
    with pytest.raises(HttpResponseError, match="Stop is not supported for compute fixed"):
        ml_client.compute.begin_stop("fixed")


def test_sizes_and_usage(ml_client: "MLClient", control: Control, made: Any) -> None:
    sizes = {vars(size)["name"]: vars(size) for size in ml_client.compute.list_sizes()}
    assert sizes["Standard_DS3_v2"]["vCPUs"] == 4
    assert sizes["Standard_NC4as_T4_v3"]["gpus"] == 1
    here = ml_client.compute.list_sizes(location="westus", compute_type="ComputeInstance")
    assert "Standard_E8s_v3" in [vars(size)["name"] for size in here]

    def used() -> int:
        rows = [vars(usage) for usage in ml_client.compute.list_usage()]
        return next(
            int(row["currentValue"]) for row in rows if row["name"]["value"] == "standardESv3Family"
        )

    before = used()
    made(instance("ci-costs", size="Standard_E4s_v3", release_quota_on_stop=True))
    assert used() == before + 4
    ml_client.compute.begin_stop("ci-costs").result()
    assert used() == before
    control.set_quota("standardESv3Family", before + 3)
    with pytest.raises(HttpResponseError, match="exceeding quota limits of standardESv3Family"):
        ml_client.compute.begin_start("ci-costs").result()
    assert ml_client.compute.get("ci-costs").state == "Stopped"
    with pytest.raises(HttpResponseError, match="exceeding quota"):
        made(cluster("too-big", size="Standard_E4s_v3", max_instances=1))
    assert ml_client.compute.get("too-big").provisioning_state == "Failed"


def test_times_of_computes_are_dates(control: Control, made: Any) -> None:
    made(cluster("dated"))
    properties = ask(control, "GET", "dated").json()["properties"]
    for time_stamp in (
        properties["createdOn"],
        properties["properties"]["allocationStateTransitionTime"],
    ):
        assert abs(datetime.fromisoformat(time_stamp) - datetime.now(UTC)) < timedelta(minutes=5)


def test_a_new_workspace_has_the_clusters_of_the_examples(
    ml_client: "MLClient", control: "Control"
) -> None:
    ml_client.compute.begin_delete("cpu-cluster").wait()
    control.reset()
    found = {each.name: each for each in ml_client.compute.list()}
    assert set(found) == {"cpu-cluster", "gpu-cluster"}
    assert found["cpu-cluster"].provisioning_state == "Succeeded"
    assert (found["gpu-cluster"].min_instances, found["gpu-cluster"].max_instances) == (0, 4)
