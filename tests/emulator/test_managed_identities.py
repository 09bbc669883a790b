"""Managed identities of users and of endpoints, their roles, and code that runs with them."""

import textwrap
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from emulator import managed_identity
from emulator.config import load_config
from tests.emulator.arm_support import ask
from tests.emulator.running import RunningEmulator
from tests.emulator.script_support import custom, deploy, score

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

ENDPOINT = "with-identities"
READER = "Storage Blob Data Reader"
SCRIPT = """
    import json, os
    from azure.identity import ManagedIdentityCredential
    from azure.storage.blob import BlobClient

    def init():
        pass

    def run(raw):
        asked = json.loads(raw)
        credential = ManagedIdentityCredential(client_id=asked.get("who"))
        blob = BlobClient(asked["account"], "kept", "hello.txt", credential=credential)
        try:
            return blob.download_blob().readall().decode()
        except Exception as error:
            return f"{type(error).__name__} {getattr(error, 'error_code', error)}"
"""


@pytest.fixture(scope="module")
def group(ml_client: "MLClient") -> str:
    return f"/subscriptions/{ml_client.subscription_id}/resourceGroups/local"


@pytest.fixture(scope="module")
def user(group: str) -> Iterator[str]:
    path = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/somebody"
    assert ask("GET", path).status_code == 404
    assert ask("PUT", path, {"location": "eastus", "tags": {"a": "b"}}).status_code == 201
    yield path
    assert [ask("DELETE", path).status_code for _ in range(2)] == [200, 204]


def _assign(scope: str, role: str, principal: str) -> requests.Response:
    definitions = f"{scope}/providers/Microsoft.Authorization/roleDefinitions"
    (found,) = ask("GET", f"{definitions}?$filter=roleName eq '{role}'").json()["value"]
    return ask(
        "PUT",
        f"{scope}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}",
        {"properties": {"roleDefinitionId": found["id"], "principalId": principal}},
    )


def test_a_user_assigned_identity_keeps_its_ids(user: str) -> None:
    made = ask("GET", user).json()
    assert set(made["properties"]) == {"tenantId", "principalId", "clientId"}
    assert ask("PUT", user, {"location": "eastus"}).json()["properties"] == made["properties"]
    assert ask("PATCH", user, {"tags": {"c": "d"}}).json()["tags"] == {"c": "d"}
    listed = ask("GET", user.rpartition("/")[0]).json()["value"]
    assert [each["name"] for each in listed] == ["somebody"]


def test_roles_are_assigned_listed_and_taken_back(user: str, group: str) -> None:
    principal = ask("GET", user).json()["properties"]["principalId"]
    made = _assign(group, READER, principal)
    assert made.status_code == 201
    path = made.json()["id"]
    assert ask("GET", path).json() == made.json()
    again = _assign(group, READER, principal)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "RoleAssignmentExists")
    below = f"{group}/providers/Microsoft.Storage/storageAccounts/any"
    query = f"?$filter=atScope() and principalId eq '{principal}'"
    listed = ask("GET", f"{below}/providers/Microsoft.Authorization/roleAssignments{query}")
    assert [each["id"] for each in listed.json()["value"]] == [path]
    definition = made.json()["properties"]["roleDefinitionId"]
    assert ask("GET", definition).json()["properties"]["roleName"] == READER
    bad = {"properties": {"roleDefinitionId": str(uuid.uuid4()), "principalId": principal}}
    other = path.replace(path.rpartition("/")[2], str(uuid.uuid4()))
    assert ask("PUT", other, bad).json()["error"]["code"] == "RoleDefinitionDoesNotExist"
    assert [ask("DELETE", path).status_code for _ in range(2)] == [200, 204]
    assert ask("GET", path).json()["error"]["code"] == "RoleAssignmentNotFound"


