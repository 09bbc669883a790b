"""Key vaults that clients make, and the secrets in them."""

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import requests

from emulator.config import load_config
from emulator.identity import Tokens
from tests.emulator.arm_support import ask, token
from tests.emulator.running import RunningEmulator

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

VAULT = "https://vault.azure.net"
SOMEBODY = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def path(ml_client: "MLClient") -> Iterator[str]:
    """A vault that gives nobody any right."""
    group = f"/subscriptions/{ml_client.subscription_id}/resourceGroups/local"
    path = f"{group}/providers/Microsoft.KeyVault/vaults/kv{uuid.uuid4().hex[:12]}"
    assert ask("GET", path).status_code == 404
    assert ask("PUT", path, {"location": "eastus", "properties": {}}).status_code == 201
    yield path
    ask("DELETE", path)


def _secret(
    vault: str, method: str, secret: str, body: dict[str, Any] | None = None, bearer: str = ""
) -> requests.Response:
    return requests.request(
        method,
        f"https://{vault.rpartition('/')[2]}.vault.azure.net{secret}",
        json=body,
        headers={"Authorization": f"Bearer {bearer or token(VAULT)}"},
        timeout=10,
    )


def test_a_secret_has_versions(path: str) -> None:
    first = _secret(path, "PUT", "/secrets/factor", {"value": "7"}).json()
    second = _secret(path, "PUT", "/secrets/factor", {"value": "8", "tags": {"a": "b"}}).json()
    assert _secret(path, "GET", "/secrets/factor/").json() == second
    version = first["id"].rpartition("/")[2]
    assert _secret(path, "GET", f"/secrets/factor/{version}").json()["value"] == "7"
    listed = _secret(path, "GET", "/secrets/factor/versions").json()["value"]
    assert [each["id"] for each in listed] == [first["id"], second["id"]]
    assert all("value" not in each for each in listed)
    (one,) = _secret(path, "GET", "/secrets").json()["value"]
    assert (one["id"].rpartition("/")[2], one["tags"]) == ("factor", {"a": "b"})
    _secret(path, "PATCH", "/secrets/factor", {"attributes": {"enabled": False}})
    refused = _secret(path, "GET", "/secrets/factor").json()["error"]
    assert refused["innererror"]["code"] == "SecretDisabled"
    assert _secret(path, "GET", f"/secrets/factor/{version}").status_code == 200


def test_a_deleted_secret_can_come_back_until_it_is_purged(path: str) -> None:
    _secret(path, "PUT", "/secrets/gone", {"value": "x"})
    assert _secret(path, "DELETE", "/secrets/gone").status_code == 200
    assert _secret(path, "GET", "/secrets/gone").json()["error"]["code"] == "SecretNotFound"
    again = _secret(path, "PUT", "/secrets/gone", {"value": "y"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "Conflict")
    (deleted,) = _secret(path, "GET", "/deletedsecrets").json()["value"]
    assert deleted == _secret(path, "GET", "/deletedsecrets/gone").json()
    assert _secret(path, "POST", "/deletedsecrets/gone/recover").status_code == 200
    assert _secret(path, "GET", "/secrets/gone").json()["value"] == "x"
    _secret(path, "DELETE", "/secrets/gone")
    assert _secret(path, "DELETE", "/deletedsecrets/gone").status_code == 204
    assert _secret(path, "GET", "/deletedsecrets/gone").status_code == 404


def test_who_has_no_right_is_refused(path: str, emulator: RunningEmulator) -> None:
    config = load_config(emulator.state)
    assert config
    bearer = Tokens(config).issue(VAULT, SOMEBODY, principal=SOMEBODY)
    _secret(path, "PUT", "/secrets/s", {"value": "1"})
    asked = requests.get(f"https://{path.rpartition('/')[2]}.vault.azure.net/secrets/s", timeout=10)
    assert asked.status_code == 401
    assert config.tenant in asked.headers["WWW-Authenticate"]
    refused = _secret(path, "GET", "/secrets/s", bearer=bearer)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "Forbidden")

    policy = {"objectId": SOMEBODY, "tenantId": config.tenant, "permissions": {"secrets": ["Get"]}}
    for operation, reads in (("add", 200), ("remove", 403), ("replace", 200)):
        body = {"properties": {"accessPolicies": [policy]}}
        assert ask("PUT", f"{path}/accessPolicies/{operation}", body).status_code == 200
        assert _secret(path, "GET", "/secrets/s", bearer=bearer).status_code == reads
    assert _secret(path, "PUT", "/secrets/s", {"value": "2"}, bearer).status_code == 403

    ask("PATCH", path, {"properties": {"enableRbacAuthorization": True}})
    assert _secret(path, "GET", "/secrets/s", bearer=bearer).status_code == 403
    role = "4633458b-17de-408a-b874-0445c86b69e6"  # Key Vault Secrets User
    given = {"roleDefinitionId": f"/x/{role}", "principalId": SOMEBODY}
    assignment = f"{path}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
    assert ask("PUT", assignment, {"properties": given}).status_code == 201
    assert _secret(path, "GET", "/secrets/s", bearer=bearer).status_code == 200
    assert _secret(path, "PUT", "/secrets/s", {"value": "2"}, bearer).status_code == 403


def test_the_vault_of_a_workspace_holds_secrets_too(ml_client: "MLClient") -> None:
    path = str(ml_client.workspaces.get(ml_client.workspace_name).key_vault)
    assert ask("GET", path).json()["properties"]["vaultUri"].startswith("https://")
    assert _secret(path, "PUT", "/secrets/w", {"value": "5"}).status_code == 200
    assert _secret(path, "GET", "/secrets/w").json()["value"] == "5"
    group, _, provider = path.rpartition("/")[0].partition("/providers/")
    subscription = group.partition("/resourceGroups/")[0]
    for scope in (group, subscription):
        listed = ask("GET", f"{scope}/providers/{provider}").json()["value"]
        assert path in [vault["id"] for vault in listed]


def test_a_deleted_vault_forgets_its_secrets(path: str) -> None:
    _secret(path, "PUT", "/secrets/s", {"value": "1"})
    assert [ask("DELETE", path).status_code for _ in range(2)] == [200, 204]
    assert _secret(path, "GET", "/secrets/s").json()["error"]["code"] == "VaultNotFound"
    ask("PUT", path, {"location": "eastus", "properties": {}})
    assert _secret(path, "GET", "/secrets/s").json()["error"]["code"] == "SecretNotFound"
