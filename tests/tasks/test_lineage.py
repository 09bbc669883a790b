"""Assets: their keys, and what becomes of a name that no key can have."""

from prefect.tasks import MaterializingTask

from tasks.lineage import (
    base_model_asset,
    dataset_asset,
    endpoint_asset,
    making_model,
    model_asset,
)
from tasks.registration import register_model
from tasks.values import Metrics
from tests.tasks.planning_support import planned

METRICS = Metrics(run_id="r", last={"eval_loss": 2.5})


def test_keys_are_the_names_that_azure_and_the_hub_use(workspace: str) -> None:
    plan = planned()
    names = plan.names
    below = model_asset(workspace, plan).key.partition("/models/")[0]
    assert below.startswith("azureml://subscriptions/00000000-")
    assert below.endswith("/resourceGroups/local/workspaces/local")
    assert model_asset(workspace, plan).key == (
        f"{below}/models/{names.model}/versions/{names.model_version}"
    )
    assert endpoint_asset(workspace, plan).key == f"{below}/onlineEndpoints/{names.endpoint}"
    assert base_model_asset(plan).key == plan.model.id
    assert dataset_asset(plan).key == (
        f"huggingface://datasets/{plan.data.dataset}@{plan.data.revision[:12]}"
    )


def test_the_task_is_the_same_one_with_an_asset(workspace: str) -> None:
    plan = planned()
    task = making_model(register_model, workspace, plan, METRICS)
    assert isinstance(task, MaterializingTask)
    assert [asset.key for asset in task.assets] == [model_asset(workspace, plan).key]
    assert {asset.key for asset in task.asset_deps} == {
        dataset_asset(plan).key,
        base_model_asset(plan).key,
    }
    assert (task.name, task.task_run_name) == (register_model.name, register_model.task_run_name)
    assert (task.retries, task.tags) == (register_model.retries, register_model.tags)


def test_a_name_that_no_key_can_have_stops_nothing(workspace: str) -> None:
    plan = planned()
    odd = plan.model_copy(
        update={"data": plan.data.model_copy(update={"dataset": "a folder/with spaces"})}
    )
    assert making_model(register_model, workspace, odd, METRICS) is register_model
