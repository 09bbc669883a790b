"""The Prefect block that knows an Azure ML workspace and makes clients for it."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from prefect.blocks.core import Block
from pydantic import Field, PrivateAttr, SecretStr

from blocks.sdk_models import complete_sdk_models

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.core.credentials import TokenCredential

CredentialKind = Literal[
    "default",
    "service_principal",
    "managed_identity",
    "workload_identity",
    "azure_cli",
    "interactive_browser",
]

_ENVIRONMENT = {
    "subscription_id": "AZUREML_SUBSCRIPTION_ID",
    "resource_group": "AZUREML_RESOURCE_GROUP",
    "workspace_name": "AZUREML_WORKSPACE_NAME",
}
_CONFIG_FILES = (Path(".azureml") / "config.json", Path("config.json"))


class WorkspaceConfigurationError(ValueError):
    """The block cannot say which workspace, or how to sign in; the text says what to fill in."""


class WorkspaceAddress(NamedTuple):
    """Which workspace is meant, and where that was written."""

    subscription_id: str
    resource_group: str
    workspace_name: str
    source: str


def find_config_file(folder: Path) -> Path | None:
    """The first config.json, or .azureml/config.json, in `folder` or above it."""
    for place in (folder, *folder.parents):
        for name in _CONFIG_FILES:
            if (place / name).is_file():
                return place / name
    return None


class AzureMLWorkspace(Block):
    """An Azure Machine Learning workspace, the registry beside it, and how to sign in to both.

    Fields that stay empty are read from the environment (AZUREML_SUBSCRIPTION_ID,
    AZUREML_RESOURCE_GROUP, AZUREML_WORKSPACE_NAME), then from a config.json in the current
    folder or above it.

    Example:
        List the clusters of a workspace:
        ```python
        from blocks.azureml import AzureMLWorkspace

        workspace = AzureMLWorkspace.load("BLOCK_NAME")
        for cluster in workspace.workspace_client().compute.list():
            print(cluster.name)
        ```
    """

    _block_type_name = "Azure ML Workspace"
    _block_type_slug = "azureml-workspace"
    _logo_url = "https://cdn.sanity.io/images/3ugk85nk/production/54e3fa7e00197a4fbd1d82ed62494cb58d08c96a-250x250.png"  # type: ignore[assignment]
    _documentation_url = "https://learn.microsoft.com/azure/machine-learning/concept-workspace"  # type: ignore[assignment]

    subscription_id: str | None = Field(
        default=None, title="Subscription ID", description="Azure subscription of the workspace."
    )
    resource_group: str | None = Field(
        default=None, title="Resource group", description="Resource group of the workspace."
    )
    workspace_name: str | None = Field(
        default=None, title="Workspace name", description="Name of the workspace."
    )
    registry_name: str = Field(
        default="azureml",
        min_length=1,
        title="Registry name",
        description="Registry that holds the foundation models and the pipeline component.",
    )
    credential: CredentialKind = Field(
        default="default",
        title="Credential",
        description="How to sign in: Azure's default chain, or exactly one way of it. The "
        "browser needs a terminal and never opens in a worker.",
    )
    tenant_id: str | None = Field(
        default=None, title="Tenant ID", description="Tenant to sign in to."
    )
    client_id: str | None = Field(
        default=None,
        title="Client ID",
        description="Application of the service principal, or the user-assigned identity.",
    )
    client_secret: SecretStr | None = Field(
        default=None,
        title="Client secret",
        description="Secret of the service principal. Leave it empty where the environment or "
        "a managed identity signs in.",
    )

    _credential: Any = PrivateAttr(default=None)

    def address(self, folder: Path | None = None) -> WorkspaceAddress:
        """Which workspace is meant.

        Every field comes from the block, else the environment, else the config.json found from
        `folder` (the current one) upwards. Raises WorkspaceConfigurationError naming the fields
        that none of them has.
        """
        values: dict[str, str] = {}
        sources: list[str] = []
        config_path: Path | None = None
        config: dict[str, Any] = {}
        if not all(
            getattr(self, name) or os.environ.get(_ENVIRONMENT[name]) for name in _ENVIRONMENT
        ):
            config_path = find_config_file(folder or Path.cwd())
            config = _read_config(config_path) if config_path else {}
        for name, variable in _ENVIRONMENT.items():
            for value, source in (
                (getattr(self, name), "the block"),
                (os.environ.get(variable), "the environment"),
                (config.get(name), str(config_path)),
            ):
                if value:
                    values[name] = str(value)
                    sources.append(source)
                    break
        if missing := [name for name in _ENVIRONMENT if name not in values]:
            raise WorkspaceConfigurationError(_missing_fields(missing, config_path))
        return WorkspaceAddress(**values, source=" and ".join(dict.fromkeys(sources)))

    def get_credential(self) -> "TokenCredential":
        """The credential that every client of this block shares.

        Raises WorkspaceConfigurationError when fields are missing for the chosen kind, or when
        a browser is asked for without a terminal.
        """
        if self._credential is None:
            self._credential = self._make_credential()
        return self._credential  # type: ignore[no-any-return]

    def workspace_client(self) -> "MLClient":
        """A client for the workspace; nothing is sent before its first use."""
        from azure.ai.ml import MLClient

        complete_sdk_models()

        address = self.address()
        logging.getLogger(__name__).info(
            "workspace %s in resource group %s, from %s",
            address.workspace_name,
            address.resource_group,
            address.source,
        )
        return MLClient(
            self.get_credential(),
            address.subscription_id,
            address.resource_group,
            address.workspace_name,
            enable_telemetry=False,
        )

    def registry_client(self) -> "MLClient":
        """A client for the registry; its address is looked up at once."""
        from azure.ai.ml import MLClient

        complete_sdk_models()

        return MLClient(
            self.get_credential(), registry_name=self.registry_name, enable_telemetry=False
        )

    def _make_credential(self) -> "TokenCredential":
        import azure.identity as identity

        match self.credential:
            case "service_principal":
                tenant, client = self._required("tenant_id"), self._required("client_id")
                secret = self._required("client_secret")
                return identity.ClientSecretCredential(tenant, client, secret)
            case "managed_identity":
                return identity.ManagedIdentityCredential(client_id=self.client_id)
            case "workload_identity":
                chosen = {"tenant_id": self.tenant_id, "client_id": self.client_id}
                return identity.WorkloadIdentityCredential(
                    **{name: value for name, value in chosen.items() if value}
                )
            case "azure_cli":
                return identity.AzureCliCredential(tenant_id=self.tenant_id or "")
            case "interactive_browser":
                return self._browser_credential()
            case _:
                return identity.DefaultAzureCredential(
                    exclude_interactive_browser_credential=True,
                    **({"managed_identity_client_id": self.client_id} if self.client_id else {}),
                )

    def _browser_credential(self) -> "TokenCredential":
        from azure.identity import InteractiveBrowserCredential

        if not (sys.stdin and sys.stdin.isatty()):
            raise WorkspaceConfigurationError(
                "The block signs in with a browser, but this process has no terminal: choose the "
                "credential azure_cli, managed_identity or service_principal for workers."
            )
        chosen = {"tenant_id": self.tenant_id, "client_id": self.client_id}
        return InteractiveBrowserCredential(
            **{name: value for name, value in chosen.items() if value}
        )

    def _required(self, name: str) -> str:
        value = getattr(self, name)
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not text:
            raise WorkspaceConfigurationError(
                f"The credential {self.credential} needs {name}, which is empty in the block: "
                "fill it in, or choose another credential."
            )
        return str(text)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WorkspaceConfigurationError(
            f"{path} cannot be read as JSON ({error}): correct it, or fill in the block's fields."
        ) from error
    return config if isinstance(config, dict) else {}


def _missing_fields(missing: list[str], config_path: Path | None) -> str:
    variables = ", ".join(_ENVIRONMENT[name] for name in missing)
    looked = f"{config_path} does not have them" if config_path else "no config.json was found"
    return (
        f"The workspace is not known: {', '.join(missing)} empty in the block and in the "
        f"environment, and {looked}. Fill in the block, or set {variables}, or put the "
        "workspace's config.json in the current folder."
    )
