"""Datastores of every type: kept with their secrets apart, and readable where the data is here."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

GUID = "00000000-0000-0000-0000-00000000abcd"


def address(client: "MLClient", name: str) -> str:
    return (
        f"https://management.azure.com/subscriptions/{client.subscription_id}/resourceGroups/"
        f"{client.resource_group_name}/providers/Microsoft.MachineLearningServices/workspaces/"
        f"{client.workspace_name}/datastores/{name}?api-version=2024-10-01"
    )


def ask(method: str, url: str, **options: Any) -> requests.Response:
    token = DefaultAzureCredential().get_token("https://management.azure.com/.default").token
    headers = {"Authorization": f"Bearer {token}"}
    return requests.request(method, url, headers=headers, timeout=10, **options)


def test_secrets_are_given_to_who_asks_for_them_and_in_no_other_answer(
    ml_client: "MLClient",
) -> None:
    from azure.ai.ml import entities

    principal = entities.ServicePrincipalConfiguration(
        tenant_id=GUID, client_id=GUID, client_secret="hidden"
    )
    key = entities.AccountKeyConfiguration(account_key="hidden")
    sas = entities.SasTokenConfiguration(sas_token="hidden")
    stores: tuple[tuple[Any, dict[str, Any], str], ...] = (
        (entities.AzureBlobDatastore, {"container_name": "c", "credentials": key}, "account_key"),
        (entities.AzureBlobDatastore, {"container_name": "c", "credentials": sas}, "sas_token"),
        (entities.AzureFileDatastore, {"file_share_name": "s", "credentials": key}, "account_key"),
        (
            entities.AzureDataLakeGen2Datastore,
            {"filesystem": "f", "credentials": principal},
            "client_secret",
        ),
    )
    for kind, options, secret in stores:
        store = kind(name="guarded", account_name="elsewhere", **options)
        created = ml_client.datastores.create_or_update(store)
        assert created.type == store.type
        assert "hidden" not in ask("GET", address(ml_client, "guarded")).text
        opened = ml_client.datastores.get("guarded", include_secrets=True)
        assert getattr(opened.credentials, secret) == "hidden"
        ml_client.datastores.delete("guarded")
    with pytest.raises(ResourceNotFoundError, match="Could not find datastore: guarded"):
        ml_client.datastores.get("guarded")


def test_a_container_of_the_local_account_holds_data(ml_client: "MLClient", tmp_path: Path) -> None:
    from azure.ai.ml.entities import AccountKeyConfiguration, AzureBlobDatastore, Data

    default = ml_client.datastores.get_default()
    keys = ml_client.workspaces.get_keys()
    assert keys
    assert keys.user_storage_key
    store = AzureBlobDatastore(
        name="own_container",
        account_name=default.account_name,
        container_name="own-container",
        credentials=AccountKeyConfiguration(account_key=keys.user_storage_key),
    )
    ml_client.datastores.create_or_update(store)
    (tmp_path / "rows.csv").write_text("a\n1\n")
    data = Data(
        name="in-own-container",
        version="1",
        path=str(tmp_path / "rows.csv"),
        type="uri_file",
        datastore="own_container",
    )
    created = ml_client.data.create_or_update(data)
    assert "/datastores/own_container/paths/" in str(created.path)
    ml_client.datastores.delete("own_container")


def test_a_workspace_has_one_default_datastore_which_cannot_be_deleted(
    ml_client: "MLClient",
) -> None:
    with pytest.raises(HttpResponseError, match="default datastore"):
        ml_client.datastores.delete("workspaceblobstore")
    usual = address(ml_client, "workspaceblobstore")
    before = ask("GET", usual).json()
    other: dict[str, Any] = {"datastoreType": "AzureBlob", "accountName": "a", "containerName": "c"}
    other |= {"credentials": {"credentialsType": "None"}, "isDefault": True}
    try:
        url = address(ml_client, "other_default")
        assert ask("PUT", url, json={"properties": other}).status_code == 201
        assert ml_client.datastores.get_default().name == "other_default"
        assert ask("GET", usual).json()["properties"]["isDefault"] is False
    finally:
        ask("PUT", usual, json=before)
    assert ml_client.datastores.get_default().name == "workspaceblobstore"
    ml_client.datastores.delete("other_default")


def test_a_datastore_that_says_too_little_is_refused(ml_client: "MLClient") -> None:
    url = address(ml_client, "incomplete")
    for properties, word in (
        ({"datastoreType": "Tape"}, "Tape"),
        ({"datastoreType": "AzureFile", "accountName": "a"}, "fileShareName"),
        ({"datastoreType": "AzureBlob", "accountName": "a", "containerName": "c"}, "credentials"),
    ):
        answer = ask("PUT", url, json={"properties": properties})
        assert answer.status_code == 400
        assert word in answer.json()["error"]["message"]
    assert ask("DELETE", url).status_code == 204


def test_readers_of_paths_get_a_datastore_and_what_opens_it_in_one_answer(
    ml_client: "MLClient",
) -> None:
    """What azureml-fsspec and mltable ask; their own reading needs packages of 300 MB."""
    from azure.storage.blob import ContainerClient

    arm, _, path = address(ml_client, "workspaceblobstore").partition("/subscriptions/")
    host = arm.replace("management.azure.com", "eastus.api.azureml.ms")
    url = f"{host}/datastore/v1.0/subscriptions/{path}"
    answer = ask("GET", url).json()
    storage = answer["azureStorageSection"]
    assert (answer["name"], answer["dataStoreType"]) == ("workspaceblobstore", "AzureBlob")
    account = f"https://{storage['accountName']}.blob.{storage['endpoint']}"
    assert storage["credentialType"] == "AccountKey"
    ContainerClient(
        account, storage["containerName"], credential=storage["credential"]
    ).get_container_properties()
    missing = ask("GET", url.replace("workspaceblobstore", "nothing"))
    assert missing.status_code == 404
    assert requests.get(url, timeout=10).status_code == 401


def test_readers_of_assets_get_the_address_and_the_type_of_a_version(
    ml_client: "MLClient", tmp_path: Path
) -> None:
    from azure.ai.ml.entities import Data

    (tmp_path / "MLTable").write_text("paths: [{file: ./a.csv}]")
    (tmp_path / "a.csv").write_text("a")
    data = Data(name="to-read", version="1", path=str(tmp_path), type="mltable")
    created = ml_client.data.create_or_update(data)
    arm, _, path = address(ml_client, "x").partition("/subscriptions/")
    host = arm.replace("management.azure.com", "eastus.api.azureml.ms")
    base = f"{host}/data/v1.0/subscriptions/{path}"
    url = base.replace("/datastores/x", "/dataversion/to-read/versions/1")
    found = ask("GET", url).json()["dataVersion"]
    assert (found["dataType"], found["versionId"]) == ("MLTable", "1")
    assert found["dataUri"] == created.path
    missing = ask("GET", url.replace("to-read", "unknown"))
    assert missing.status_code == 404
    assert "Could not find asset with ID" in missing.json()["error"]["message"]


def test_answers_carry_the_headers_of_the_service(ml_client: "MLClient") -> None:
    found = ask("GET", address(ml_client, "workspaceblobstore"))
    assert found.headers["x-ms-response-type"] == "standard"
    assert int(found.headers["x-ms-ratelimit-remaining-subscription-reads"]) > 0
    missing = ask("GET", address(ml_client, "nothing"))
    assert missing.status_code == 404
    assert missing.headers["x-ms-response-type"] == "error"
    for name in ("x-ms-correlation-request-id", "x-ms-routing-request-id", "x-request-time"):
        assert missing.headers[name]
        assert found.headers[name]
    error = missing.json()["error"]
    facts = {fact["type"]: fact["info"]["value"] for fact in error["additionalInfo"]}
    assert facts["ComponentName"] == "managementfrontend"
    assert facts["Location"] == "eastus"
    assert facts["InnerError"] == {"code": "NotFoundError", "innerError": None}
    assert facts.keys() >= {"Correlation", "Environment", "Time"}


def test_a_secret_that_expires_is_a_signature_and_one_for_artifacts_a_key(
    ml_client: "MLClient",
) -> None:
    operations = ml_client.datastores
    signature = operations._list_secrets("workspaceblobstore", expirable_secret=True)
    assert (signature.secrets_type, "sig=" in signature.sas_token) == ("Sas", True)
    for name, expires in (("workspaceblobstore", False), ("workspaceartifactstore", True)):
        key = operations._list_secrets(name, expirable_secret=expires)
        assert (key.secrets_type, bool(key.key)) == ("AccountKey", True)
