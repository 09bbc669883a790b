"""Clusters, and what a location has to offer."""

from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.contract.created import Created
from tests.contract.plan import CLUSTER_SIZE
from tests.contract.service import Service


@pytest.mark.operation("Compute_Get", "Compute_List", cost="compute-minutes")
def test_a_cluster_without_nodes_is_there(client: Any, cluster: str) -> None:
    found = client.compute.get(cluster)
    assert found.type == "amlcompute"
    assert found.provisioning_state == "Succeeded"
    assert found.size.lower() == CLUSTER_SIZE.lower()
    assert (found.min_instances, found.max_instances) == (0, 1)
    assert cluster in {compute.name for compute in client.compute.list()}


@pytest.mark.operation("Compute_Get", cost="compute-minutes")
def test_a_cluster_counts_its_nodes(service: Service, cluster: str) -> None:
    properties = service.send("GET", f"/computes/{cluster}").json()["properties"]
    assert properties["computeType"] == "AmlCompute"
    details = properties["properties"]
    assert details["allocationState"] in ("Steady", "Resizing")
    assert set(details["nodeStateCounts"]) >= {"idleNodeCount", "runningNodeCount"}
    assert details["scaleSettings"]["minNodeCount"] == 0


@pytest.mark.operation("Compute_CreateOrUpdate", "Compute_Delete", cost="compute-minutes")
def test_a_cluster_is_changed_and_deleted(client: Any, created: Created) -> None:
    from azure.ai.ml.entities import AmlCompute

    name = created.name("cpu")
    cluster = AmlCompute(
        name=name, size=CLUSTER_SIZE, min_instances=0, max_instances=1, tags=created.tags
    )
    client.compute.begin_create_or_update(cluster).result()
    cluster.max_instances = 2
    assert client.compute.begin_update(cluster).result().max_instances == 2
    client.compute.begin_delete(name).wait()
    with pytest.raises(ResourceNotFoundError):
        client.compute.get(name)


@pytest.mark.operation("VirtualMachineSizes_List")
def test_sizes(client: Any) -> None:
    sizes = {size.name.lower(): size for size in client.compute.list_sizes()}
    assert sizes[CLUSTER_SIZE.lower()].gpus == 0
    assert any(size.gpus for size in sizes.values())


@pytest.mark.operation("Usages_List")
def test_usages(client: Any) -> None:
    usages = list(client.compute.list_usage())
    assert usages
    assert all(usage.limit is not None for usage in usages)


def test_a_compute_that_is_not_there(service: Service, created: Created) -> None:
    answer = service.send("GET", f"/computes/{created.name('none')}")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "ResourceNotFound"


def test_a_size_that_is_not_there_is_refused(client: Any, created: Created) -> None:
    from azure.ai.ml.entities import AmlCompute

    cluster = AmlCompute(name=created.name("cpu"), size="Standard_None_v9", max_instances=1)
    with pytest.raises(HttpResponseError):
        client.compute.begin_create_or_update(cluster).result()
