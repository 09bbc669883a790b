import json
from pathlib import Path
from urllib.error import URLError

import pytest
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites.blocks import BlockStandardTestSuite
from pydantic import SecretStr, ValidationError

from blocks.azureml import AzureMLWorkspace, WorkspaceConfigurationError, find_config_file

FIELDS = {"subscription_id": "s", "resource_group": "g", "workspace_name": "w"}


class TestStandards(BlockStandardTestSuite):
    @pytest.fixture
    def block(self) -> type[AzureMLWorkspace]:
        return AzureMLWorkspace

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        assert str(block._logo_url).startswith("https://")
        try:
            super().test_has_a_valid_image(block)
        except URLError:
            pytest.skip("the logo's host cannot be reached from here")


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SUBSCRIPTION_ID", "RESOURCE_GROUP", "WORKSPACE_NAME"):
        monkeypatch.delenv(f"AZUREML_{name}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_its_own_fields_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZUREML_WORKSPACE_NAME", "other")
    address = AzureMLWorkspace(**FIELDS).address()
    assert address[:3] == ("s", "g", "w")
    assert address.source == "the block"


def test_the_environment_fills_empty_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZUREML_RESOURCE_GROUP", "from environment")
    monkeypatch.setenv("AZUREML_SUBSCRIPTION_ID", "s")
    address = AzureMLWorkspace(workspace_name="w").address()
    assert address.resource_group == "from environment"
    assert address.source == "the environment and the block"


@pytest.mark.parametrize("place", ["config.json", ".azureml/config.json"])
def test_a_config_file_above_the_folder_is_used_and_named(tmp_path: Path, place: str) -> None:
    file = tmp_path / place
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(FIELDS))
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    address = AzureMLWorkspace().address(below)
    assert address[:3] == ("s", "g", "w")
    assert address.source == str(file)
    assert find_config_file(below) == file


def test_missing_fields_are_named_with_the_remedies() -> None:
    with pytest.raises(WorkspaceConfigurationError) as caught:
        AzureMLWorkspace(subscription_id="s").address()
    text = str(caught.value)
    assert "resource_group, workspace_name" in text
    assert "AZUREML_WORKSPACE_NAME" in text
    assert "subscription_id" not in text


def test_a_broken_config_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(WorkspaceConfigurationError, match=r"config\.json cannot be read as JSON"):
        AzureMLWorkspace().address(tmp_path)


def test_clients_share_one_credential() -> None:
    block = AzureMLWorkspace(**FIELDS, credential="azure_cli")
    assert block.get_credential() is block.get_credential()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("default", "DefaultAzureCredential"),
        ("managed_identity", "ManagedIdentityCredential"),
        ("azure_cli", "AzureCliCredential"),
    ],
)
def test_the_kind_chooses_the_credential(kind: str, expected: str) -> None:
    block = AzureMLWorkspace.model_validate({"credential": kind})
    assert type(block.get_credential()).__name__ == expected


def test_a_service_principal_needs_all_its_fields() -> None:
    block = AzureMLWorkspace(credential="service_principal", tenant_id="t", client_id="c")
    with pytest.raises(WorkspaceConfigurationError, match="needs client_secret"):
        block.get_credential()
    complete = AzureMLWorkspace(
        credential="service_principal",
        tenant_id="t",
        client_id="c",
        client_secret=SecretStr("hidden"),
    )
    assert type(complete.get_credential()).__name__ == "ClientSecretCredential"
    assert "hidden" not in repr(complete)


def test_no_browser_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/null").open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        with pytest.raises(WorkspaceConfigurationError, match="no terminal"):
            AzureMLWorkspace(credential="interactive_browser").get_credential()


def test_an_unknown_credential_is_refused() -> None:
    with pytest.raises(ValidationError):
        AzureMLWorkspace.model_validate({"credential": "password"})
