"""Small command jobs under the names that a training's attempts have."""

from typing import Any

from tasks.clients import workspace_client
from tasks.job import find_job, job_phase
from tasks.polling import Observation, Patience, wait
from tasks.values import Plan


def submit(workspace: str, name: str, script: str, tags: dict[str, str] | None = None) -> Any:
    """A job that runs a line of shell."""
    from azure.ai.ml import command

    job = command(
        command=script,
        environment="azureml://registries/azureml/environments/acft-hf-nlp-gpu/labels/latest",
        name=name,
        tags=tags or {},
    )
    return workspace_client(workspace).jobs.create_or_update(job)


def end_of(workspace: str, name: str) -> Observation:
    """Wait until the job has ended."""

    def look() -> Observation:
        job = find_job(workspace_client(workspace), name)
        assert job is not None
        return Observation(job_phase(job.status), str(job.status), job)

    return wait(f"Job {name}", look, Patience(interval=0.2, first_interval=0.1))


def with_key(plan: Plan, key: str) -> Plan:
    """The plan under a run key of its own."""
    from tasks.naming import for_attempt

    names = plan.names.model_copy(update={"run_key": key})
    return plan.model_copy(update={"names": for_attempt(names, plan.config.attempt)})
