"""Undoing what a lost run has going on: its job is cancelled, its endpoint deleted."""

import logging
from itertools import islice

from tasks.clients import workspace_client
from tasks.deployment import delete_endpoint
from tasks.errors import azure_code_and_text
from tasks.job import cancel_job, job_phase
from tasks.ownership import FLOW_RUN, Handles, forget_handles, read_handles

_JOBS_TO_SEARCH = 200
_DELETE_MINUTES = 20
_log = logging.getLogger(__name__)


def undo_run(flow_run_id: str, workspace: str) -> list[str]:
    """Cancel the run's job and delete its endpoint; the names of what was undone.

    What the run wrote down on this machine says what that is; else the tags in the workspace do.
    Every part is tried, and an error in one is logged.
    """
    handles = read_handles(flow_run_id) or find_by_tags(flow_run_id, workspace)
    undone: list[str] = []
    complete = True
    if handles.job:
        try:
            if cancel_job(handles.workspace, handles.job):
                undone.append(f"job {handles.job}")
        except Exception as error:
            complete = False
            _log.error("Job %s was not cancelled: %s", handles.job, azure_code_and_text(error)[1])
    if handles.endpoint:
        try:
            client = workspace_client(handles.workspace)
            if delete_endpoint(client, handles.endpoint, _DELETE_MINUTES):
                undone.append(f"endpoint {handles.endpoint}")
        except Exception as error:
            complete = False
            _log.error(
                "Endpoint %s was not deleted: %s", handles.endpoint, azure_code_and_text(error)[1]
            )
    if complete:
        forget_handles(flow_run_id)
    return undone


def find_by_tags(flow_run_id: str, workspace: str) -> Handles:
    """The run's living job and its endpoint, by the tags that it gave them."""
    client = workspace_client(workspace)
    job = next(
        (
            str(job.name)
            for job in islice(client.jobs.list(), _JOBS_TO_SEARCH)
            if job is not None
            and (job.tags or {}).get(FLOW_RUN) == flow_run_id
            and not job_phase(job.status).ended
        ),
        None,
    )
    endpoint = next(
        (
            str(endpoint.name)
            for endpoint in client.online_endpoints.list()
            if (endpoint.tags or {}).get(FLOW_RUN) == flow_run_id
        ),
        None,
    )
    return Handles(workspace=workspace, job=job, endpoint=endpoint)
