"""The fine-tuning job: adopted when it is there, submitted when it is not, cancelled by name."""

from typing import TYPE_CHECKING, Any

from tasks.clients import explained, workspace_client
from tasks.polling import Observation, status_word
from tasks.values import Phase

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

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
    with explained(f"Looking at job {name}, which goes on by itself,"):
        job = client.jobs.get(name)
    return Observation(job_phase(job.status), status_word(job.status), job)


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
