"""Where things come from, as Prefect's assets: dataset and base model -> model -> endpoint.

Prefect keeps them as events (`prefect.asset.*`), one for each thing that a task has made, with
what it was made from.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import ParamSpec, TypeVar

from prefect import Task
from prefect.assets import Asset, AssetProperties, materialize

from tasks.artifacts import run_logger
from tasks.clients import REMOTE, workspace_client
from tasks.values import LiveEndpoint, Metrics, Plan, RegisteredModel

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")
_Facts = Mapping[str, str | int | float]


def making_model(
    task: Task[_Given, RegisteredModel], workspace: str, plan: Plan, metrics: Metrics
) -> Task[_Given, RegisteredModel]:
    """The task, as the one that makes the plan's model from its dataset and its base model."""

    def facts(made: RegisteredModel) -> _Facts:
        loss = metrics.last.get("eval_loss")
        return {
            "job": plan.names.job,
            "run_key": plan.names.run_key,
            "rows": plan.data.train.rows,
            "data_fingerprint": plan.data.fingerprint,
            "adopted": made.adopted,
            **({} if loss is None else {"eval_loss": round(loss, 6)}),
        }

    def assets() -> tuple[Asset, Sequence[Asset]]:
        return model_asset(workspace, plan), [dataset_asset(plan), base_model_asset(plan)]

    return _materializing(task, assets, facts)


def making_endpoint(
    task: Task[_Given, LiveEndpoint], workspace: str, plan: Plan
) -> Task[_Given, LiveEndpoint]:
    """The task, as the one that makes the plan's endpoint from its model."""

    def facts(made: LiveEndpoint) -> _Facts:
        return {"deployment": made.deployment, "size": made.size}

    def assets() -> tuple[Asset, Sequence[Asset]]:
        return endpoint_asset(workspace, plan), [model_asset(workspace, plan)]

    return _materializing(task, assets, facts)


def _materializing(
    task: Task[_Given, _Made],
    assets: Callable[[], tuple[Asset, Sequence[Asset]]],
    facts: Callable[[_Made], _Facts],
) -> Task[_Given, _Made]:
    """The task with assets, or as it was: that they have no key must not stop a run."""
    try:
        made, made_from = assets()
    except ValueError as error:  # a name with a character that keys do not have
        run_logger().warning("%s is not recorded as an asset: %s", task.name, error)
        return task

    @wraps(task.fn)
    def call(*given: _Given.args, **named: _Given.kwargs) -> _Made:
        result = task.fn(*given, **named)
        made.add_metadata(dict(facts(result)))
        return result

    return materialize(
        made,
        by="azureml",
        asset_deps=list(made_from),
        name=task.name,
        task_run_name=task.task_run_name,
        **REMOTE,
    )(call)


def dataset_asset(plan: Plan) -> Asset:
    """The dataset at its commit."""
    data = plan.data
    return Asset(
        key=f"huggingface://datasets/{data.dataset}@{data.revision[:12]}",
        properties=AssetProperties(
            name=data.dataset,
            description=f"Commit {data.revision}, splits {data.train.split}, {data.test.split}",
            url=f"https://huggingface.co/datasets/{data.dataset}/tree/{data.revision}",
        ),
    )


def base_model_asset(plan: Plan) -> Asset:
    """The foundation model of the registry; its id is a key already."""
    model = plan.model
    return Asset(
        key=model.id, properties=AssetProperties(name=f"{model.name}, version {model.version}")
    )


def model_asset(workspace: str, plan: Plan) -> Asset:
    """The fine-tuned model, registered in the workspace."""
    name, version = plan.names.model, plan.names.model_version
    return Asset(
        key=f"{_workspace_key(workspace)}/models/{name}/versions/{version}",
        properties=AssetProperties(
            name=f"{name}, version {version}",
            description=f"{plan.model.name} fine-tuned on {plan.data.dataset}",
        ),
    )


def endpoint_asset(workspace: str, plan: Plan) -> Asset:
    """The endpoint that the model is tried on."""
    name = plan.names.endpoint
    return Asset(
        key=f"{_workspace_key(workspace)}/onlineEndpoints/{name}",
        properties=AssetProperties(name=f"endpoint {name}"),
    )


def _workspace_key(workspace: str) -> str:
    client = workspace_client(workspace)
    return (
        f"azureml://subscriptions/{client.subscription_id}"
        f"/resourceGroups/{client.resource_group_name}/workspaces/{client.workspace_name}"
    )
