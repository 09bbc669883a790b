"""Datastores: where a workspace keeps files."""

from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError

from tests.contract.created import Created
from tests.contract.service import Service


@pytest.mark.operation("Datastores_List")
def test_a_workspace_has_a_default_datastore(client: Any) -> None:
    default = client.datastores.get_default()
    assert default.name == "workspaceblobstore"
    names = {datastore.name for datastore in client.datastores.list()}
    assert {"workspaceblobstore", "workspaceartifactstore"} <= names


@pytest.mark.operation("Datastores_Get")
def test_a_datastore_tells_where_its_files_are(client: Any) -> None:
    datastore = client.datastores.get("workspaceblobstore")
    assert datastore.type == "AzureBlob"
    assert datastore.account_name
    assert datastore.container_name
    assert datastore.protocol == "https"


@pytest.mark.operation("Datastores_ListSecrets")
def test_a_secret_comes_only_when_it_is_asked_for(service: Service) -> None:
    resource = service.send("GET", "/datastores/workspaceblobstore").json()
    assert set(resource["properties"]["credentials"]) <= {"credentialsType"}
    kind = resource["properties"]["credentials"]["credentialsType"]
    if kind == "None":
        pytest.skip("the workspace's own datastores have no secret: they use identities")
    answer = service.send(
        "POST",
        "/datastores/workspaceblobstore/listSecrets",
        {"expirableSecret": True, "expireAfterHours": 1},
    )
    assert answer.status_code == 200
    assert answer.json()["secretsType"] in ("Sas", "AccountKey")


def _datastore(client: Any, created: Created, name: str) -> Any:
    from azure.ai.ml.entities import AzureBlobDatastore

    account = client.datastores.get("workspaceblobstore")
    return AzureBlobDatastore(
        name=name,
        description="of the contract tests",
        account_name=account.account_name,
        container_name=account.container_name,
        tags=created.tags,
    )


@pytest.mark.operation(
    "Datastores_CreateOrUpdate", "Datastores_Get", "Datastores_Delete", cost="storage"
)
def test_a_datastore_lives_until_it_is_deleted(client: Any, created: Created) -> None:
    name = created.name("store", separator="_")
    made = client.datastores.create_or_update(_datastore(client, created, name))
    assert made.name == name
    found = client.datastores.get(name)
    assert found.description == "of the contract tests"
    assert found.tags == created.tags
    assert name in {datastore.name for datastore in client.datastores.list()}
    client.datastores.delete(name)
    with pytest.raises(ResourceNotFoundError):
        client.datastores.get(name)


@pytest.mark.operation("Datastores_Delete", cost="storage")
def test_deleting_a_datastore_is_over_with_its_answer(
    client: Any, service: Service, created: Created
) -> None:
    name = created.name("store", separator="_")
    client.datastores.create_or_update(_datastore(client, created, name))
    assert service.send("DELETE", f"/datastores/{name}").status_code == 200
    assert service.send("DELETE", f"/datastores/{name}").status_code == 204


def test_a_datastore_that_is_not_there_is_named(service: Service, created: Created) -> None:
    name = created.name("none", separator="_")
    answer = service.send("GET", f"/datastores/{name}")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "UserError"
    assert answer.json()["error"]["message"] == f"Could not find datastore: {name}."