def test_a_script_reads_what_the_identities_of_its_endpoint_may(
    ml_client: "MLClient", user: str, group: str, tmp_path: Path
) -> None:
    from azure.ai.ml.entities import (
        IdentityConfiguration,
        ManagedIdentityConfiguration,
        ManagedOnlineEndpoint,
    )
    from azure.storage.blob import ContainerClient

    account = f"{group}/providers/Microsoft.Storage/storageAccounts/ids{uuid.uuid4().hex[:12]}"
    url = ask("PUT", account, {"location": "eastus"}).json()["properties"]["primaryEndpoints"][
        "blob"
    ]
    ask("PUT", f"{account}/blobServices/default/containers/kept", {})
    key = ask("POST", f"{account}/listKeys").json()["keys"][0]["value"]
    ContainerClient(url, "kept", credential=key).upload_blob("hello.txt", b"Hello")

    identities = IdentityConfiguration(
        type="system_assigned,user_assigned",
        user_assigned_identities=[ManagedIdentityConfiguration(resource_id=user)],
    )
    ml_client.begin_create_or_update(
        ManagedOnlineEndpoint(name=ENDPOINT, auth_mode="key", identity=identities)
    ).result()
    workspace = ml_client.workspaces.get(ml_client.workspace_name).id
    identity = ask("GET", f"{workspace}/onlineEndpoints/{ENDPOINT}").json()["identity"]
    ids = ask("GET", user).json()["properties"]
    assert identity["userAssignedIdentities"][user]["principalId"] == ids["principalId"]
    system = ml_client.online_endpoints.get(ENDPOINT).identity.principal_id
    assert system not in (None, ids["principalId"])

    (tmp_path / "score.py").write_text(textwrap.dedent(SCRIPT))
    deploy(ml_client, custom("blue", tmp_path, None, "score.py", ENDPOINT))

    def read(client: str | None) -> str:
        answer = score(ml_client, "blue", ENDPOINT, account=url, who=client)
        return str(answer.json())

    for principal, client in ((system, None), (ids["principalId"], ids["clientId"])):
        assert read(client) == "HttpResponseError AuthorizationPermissionMismatch"
        assert _assign(account, READER, principal).status_code == 201
        assert read(client) == "Hello"
    ml_client.online_endpoints.begin_delete(ENDPOINT).wait()
    ask("DELETE", account)


def test_a_job_runs_with_the_identity_of_its_cluster(ml_client: "MLClient", tmp_path: Path) -> None:
    from azure.ai.ml import command
    from azure.ai.ml.entities import AmlCompute, Environment, IdentityConfiguration

    cluster = AmlCompute(
        name="with-identity",
        size="Standard_DS3_v2",
        min_instances=0,
        max_instances=1,
        identity=IdentityConfiguration(type="system_assigned"),
    )
    principal = ml_client.compute.begin_create_or_update(cluster).result().identity.principal_id
    (tmp_path / "who.py").write_text(
        "import sys, jwt\nfrom azure.identity import ManagedIdentityCredential\n"
        "token = ManagedIdentityCredential().get_token('https://storage.azure.com/.default')\n"
        "claims = jwt.decode(token.token, options={'verify_signature': False})\n"
        "assert claims['oid'] == sys.argv[1], claims\n"
    )
    job = ml_client.jobs.create_or_update(
        command(
            code=str(tmp_path),
            command=f"python who.py {principal}",
            environment=Environment(image="docker.io/library/python:3.11"),
            compute="with-identity",
        )
    )
    ml_client.jobs.stream(job.name)
    assert ml_client.jobs.get(job.name).status == "Completed"
    ml_client.compute.begin_delete("with-identity").wait()


def test_tokens_of_an_identity_need_its_secret(emulator: RunningEmulator) -> None:
    config = load_config(emulator.state)
    assert config
    found = managed_identity.variables(config, config.workspace_path)

    def asked(secret: str, **query: str) -> int:
        headers = {"secret": secret} if secret else {}
        url = found["MSI_ENDPOINT"]
        return requests.get(url, query, headers=headers, timeout=10).status_code

    secret, storage = found["MSI_SECRET"], "https://storage.azure.com/"
    assert asked(secret, resource=storage) == 200
    assert [asked(wrong, resource=storage) for wrong in ("", "guess")] == [401, 401]
    assert asked(secret, resource="https://elsewhere.example") == 400
    assert asked(secret, resource=storage, clientid=str(uuid.uuid4())) == 400


def test_a_workspace_keeps_its_principals_when_it_is_changed(
    ml_client: "MLClient", user: str
) -> None:
    from azure.ai.ml.entities import (
        IdentityConfiguration,
        ManagedIdentityConfiguration,
        Workspace,
    )

    identity = IdentityConfiguration(
        type="system_assigned,user_assigned",
        user_assigned_identities=[ManagedIdentityConfiguration(resource_id=user)],
    )
    made = ml_client.workspaces.begin_create(
        Workspace(name="identified", identity=identity, primary_user_assigned_identity=user)
    ).result()
    before = ask("GET", made.id).json()
    ids = ask("GET", user).json()["properties"]
    assert before["properties"]["primaryUserAssignedIdentity"] == user
    assert before["identity"]["userAssignedIdentities"][user]["clientId"] == ids["clientId"]
    made.description = "changed"
    assert ml_client.workspaces.begin_update(made).result().description == "changed"
    assert ask("GET", made.id).json()["identity"] == before["identity"]
    made.identity = IdentityConfiguration(type="system_assigned")
    made.primary_user_assigned_identity = None
    ml_client.workspaces.begin_update(made).result()
    after = ask("GET", made.id).json()["identity"]
    assert not after.get("userAssignedIdentities")
    assert after["principalId"] == before["identity"]["principalId"]
    ml_client.workspaces.begin_delete("identified", delete_dependent_resources=False).result()
