"""The fine-tuning job: adopted when it is there, submitted when it is not, cancelled by name."""

from typing import TYPE_CHECKING, Any

from prefect import task

from tasks.artifacts import run_logger
from tasks.clients import REMOTE, explained, registry_client, workspace_block, workspace_client
from tasks.errors import JobFailed, azure_code_and_text
from tasks.history import RunHistory
from tasks.polling import Observation, status_word
from tasks.values import JobRef, Phase, Plan

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

OUTPUT = "trained_model"
_MODEL_OUTPUT = "mlflow_model_folder"
_COMPUTES = (
    "compute_model_import",
    "compute_preprocess",
    "compute_finetune",
    "compute_model_evaluation",
)
_GPUS = "number_of_gpu_to_use_finetuning"
_PHASES = {
    "notstarted": Phase.QUEUED,
    "queued": Phase.QUEUED,
    "preparing": Phase.QUEUED,
    "provisioning": Phase.QUEUED,
    "starting": Phase.QUEUED,
    "completed": Phase.SUCCEEDED,
    "failed": Phase.FAILED,
    "canceled": Phase.CANCELLED,
}


def job_phase(status: object) -> Phase:
    """The phase of a job by Azure ML's own status; an unknown word counts as running."""
    return _PHASES.get(status_word(status).lower(), Phase.RUNNING)


@task(
    name="submit the job",
    task_run_name="submit {plan.names.job}",
    tags=["azureml", "paid"],
    **REMOTE,
)
def submit_job(workspace: str, plan: Plan, tags: dict[str, str]) -> JobRef:
    """The job of the plan's name: the one that is there already, or a new one.

    A job that ended without success is never submitted again under its name: JobFailed says why
    it ended and how to ask for another attempt.
    """
    client, logger = workspace_client(workspace), run_logger()
    name = plan.names.job
    existing = find_job(client, name)
    if existing is not None:
        check_not_failed(workspace, plan, existing)
        logger.info("Job %s is there already (%s): adopted.", name, status_word(existing.status))
        return _reference(existing, adopted=True)
    with explained(f"Submitting job {name}"):
        component = registry_client(workspace).components.get(
            plan.component.name, version=plan.component.version
        )
        pipeline_job = build_job(plan, component, tags)
        job = _submit(client, pipeline_job)
    logger.info("Job %s is submitted. Studio: %s", name, job.studio_url)
    return _reference(job, adopted=False)


def build_job(plan: Plan, component: Any, tags: dict[str, str]) -> Any:
    """The pipeline job of the plan around the registry's component; nothing is sent."""
    from azure.ai.ml.dsl import pipeline

    inputs = job_inputs(plan)

    @pipeline()  # type: ignore[call-overload,untyped-decorator]
    def fine_tuning() -> dict[str, Any]:
        chat_completion = component(**inputs)
        return {OUTPUT: chat_completion.outputs[_MODEL_OUTPUT]}

    job = fine_tuning()
    job.name = plan.names.job
    job.display_name = plan.names.display_name
    job.experiment_name = plan.names.experiment
    job.tags = dict(tags)
    job.settings.force_rerun = True
    job.settings.continue_on_step_failure = False
    return job


def job_inputs(plan: Plan) -> dict[str, Any]:
    """Inputs of the component by name: model, data, computes, GPUs and training parameters.

    Inputs that this version of the component does not declare are left out.
    """
    from azure.ai.ml import Input
    from azure.ai.ml.constants import AssetTypes

    data = plan.data
    fixed: dict[str, Any] = {
        "mlflow_model_path": Input(type=AssetTypes.MLFLOW_MODEL, path=plan.model.id),
        "train_file_path": Input(type=AssetTypes.URI_FILE, path=data.train.path),
        "test_file_path": Input(type=AssetTypes.URI_FILE, path=data.test.path),
        _GPUS: max(1, plan.cluster_size.gpus),
    }
    fixed |= dict.fromkeys(_COMPUTES, plan.names.cluster)
    chosen = {
        parameter.name: parameter.value
        for parameter in plan.parameters
        if parameter.origin != "component default"
    }
    declared = plan.component.inputs
    return {name: value for name, value in (fixed | chosen).items() if name in declared}


def find_job(client: "MLClient", name: str) -> Any | None:
    """The job of that name, or None."""
    from azure.core.exceptions import ResourceNotFoundError

    with explained(f"Looking up job {name}"):
        try:
            return client.jobs.get(name)
        except ResourceNotFoundError:
            return None


def look_at_job(client: "MLClient", name: str) -> Observation:
    """One look at the job; the resource is the SDK's job entity."""
    job = client.jobs.get(name)
    return Observation(job_phase(job.status), status_word(job.status), job)


def check_not_failed(workspace: str, plan: Plan, job: Any) -> None:
    """Raise JobFailed when an earlier attempt of this name ended without success."""
    phase = job_phase(job.status)
    if phase not in (Phase.FAILED, Phase.CANCELLED):
        return
    reason, status = failure_reason(workspace, job.name), status_word(job.status)
    attempt = plan.config.attempt
    raise JobFailed(
        f"Attempt {attempt} of this training, job {job.name}, has ended before as {status}"
        f"{': ' + reason if reason else ''}.",
        f"Set `attempt` to {attempt + 1} to submit it once more, or change the training.",
    )


def failure_reason(workspace: str, name: str) -> str:
    """The error text of the step that failed, else of the job's run; empty if there is none."""
    try:
        history = RunHistory(
            workspace_client(workspace), workspace_block(workspace).get_credential()
        )
        for step in reversed(history.steps(name)):  # children come after their parents
            if step.status == "Failed" and (text := history.details(step.name).error):
                return f"step {step.title}: {text}"
        return history.details(name).error or ""
    except Exception as error:  # the reason is an extra; that it failed is known
        run_logger().debug("no reason for %s: %s", name, azure_code_and_text(error)[1])
    return ""


def cancel_job(workspace: str, name: str, seconds: float = 60) -> bool:
    """Cancel the job unless it has ended; returns whether there was anything to cancel.

    Waits at most `seconds` for the service to confirm.
    """
    from azure.core.exceptions import HttpResponseError

    client = workspace_client(workspace)
    job = find_job(client, name)
    if job is None or job_phase(job.status).ended:
        return False
    with explained(f"Cancelling job {name}"):
        try:
            client.jobs.begin_cancel(name).wait(seconds)
        except HttpResponseError as error:
            job = find_job(client, name)  # 400 once the job has ended
            if error.status_code != 400 or job is None or not job_phase(job.status).ended:
                raise
            return False
    return True


def _submit(client: "MLClient", pipeline_job: Any) -> Any:
    from azure.core.exceptions import HttpResponseError

    try:
        return client.jobs.create_or_update(pipeline_job)
    except HttpResponseError as error:
        if error.status_code != 409:
            raise
        return client.jobs.get(pipeline_job.name)  # submitted by someone else just now


def _reference(job: Any, adopted: bool) -> JobRef:
    return JobRef(name=str(job.name), studio_url=job.studio_url or None, adopted=adopted)
