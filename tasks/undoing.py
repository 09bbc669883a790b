"""Undoing what a run that was stopped has going on: its job is cancelled, its endpoint deleted."""

import logging
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import islice

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId

from tasks.claims import Claim, has_ended, other_holders, read_claim, release
from tasks.clients import workspace_client
from tasks.endpoint import delete_endpoint, find_endpoint
from tasks.explaining import azure_code_and_text
from tasks.job import cancel_job, find_job, job_phase
from tasks.ownership import FLOW_RUN, KEEP, RUN_KEY

_JOBS_TO_SEARCH = 200
_DELETE_MINUTES = 20
_log = logging.getLogger(__name__)


def undo_run(flow_run_id: str, workspace: str) -> list[str]:
    """Cancel the run's jobs and delete its endpoint; sentences that say what became of each.

    What the run wrote down on this machine says what that is; else the tags in the workspace do.
    What another living run works on as well is left to it. Every part is tried; an error in one
    is told among the sentences, and the claim then stays for another try.
    """
    claim = read_claim(flow_run_id)
    claims = [claim] if claim else find_by_tags(flow_run_id, workspace)
    return [sentence for claim in claims for sentence in _undo(claim)]


def undo_children(
    flow_run_id: str,
    workspace: str,
    crashed: bool,
    ways: Sequence[Callable[[str, str], list[str]]] = (undo_run,),
) -> list[str]:
    """Undo the runs that a run has started inside itself, in every one of these ways.

    `crashed`: its process has died. Then only what is to be undone even so is undone.
    """
    parent = FlowRunFilterParentFlowRunId(any_=[uuid.UUID(flow_run_id)])
    with get_client(sync_client=True) as client:
        children = client.read_flow_runs(flow_run_filter=FlowRunFilter(parent_flow_run_id=parent))
    return [
        sentence
        for child in children
        if not crashed or is_wanted_undone(str(child.id))
        for way in ways
        for sentence in way(str(child.id), workspace)
    ]


def is_wanted_undone(flow_run_id: str) -> bool:
    """Whether what the run has under way is ended although nobody has stopped it: it has died."""
    claim = read_claim(flow_run_id)
    return claim is not None and (claim.stopped or claim.cancel_on_crash)


def _undo(claim: Claim) -> list[str]:
    if others := other_holders(claim.run_key, claim.flow_run_id):
        release(claim)
        return [f"Job and endpoint are left to {', '.join(others)}, with the same training."]
    told = [
        *_tried(f"Job {claim.job}", lambda: _undo_job(claim)),
        *_tried(f"Endpoint {claim.endpoint}", lambda: _undo_endpoint(claim)),
    ]
    if not any("was not" in sentence for sentence in told):
        release(claim)
    return told


def _tried(what: str, undo: Callable[[], str | None]) -> list[str]:
    try:
        told = undo()
    except Exception as error:
        _log.debug("undoing %s", what, exc_info=error)
        return [f"{what} was not undone: {azure_code_and_text(error)[1]}"]
    return [told] if told else []


def _undo_job(claim: Claim) -> str | None:
    if claim.job is None:
        return None
    job = find_job(workspace_client(claim.workspace), claim.job)
    if job is None or job_phase(job.status).ended:
        return None
    if owner := _other_owner(job.tags, claim.flow_run_id):
        return f"Job {claim.job} goes on: {owner}."
    return f"Job {claim.job} is cancelled." if cancel_job(claim.workspace, claim.job) else None


def _undo_endpoint(claim: Claim) -> str | None:
    if claim.endpoint is None:
        return None
    client = workspace_client(claim.workspace)
    endpoint = find_endpoint(client, claim.endpoint)
    if endpoint is None:
        return None
    if (endpoint.tags or {}).get(KEEP) == "true":
        return f"Endpoint {claim.endpoint} stays: it is to be kept."
    if owner := _other_owner(endpoint.tags, claim.flow_run_id):
        return f"Endpoint {claim.endpoint} stays: {owner}."
    delete_endpoint(client, claim.endpoint, _DELETE_MINUTES)
    return f"Endpoint {claim.endpoint} is deleted."


def _other_owner(tags: dict[str, str] | None, flow_run_id: str) -> str | None:
    """Why the thing is not this run's to end; None when it is its own or a dead run's."""
    owner = (tags or {}).get(FLOW_RUN)
    if owner == flow_run_id:
        return None
    if owner is None:
        return "no run has marked it as its own"
    ended = has_ended(owner)
    if ended is None:
        return f"it belongs to run {owner}, which this Prefect server does not know"
    return None if ended else f"it belongs to run {owner}, which is not over"


def find_by_tags(flow_run_id: str, workspace: str) -> list[Claim]:
    """The run's living jobs and its endpoints, by the tags that it gave them.

    What has the same run key is one claim.
    """
    client = workspace_client(workspace)
    jobs = (
        job
        for job in islice(client.jobs.list(), _JOBS_TO_SEARCH)
        if job is not None and not job_phase(job.status).ended
    )
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for kind, entities in (("job", jobs), ("endpoint", client.online_endpoints.list())):
        for entity in entities:
            tags: dict[str, str] = entity.tags or {}
            if tags.get(FLOW_RUN) == flow_run_id:
                found[tags.get(RUN_KEY, "")][kind] = str(entity.name)
    return [
        Claim(flow_run_id=flow_run_id, workspace=workspace, run_key=key, **names)
        for key, names in found.items()
    ]
