"""A workspace's managed network: outbound rules come, are listed and go; it is provisioned."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from azure.core.exceptions import HttpResponseError

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

NAME = "walled"


@pytest.fixture
def walled(ml_client: "MLClient") -> Iterator[str]:
    """A workspace with a managed network that is open to the internet."""
    from azure.ai.ml.constants._workspace import IsolationMode
    from azure.ai.ml.entities import ManagedNetwork, Workspace

    network = ManagedNetwork(isolation_mode=IsolationMode.ALLOW_INTERNET_OUTBOUND)
    workspace = Workspace(name=NAME, location="eastus", managed_network=network)
    ml_client.workspaces.begin_create(workspace).result()
    yield NAME
    ml_client.workspaces.begin_delete(NAME, delete_dependent_resources=True).result()


def test_outbound_rules_and_provisioning(ml_client: "MLClient", walled: str) -> None:
    from azure.ai.ml.constants._workspace import IsolationMode
    from azure.ai.ml.entities import (
        FqdnDestination,
        PrivateEndpointDestination,
        ServiceTagDestination,
    )

    rules = ml_client.workspace_outbound_rules
    index = FqdnDestination(name="index", destination="pypi.org")
    with pytest.raises(HttpResponseError, match="AllowOnlyApprovedOutbound"):
        rules.begin_create(walled, index).result()
    workspace = ml_client.workspaces.get(walled)
    assert workspace is not None
    storage = str(workspace.storage_account)
    workspace.managed_network.isolation_mode = IsolationMode.ALLOW_ONLY_APPROVED_OUTBOUND
    ml_client.workspaces.begin_update(workspace).result()
    assert rules.begin_create(walled, index).result().destination == "pypi.org"
    tag = ServiceTagDestination(
        name="cloud", service_tag="AzureCloud", protocol="TCP", port_ranges="80, 8080"
    )
    rules.begin_create(walled, tag).result()
    endpoint = PrivateEndpointDestination(
        name="tables", service_resource_id=storage, subresource_target="table"
    )
    assert rules.begin_create(walled, endpoint).result().status == "Inactive"
    provisioned = ml_client.workspaces.begin_provision_network(
        workspace_name=walled, include_spark=True
    ).result()
    assert (provisioned.status, provisioned.spark_ready) == ("Active", True)
    assert {r.name: r.status for r in rules.list(walled)} == dict.fromkeys(
        ("index", "cloud", "tables"), "Active"
    )
    shown = ml_client.workspaces.get(walled)
    assert shown is not None
    assert [r.name for r in shown.managed_network.outbound_rules] == ["index", "cloud", "tables"]
    rules.begin_remove(walled, "index").result()
    with pytest.raises(HttpResponseError, match="index was not found"):
        rules.get(walled, "index")


def test_a_workspace_without_one_says_so(ml_client: "MLClient") -> None:
    with pytest.raises(HttpResponseError, match="has no managed network"):
        ml_client.workspaces.begin_provision_network(
            workspace_name=ml_client.workspace_name
        ).result()
