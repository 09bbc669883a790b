"""Submitting the job: adopted when it is there, submitted when it is not, never twice."""

from itertools import count
from typing import TYPE_CHECKING, Any

from prefect import task

from tasks.artifacts import run_logger
from tasks.clients import REMOTE, explained, registry_client, workspace_client
from tasks.errors import ErrorKind, JobFailed
from tasks.job import find_job, job_phase
from tasks.job_failure import JobFailure, examine
from tasks.naming import for_attempt
from tasks.pipeline_job import build_job
from tasks.polling import status_word
from tasks.values import JobRef, Phase, Plan

if TYPE_CHECKING:
    from azure.ai.ml import MLClient


@task(
    name="choose the attempt",
    task_run_name="choose attempt of {plan.names.run_key}",
    **REMOTE,
)
def choose_attempt(workspace: str, plan: Plan) -> Plan:
    """The plan with the names of the attempt to go on with.

    That is the first one from `attempt` on that runs, has succeeded, or is not there yet. A
    cancelled job is passed over: starting the training again asks for another one. A failed job is
    passed over when its failure is likely to pass and `max_attempts` leaves room; else JobFailed
    says why it ended.
    """
    client, logger = workspace_client(workspace), run_logger()
    failed = 0
    for attempt in count(plan.config.attempt):
        names = for_attempt(plan.names, attempt)
        job = find_job(client, names.job)
        phase = Phase.MISSING if job is None else job_phase(job.status)
        if phase is Phase.FAILED:
            failed += 1
            failure = examine(workspace, names.job)
            check_may_repeat(names.job, failure, attempt, failed, plan.config.max_attempts)
        elif phase is not Phase.CANCELLED:
            return plan.model_copy(update={"names": names})
        logger.warning("Job %s is over (%s): another attempt.", names.job, phase)
    raise AssertionError("count() has no end")


def check_may_repeat(job: str, failure: JobFailure, attempt: int, failed: int, most: int) -> None:
    """Raise JobFailed unless the failed attempt may be followed by another one.

    `failed`: attempts that have failed so far; `most`: how many may.
    """
    again = f"Set `attempt` to {attempt + 1} to submit it once more as it is."
    if failure.kind is not ErrorKind.TRANSIENT:
        raise JobFailed(f"Job {job} failed: {failure}", f"{failure.advice} {again}", failure.kind)
    if failed >= most:
        raise JobFailed(
            f"Job {job} failed, as attempt {failed} of at most {most}: {failure}",
            f"Raise max_attempts. {again}",
            failure.kind,
        )


@task(
    name="submit the job",
    task_run_name="submit {plan.names.job}",
    **REMOTE,
)
def submit_job(workspace: str, plan: Plan, tags: dict[str, str]) -> JobRef:
    """The job of the plan's name: the one that is there already, or a new one."""
    client, logger = workspace_client(workspace), run_logger()
    name = plan.names.job
    existing = find_job(client, name)
    if existing is not None:
        logger.info("Job %s is there already (%s): adopted.", name, status_word(existing.status))
        return job_reference(existing, adopted=True)
    with explained(f"Submitting job {name}"):
        component = registry_client(workspace).components.get(
            plan.component.name, version=plan.component.version
        )
        job, adopted = _submit(client, build_job(plan, component, tags))
    reference = job_reference(job, adopted)
    done = "adopted" if adopted else "submitted"
    logger.info("Job %s is %s. Studio: %s", name, done, reference.studio_url)
    return reference


def _submit(client: "MLClient", pipeline_job: Any) -> tuple[Any, bool]:
    """The job and whether it was there already."""
    from azure.core.exceptions import HttpResponseError

    try:
        return client.jobs.create_or_update(pipeline_job), False
    except HttpResponseError as error:
        # Someone else's just now, or this one's, whose answer was lost.
        if error.status_code != 409 or (job := find_job(client, pipeline_job.name)) is None:
            raise
        return job, True


def job_reference(job: Any, adopted: bool) -> JobRef:
    """The SDK's job as the handle that stages pass on."""
    url = job.studio_url or None
    # The SDK adds the tenant to the address, which has it already.
    address, separator, tenant = (url or "").rpartition("&tid=")
    if separator and address.endswith(separator + tenant):
        url = address
    return JobRef(name=str(job.name), studio_url=url, adopted=adopted)
