"""The fine-tuned model in the workspace: the job's MLflow output under a name and a version."""

from typing import TYPE_CHECKING, Any

from prefect import task

from tasks.artifacts import run_logger
from tasks.clients import REMOTE, explained, workspace_client
from tasks.errors import NotFound
from tasks.pipeline_job import OUTPUT
from tasks.values import Plan, RegisteredModel

if TYPE_CHECKING:
    from azure.ai.ml import MLClient


@task(
    name="register the model",
    task_run_name="register {plan.names.model}:{plan.names.model_version}",
    **REMOTE,
)
def register_model(workspace: str, plan: Plan, job: str, tags: dict[str, str]) -> RegisteredModel:
    """The model made from the job's output, registered once for every name and version.

    Raises NotFound, listing the outputs that the job has, when it lacks the model.
    """
    from azure.ai.ml.constants import AssetTypes
    from azure.ai.ml.entities import Model
    from azure.core.exceptions import ResourceExistsError

    client, logger, names = workspace_client(workspace), run_logger(), plan.names
    existing = _find(client, names.model, names.model_version)
    if existing is not None:
        logger.info("Model %s is registered already: adopted.", existing.id)
        return registered(existing, adopted=True)
    check_output(client, job)
    model = Model(
        path=f"azureml://jobs/{job}/outputs/{OUTPUT}",
        type=AssetTypes.MLFLOW_MODEL,
        name=names.model,
        version=names.model_version,
        description=f"{plan.model.name} (version {plan.model.version}) fine-tuned on "
        f"{plan.data.dataset}, {plan.data.train.rows} rows, by job {job}.",
        tags=model_tags(plan, job) | tags,
    )
    with explained(f"Registering model {names.model}"):
        try:
            created = client.models.create_or_update(model)
        except ResourceExistsError:
            created = client.models.get(names.model, version=names.model_version)
    logger.info("Model %s is registered.", created.id)
    return registered(created, adopted=False)


def model_tags(plan: Plan, job: str) -> dict[str, str]:
    """Where the model comes from, so that it can be made again."""
    return {
        "base_model": plan.model.id,
        "component": plan.component.id,
        "dataset": plan.data.dataset,
        "dataset_revision": plan.data.revision,
        "data_fingerprint": plan.data.fingerprint,
        "job": job,
    }


def check_output(client: "MLClient", job: str) -> None:
    """Raise NotFound, listing the real outputs, when the job has no model among them."""
    with explained(f"Reading the outputs of job {job}"):
        outputs = sorted(client.jobs.get(job).outputs or {})
    if OUTPUT not in outputs:
        raise NotFound(
            f"Job {job} has no output {OUTPUT}; it has {', '.join(outputs) or 'none at all'}.",
            "Choose a version of the component whose output is mlflow_model_folder, and raise "
            "`attempt` by one.",
        )


def _find(client: "MLClient", name: str, version: str) -> Any | None:
    from azure.core.exceptions import ResourceNotFoundError

    with explained(f"Looking up model {name}:{version}"):
        try:
            return client.models.get(name, version=version)
        except ResourceNotFoundError:
            return None


def registered(model: Any, adopted: bool) -> RegisteredModel:
    """The SDK's model as the value that stages pass on."""
    return RegisteredModel(
        id=str(model.id), name=str(model.name), version=str(model.version), adopted=adopted
    )
