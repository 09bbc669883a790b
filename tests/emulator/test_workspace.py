"""The workspace, its datastores and its computes, through the unmodified SDK."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential

from emulator.config import load_config
from emulator.control_request import send
from tests.emulator.running import RunningEmulator

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

    from emulator.control_client import Control


def test_workspace_and_default_datastore(ml_client: "MLClient") -> None:
    workspace = ml_client.workspaces.get(ml_client.workspace_name)
    assert workspace.location == "eastus"
    assert workspace.mlflow_tracking_uri.startswith("azureml://eastus.api.azureml.ms/mlflow/")
    store = ml_client.datastores.get_default()
    assert store.name == "workspaceblobstore"
    assert {d.name for d in ml_client.datastores.list()} == {
        "workspaceblobstore",
        "workspaceartifactstore",
    }


def test_cluster_lifecycle(ml_client: "MLClient") -> None:
    from azure.ai.ml.entities import AmlCompute

    with pytest.raises(ResourceNotFoundError):
        ml_client.compute.get("lifecycle")
    cluster = AmlCompute(
        name="lifecycle", size="standard_nc24ads_a100_V4", min_instances=0, max_instances=1
    )
    created = ml_client.compute.begin_create_or_update(cluster).result()
    assert created.provisioning_state.lower() == "succeeded"
    assert ml_client.compute.get("lifecycle").size == "standard_nc24ads_a100_V4"
    assert "lifecycle" in {c.name for c in ml_client.compute.list()}
    ml_client.compute.begin_delete("lifecycle").wait()
    with pytest.raises(ResourceNotFoundError):
        ml_client.compute.get("lifecycle")


def test_sizes_have_gpu_counts(ml_client: "MLClient") -> None:
    gpus = {size.name: size.gpus for size in ml_client.compute.list_sizes()}
    assert gpus["Standard_NC24ads_A100_v4"] == 1
    assert gpus["Standard_ND40rs_v2"] == 8


def test_unknown_size_and_bad_name_are_refused(ml_client: "MLClient") -> None:
    from azure.ai.ml.entities import AmlCompute

    with pytest.raises(HttpResponseError, match="Standard_Nothing"):
        ml_client.compute.begin_create_or_update(
            AmlCompute(name="nothing", size="Standard_Nothing")
        ).result()
    with pytest.raises(HttpResponseError, match="compute name"):
        ml_client.compute.begin_create_or_update(
            AmlCompute(name="1-bad", size="Standard_DS3_v2")
        ).result()


def test_exhausted_quota_refuses_a_dedicated_cluster_and_not_a_low_priority_one(
    emulator: RunningEmulator, ml_client: "MLClient"
) -> None:
    from azure.ai.ml.entities import AmlCompute

    config = load_config(emulator.state)
    assert config
    family = "standardNCADSH100v5Family"
    send(config, "PUT", f"/quotas/{family}", {"limit": 0})
    size = "Standard_NC40ads_H100_v5"
    with pytest.raises(HttpResponseError, match="ClusterCoreQuotaReached"):
        ml_client.compute.begin_create_or_update(AmlCompute(name="none-left", size=size)).result()
    usage = {(u.name or {}).get("value"): u.limit for u in ml_client.compute.list_usage()}
    assert usage[family] == 0
    cheap = AmlCompute(name="low-priority", size=size, tier="low_priority")
    created = ml_client.compute.begin_create_or_update(cheap).result()
    assert created.provisioning_state.lower() == "succeeded"
    ml_client.compute.begin_delete("low-priority").wait()


def test_an_operation_that_is_not_emulated_says_so_by_name(emulator: RunningEmulator) -> None:
    answer = _ask("POST", "/subscriptions/x/somethingElse")
    assert answer.status_code == 501
    assert "POST /subscriptions/x/somethingElse" in answer.json()["error"]["message"]


def test_a_second_workspace_has_assets_of_its_own(
    emulator: RunningEmulator, ml_client: "MLClient", tmp_path: Path
) -> None:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import Data, Workspace

    asked = Workspace(name="second", location="eastus", display_name="Two", tags={"a": "b"})
    made = ml_client.workspaces.begin_create(asked).result()
    assert (made.display_name, made.tags["a"]) == ("Two", "b")
    assert {"second", ml_client.workspace_name} <= {w.name for w in ml_client.workspaces.list()}
    everywhere = ml_client.workspaces.list(scope="subscription")
    assert "second" in {w.name for w in everywhere}
    second = MLClient(
        DefaultAzureCredential(),
        ml_client.subscription_id,
        ml_client.resource_group_name,
        "second",
        enable_telemetry=False,
    )
    (tmp_path / "rows.csv").write_text("a\n")
    data = Data(name="apart", version="1", path=str(tmp_path / "rows.csv"), type="uri_file")
    assert "/workspaces/second/datastores/" in str(second.data.create_or_update(data).path)
    with pytest.raises(ResourceNotFoundError):
        ml_client.data.get("apart", version="1")
    container = str(second.datastores.get_default().container_name)
    assert (emulator.state / "blobs" / container).exists()
    made.description = "changed"
    assert ml_client.workspaces.begin_update(made).result().description == "changed"
    assert _status(made.key_vault) == _status(made.application_insights) == 200
    logs = _ask("GET", made.application_insights).json()["properties"]["WorkspaceResourceId"]
    ml_client.workspaces.begin_delete("second", delete_dependent_resources=True).result()
    for gone in (made.key_vault, made.application_insights, logs):
        assert _status(gone) == 404
    assert not (emulator.state / "blobs" / container).exists()
    with pytest.raises(ResourceNotFoundError, match="ARMResourceNotFoundFix"):
        ml_client.workspaces.get("second")


def test_what_a_workspace_depends_on_is_there_until_it_is_deleted(
    emulator: RunningEmulator, ml_client: "MLClient"
) -> None:
    path = str(ml_client.workspaces.get(ml_client.workspace_name).id)
    other = f"{path}-deps"
    _ask("PUT", other, {"properties": {}})
    vault = _ask("GET", other).json()["properties"]["keyVault"]
    assert _status(vault) == 200
    unknown = _ask("GET", f"{vault}-unknown")
    assert unknown.status_code == 404
    assert unknown.json()["error"]["code"] == "ResourceNotFound"
    assert _ask("DELETE", f"{vault}-unknown").status_code == 204
    well = ml_client.workspaces.begin_diagnose(f"{ml_client.workspace_name}-deps").result()
    assert well is not None
    assert well.key_vault_results == well.storage_account_results == well.other_results == []
    assert _ask("DELETE", vault).status_code == 200
    assert _status(vault) == 404
    (container,) = (
        d["properties"]["containerName"]
        for d in _ask("GET", f"{other}/datastores?isDefault=true").json()["value"]
    )
    (emulator.state / "blobs" / container).rmdir()
    ill = ml_client.workspaces.begin_diagnose(f"{ml_client.workspace_name}-deps").result()
    assert ill is not None
    (lost,) = ill.key_vault_results or [None]
    assert lost is not None
    assert (lost.code, lost.level) == ("KeyVaultNotFound", "Error")
    assert vault in str(lost.message)
    (empty,) = ill.storage_account_results or [None]
    assert empty is not None
    assert container in str(empty.message)
    _ask("DELETE", other)
    _ask("PUT", other, {"properties": {}})
    assert _status(vault) == 200
    _ask("DELETE", other)
    assert _status(vault) == 404


def test_the_hour_s_requests_are_counted(ml_client: "MLClient", control: "Control") -> None:
    path = str(ml_client.workspaces.get(ml_client.workspace_name).id)
    reads = "x-ms-ratelimit-remaining-subscription-reads"
    first, second = (int(_ask("GET", path).headers[reads]) for _ in range(2))
    assert first - second == 1
    writes = _ask("POST", f"{path}/resyncKeys").headers
    assert reads not in writes
    assert int(writes["x-ms-ratelimit-remaining-subscription-writes"]) < 1200
    control.advance(3600)
    assert int(_ask("GET", path).headers[reads]) == 11999


def _ask(method: str, path: str, body: dict[str, Any] | None = None) -> requests.Response:
    return requests.request(
        method,
        f"https://management.azure.com{path}",
        json=body,
        headers={"Authorization": f"Bearer {_token()}"},
        timeout=10,
    )


@cache
def _token() -> str:
    return DefaultAzureCredential().get_token("https://management.azure.com/.default").token


def _status(path: str | None) -> int:
    return _ask("GET", str(path)).status_code


def test_the_configured_workspace_stays(ml_client: "MLClient") -> None:
    with pytest.raises(HttpResponseError, match="started with"):
        ml_client.workspaces.begin_delete(
            ml_client.workspace_name, delete_dependent_resources=False
        ).result()


def test_a_hub_is_refused_by_name(ml_client: "MLClient") -> None:
    from azure.ai.ml.entities import Hub

    with pytest.raises(HttpResponseError, match="kind hub") as refused:
        ml_client.workspaces.begin_create(Hub(name="a-hub", location="eastus")).result()
    assert refused.value.status_code == 501


def test_a_connection_keeps_its_secret(ml_client: "MLClient") -> None:
    from azure.ai.ml.entities import PatTokenConfiguration, WorkspaceConnection

    connection = WorkspaceConnection(
        name="feed",
        type="python_feed",
        target="https://feed.example.test",
        credentials=PatTokenConfiguration(pat="hidden"),
    )
    ml_client.connections.create_or_update(connection)
    stored: Any = ml_client.connections.get("feed")
    assert stored.credentials.pat is None
    secrets: Any = ml_client.connections._operation.list_secrets(
        connection_name="feed",
        **ml_client.connections._scope_kwargs,
        workspace_name=str(ml_client.workspace_name),
    )
    assert secrets.properties.credentials.pat == "hidden"
    assert ml_client.connections.get("feed").target == "https://feed.example.test"
    assert [c.name for c in ml_client.connections.list()] == ["feed"]
    ml_client.connections.delete("feed")
    with pytest.raises(ResourceNotFoundError, match="Connection feed can't be found"):
        ml_client.connections.get("feed")
