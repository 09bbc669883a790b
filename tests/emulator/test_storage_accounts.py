"""Storage accounts that clients make: their keys, their containers, and data in jobs' reach."""

import uuid
from typing import TYPE_CHECKING

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import DefaultAzureCredential
from azure.storage.blob import ContainerClient

from emulator.control_client import Control
from tests.emulator.arm_support import ask

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

KIND = {"sku": {"name": "Standard_LRS"}, "kind": "StorageV2", "location": "eastus"}


@pytest.fixture(scope="module")
def group(ml_client: "MLClient") -> str:
    return f"/subscriptions/{ml_client.subscription_id}/resourceGroups/local"


def _account(group: str, name: str) -> str:
    return f"{group}/providers/Microsoft.Storage/storageAccounts/{name}"


def _container(account: str, name: str) -> str:
    return f"{account}/blobServices/default/containers/{name}"


def _name() -> str:
    return f"acc{uuid.uuid4().hex[:12]}"


def test_an_account_has_keys_and_blobs_of_its_own(group: str) -> None:
    name = _name()
    path = _account(group, name)
    assert ask("GET", path).status_code == 404
    made = ask("PUT", path, KIND).json()
    assert (
        made["properties"]["primaryEndpoints"]["blob"] == f"https://{name}.blob.core.windows.net/"
    )
    assert ask("GET", path).json() == made
    assert ask("PATCH", path, {"tags": {"a": "b"}}).json() == {**made, "tags": {"a": "b"}}
    assert ask("PUT", _container(path, "hello"), {}).status_code == 201
    assert ask("PUT", _container(path, "hello"), {}).status_code == 200
    first, second = (key["value"] for key in ask("POST", f"{path}/listKeys").json()["keys"])
    url = made["properties"]["primaryEndpoints"]["blob"]
    for name_of_blob, key in (("first", first), ("second", second)):
        ContainerClient(url, "hello", credential=key).upload_blob(name_of_blob, b"text")
    mine = ContainerClient(url, "hello", credential=DefaultAzureCredential())
    assert {blob.name for blob in mine.list_blobs()} == {"first", "second"}
    renewed = ask("POST", f"{path}/regenerateKey", {"keyName": "key1"}).json()["keys"]
    assert [key["value"] == old for key, old in zip(renewed, (first, second), strict=True)] == [
        False,
        True,
    ]
    with pytest.raises(ClientAuthenticationError):
        ContainerClient(url, "hello", credential=first).get_container_properties()
    listed = {each["name"] for each in ask("GET", path.rpartition("/")[0]).json()["value"]}
    assert {name, "localstorage"} <= listed
    subscription = group.partition("/resourceGroups")[0]
    every = ask("GET", f"{subscription}/providers/Microsoft.Storage/storageAccounts")
    assert listed <= {each["name"] for each in every.json()["value"]}
    names = [c["name"] for c in ask("GET", _container(path, "")[:-1]).json()["value"]]
    assert names == ["hello"]
    assert ask("GET", _container(path, "hello")).json()["name"] == "hello"
    assert ask("DELETE", _container(path, "hello")).status_code == 200
    assert ask("GET", _container(path, "hello")).json()["error"]["code"] == "ContainerNotFound"
    assert [ask("DELETE", path).status_code for _ in range(2)] == [200, 204]
    with pytest.raises(HttpResponseError, match="does not exist"):
        mine.get_container_properties()


def test_names_of_accounts_are_hosts(group: str) -> None:
    name = _name()
    assert ask("PUT", _account(group, "Not-A-Name"), KIND).json()["error"]["code"] == (
        "AccountNameInvalid"
    )
    ask("PUT", _account(group, name), KIND)
    other = _account(group.replace("/local", "/other"), name)
    assert ask("PUT", other, KIND).json()["error"]["code"] == "StorageAccountAlreadyTaken"
    ask("DELETE", _account(group, name))


def test_the_key_of_the_own_account_is_the_datastores(ml_client: "MLClient") -> None:
    path = str(ml_client.workspaces.get(ml_client.workspace_name).storage_account)
    (key,) = ask("POST", f"{path}/listKeys").json()["keys"]
    assert key["value"] == ml_client.datastores._list_secrets("workspaceblobstore").key
    refused = ask("POST", f"{path}/regenerateKey", {"keyName": "key1"})
    assert refused.status_code == 501


def test_a_datastore_in_such_an_account_is_read_by_jobs(
    ml_client: "MLClient", group: str, control: Control
) -> None:
    from azure.ai.ml import Input, command
    from azure.ai.ml.entities import AccountKeyConfiguration, AzureBlobDatastore, Environment

    name = _name()
    path = _account(group, name)
    ask("PUT", path, KIND)
    ask("PUT", _container(path, "rows"), {})
    key = ask("POST", f"{path}/listKeys").json()["keys"][0]["value"]
    url = f"https://{name}.blob.core.windows.net"
    ContainerClient(url, "rows", credential=key).upload_blob("in/a.txt", b"seven")
    ml_client.create_or_update(
        AzureBlobDatastore(
            name="elsewhere",
            account_name=name,
            container_name="rows",
            credentials=AccountKeyConfiguration(account_key=key),
        )
    )
    uris = (
        "azureml://datastores/elsewhere/paths/in/a.txt",
        f"{url}/rows/in/a.txt",
        f"wasbs://rows@{name}.blob.core.windows.net/in/a.txt",
    )
    job = ml_client.jobs.create_or_update(
        command(
            command="cat ${{inputs.i0}} ${{inputs.i1}} ${{inputs.i2}} | grep -x sevensevenseven",
            inputs={f"i{n}": Input(type="uri_file", path=uri) for n, uri in enumerate(uris)},
            environment=Environment(image="docker.io/library/python:3.11"),
            compute="local",
        )
    )
    ml_client.jobs.stream(job.name)
    assert ml_client.jobs.get(job.name).status == "Completed"
    ml_client.datastores.delete("elsewhere")
    ask("DELETE", path)
