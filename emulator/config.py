"""Who the local Azure ML is: its workspace, its account, its keys, its ports."""

import base64
import json
import os
import secrets
import socket
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from emulator.package_indexes import index_hosts, trusted_by_pip

DEFAULT_SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
STATE_VARIABLE = "AZUREML_EMULATOR_STATE"


class BrokenState(Exception):
    """A state folder that no emulator can go on with."""


@dataclass(frozen=True)
class Config:
    """One emulator. Its identity is made at the first start and kept in the state folder."""

    state: Path
    subscription: str
    resource_group: str
    workspace: str
    workspace_id: str
    tenant: str
    client_id: str
    client_secret: str
    account: str
    account_key: str
    """Base64, as a storage account's key is."""
    signing_key: str
    """Signs the access tokens."""
    location: str = "eastus"
    proxy_port: int = 0
    tls_port: int = 0
    hub_port: int = 0
    tracking_port: int = 0
    cores: int = 0
    """Steps that may run at once; 0: as many as the machine has cores."""

    @property
    def workspace_path(self) -> str:
        return (
            f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{self.workspace}"
        )

    @property
    def storage_path(self) -> str:
        """The resource of the account that is behind all workspaces."""
        return (
            f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.Storage/storageAccounts/{self.account}"
        )

    @property
    def blob_container(self) -> str:
        return f"azureml-blobstore-{self.workspace_id}"

    @property
    def artifact_container(self) -> str:
        return "azureml"

    @property
    def arm_host(self) -> str:
        return "management.azure.com"

    @property
    def api_host(self) -> str:
        return f"{self.location}.api.azureml.ms"

    @property
    def blob_host(self) -> str:
        return f"{self.account}.blob.core.windows.net"

    @property
    def certificates(self) -> Path:
        return self.state / "certificates"

    @property
    def ca_bundle(self) -> Path:
        return self.certificates / "ca-bundle.pem"

    @property
    def proxy_url(self) -> str:
        return f"http://127.0.0.1:{self.proxy_port}"

    @property
    def hub_url(self) -> str:
        return f"http://127.0.0.1:{self.hub_port}"

    def client_environment(self, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
        """The variables that make an unmodified Azure ML client talk to this emulator."""
        hosts = ["localhost", "127.0.0.1"]  # azureml-dataprep fails on "::1"
        present = [x for x in environment.get("NO_PROXY", "").split(",") if x and x not in hosts]
        indexes = [x for x in index_hosts(environment) if x not in (*hosts, *present)]
        no_proxy = ",".join([*hosts, *present, *indexes])
        bundle = str(self.ca_bundle)
        return {
            "HTTPS_PROXY": self.proxy_url,
            "https_proxy": self.proxy_url,
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
            "REQUESTS_CA_BUNDLE": bundle,
            "CURL_CA_BUNDLE": bundle,
            "SSL_CERT_FILE": bundle,
            **trusted_by_pip(environment, self.state),
            "AZURE_TENANT_ID": self.tenant,
            "AZURE_CLIENT_ID": self.client_id,
            "AZURE_CLIENT_SECRET": self.client_secret,
            # Skips the credentials that would look for a cloud's metadata service.
            "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
            "AZUREML_SUBSCRIPTION_ID": self.subscription,
            "AZUREML_RESOURCE_GROUP": self.resource_group,
            "AZUREML_WORKSPACE_NAME": self.workspace,
            # jobs.stream waits two seconds and more between polls unless it is told otherwise.
            "AZUREML_RUN_POLLING_INTERVAL_MIN": "1",
            "AZUREML_RUN_POLLING_INTERVAL_MAX": "1",
            "HF_ENDPOINT": self.hub_url,
            # The stand-in hub's datasets must not reach the user's own cache.
            "HF_HOME": str(self.state / "huggingface"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            STATE_VARIABLE: str(self.state),
        }

    def save(self) -> None:
        _write_private(self.state / "emulator.json", {**asdict(self), "state": str(self.state)})


def state_folder(argument: str | None, environment: Mapping[str, str] = os.environ) -> Path:
    """The state folder that a command means: its option, the environment, or the default."""
    return Path(argument or environment.get(STATE_VARIABLE) or ".local/emulator").resolve()


def load_config(state: Path) -> Config | None:
    file = state / "emulator.json"
    if not file.exists():
        return None
    try:
        saved: dict[str, Any] = json.loads(file.read_text())
        known = {field.name for field in fields(Config)}
        return Config(**{k: v for k, v in saved.items() if k in known} | {"state": state})
    except (ValueError, TypeError, AttributeError) as error:
        raise BrokenState(
            f"{file} is not what an emulator wrote ({error}). Delete the folder {state}, or choose "
            "another one with --state."
        ) from error


def make_config(state: Path, environment: Mapping[str, str] = os.environ) -> Config:
    """The configuration for a start: what the state folder remembers, with free ports."""
    config = load_config(state) or _new_config(state)
    # A running emulator exports the same names to its children: their values agree with it.
    config = replace(
        config,
        subscription=environment.get("AZUREML_SUBSCRIPTION_ID") or config.subscription,
        resource_group=environment.get("AZUREML_RESOURCE_GROUP") or config.resource_group,
        workspace=environment.get("AZUREML_WORKSPACE_NAME") or config.workspace,
    )
    proxy, tls, hub, tracking = free_ports(4)
    return replace(config, proxy_port=proxy, tls_port=tls, hub_port=hub, tracking_port=tracking)


def _new_config(state: Path) -> Config:
    return Config(
        state=state,
        subscription=DEFAULT_SUBSCRIPTION,
        resource_group="local",
        workspace="local",
        workspace_id=str(uuid.uuid4()),
        tenant=str(uuid.uuid4()),
        client_id=str(uuid.uuid4()),
        client_secret=secrets.token_urlsafe(30),
        account="localstorage",
        account_key=base64.b64encode(secrets.token_bytes(64)).decode(),
        signing_key=secrets.token_hex(32),
    )


def free_ports(count: int) -> list[int]:
    """Free loopback ports, all different because they are held until the last is found."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def _write_private(file: Path, value: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.parent.chmod(0o700)
    part = file.with_suffix(".part")
    part.touch(mode=0o600)
    part.chmod(0o600)
    part.write_text(json.dumps(value, indent=2))
    part.replace(file)
