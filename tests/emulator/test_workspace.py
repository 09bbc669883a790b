"""The workspace, its datastores and its computes, through the unmodified SDK."""

from typing import TYPE_CHECKING

import pytest
import requests
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential

from emulator.config import load_config
from emulator.control_request import send
from tests.emulator.running import RunningEmulator

if TYPE_CHECKING:
    from azure.ai.ml import MLClient


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
    token = DefaultAzureCredential().get_token("https://management.azure.com/.default").token
    answer = requests.post(
        "https://management.azure.com/subscriptions/x/somethingElse",
        headers={"Authorization": f"Bearer {token}"},
        timeout=10,
    )
    assert answer.status_code == 501
    assert "POST /subscriptions/x/somethingElse" in answer.json()["error"]["message"]
