"""Sign-in: what a wrong secret, a wrong audience or an old token gets."""

import re

import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import ClientSecretCredential, DefaultAzureCredential

from emulator.config import load_config
from emulator.identity import Tokens
from tests.emulator.running import RunningEmulator


def _workspace_url(environment: dict[str, str]) -> str:
    return (
        "https://management.azure.com/subscriptions/"
        f"{environment['AZUREML_SUBSCRIPTION_ID']}/resourceGroups/"
        f"{environment['AZUREML_RESOURCE_GROUP']}/providers/"
        "Microsoft.MachineLearningServices/workspaces/"
        f"{environment['AZUREML_WORKSPACE_NAME']}?api-version=2024-10-01"
    )


def _get(url: str, token: str | None) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return requests.get(url, headers=headers, timeout=10)


def test_default_credential_signs_in(emulator: RunningEmulator) -> None:
    token = DefaultAzureCredential().get_token("https://management.azure.com/.default")
    assert _get(_workspace_url(emulator.environment), token.token).status_code == 200


def test_wrong_secret_is_refused_as_azure_does(emulator: RunningEmulator) -> None:
    environment = emulator.environment
    credential = ClientSecretCredential(
        environment["AZURE_TENANT_ID"], environment["AZURE_CLIENT_ID"], "wrong"
    )
    with pytest.raises(ClientAuthenticationError, match="AADSTS7000215"):
        credential.get_token("https://management.azure.com/.default")


def test_unknown_application_and_unknown_tenant_are_refused(emulator: RunningEmulator) -> None:
    environment = emulator.environment
    secret = environment["AZURE_CLIENT_SECRET"]
    with pytest.raises(ClientAuthenticationError, match="AADSTS700016"):
        ClientSecretCredential(environment["AZURE_TENANT_ID"], "someone-else", secret).get_token(
            "https://management.azure.com/.default"
        )
    with pytest.raises(ClientAuthenticationError, match="AADSTS90002"):
        ClientSecretCredential(
            "11111111-1111-1111-1111-111111111111", environment["AZURE_CLIENT_ID"], secret
        ).get_token("https://management.azure.com/.default")


@pytest.mark.parametrize(
    ("audience", "lifetime", "code"),
    [
        ("https://storage.azure.com", 60, "InvalidAuthenticationTokenAudience"),
        ("https://management.azure.com", -60, "ExpiredAuthenticationToken"),
    ],
)
def test_wrong_audience_and_expired_token(
    emulator: RunningEmulator, audience: str, lifetime: int, code: str
) -> None:
    config = load_config(emulator.state)
    assert config
    token = Tokens(config).issue(audience, config.client_id, lifetime)
    answer = _get(_workspace_url(emulator.environment), token)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == code


@pytest.mark.parametrize("token", [None, "", "not-a-token", "a.b.c"])
def test_a_request_without_a_valid_token_is_refused(
    emulator: RunningEmulator, token: str | None
) -> None:
    answer = _get(_workspace_url(emulator.environment), token)
    assert answer.status_code == 401
    assert re.match("(Invalid)?Authentication", answer.json()["error"]["code"])


def test_secrets_are_for_the_owner_alone(emulator: RunningEmulator) -> None:
    private = ["emulator.json", "certificates/ca.key", "certificates/server.key"]
    modes = {name: (emulator.state / name).stat().st_mode & 0o777 for name in private}
    assert modes == dict.fromkeys(private, 0o600)


def test_sdk_reports_the_reason(emulator: RunningEmulator) -> None:
    from azure.ai.ml import MLClient

    client = MLClient(
        DefaultAzureCredential(),
        emulator.environment["AZUREML_SUBSCRIPTION_ID"],
        "no-such-group",
        "no-such-workspace",
        enable_telemetry=False,
    )
    with pytest.raises(HttpResponseError, match="no-such-workspace"):
        client.workspaces.get("no-such-workspace")


def test_the_first_version_of_the_token_endpoint(emulator: RunningEmulator) -> None:
    environment = emulator.environment
    form = {
        "grant_type": "client_credentials",
        "client_id": environment["AZURE_CLIENT_ID"],
        "client_secret": environment["AZURE_CLIENT_SECRET"],
        "resource": "https://management.azure.com/",
    }
    address = f"https://login.microsoftonline.com/{environment['AZURE_TENANT_ID']}/oauth2/token"
    answer = requests.post(address, data=form, timeout=10).json()
    assert _get(_workspace_url(environment), answer["access_token"]).status_code == 200
    assert int(answer["expires_on"]) - int(answer["not_before"]) == int(answer["expires_in"])
    elsewhere = requests.post(address, data=form | {"resource": "https://vault"}, timeout=10)
    assert (elsewhere.status_code, elsewhere.json()["error_codes"]) == (400, [500011])
