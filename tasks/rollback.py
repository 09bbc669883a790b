"""Taking a release back: the old deployment serves all again, the new one is deleted."""

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prefect import task

from tasks.artifacts import run_logger, without_dots
from tasks.claims import has_ended, read_claim
from tasks.claims import release as give_up
from tasks.clients import REMOTE, explained, workspace_client
from tasks.deployment import delete_deployment, find_deployment
from tasks.endpoint import delete_endpoint, find_endpoint
from tasks.errors import ErrorKind, UserError
from tasks.explaining import azure_code_and_text, explain
from tasks.lease import Lease, is_over, read_lease
from tasks.polling import status_word
from tasks.release_report import ReleaseStep
from tasks.traffic import live_shares, mirrored_shares, route

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

_MINUTES = 60.0
_log = logging.getLogger(__name__)


class ReleaseFailed(UserError):
    """The new deployment did not hold, or was not made. What was done about it is in the text."""

    kind = ErrorKind.SERVICE


class LimitsNotHeld(UserError):
    """A check has measured what its limits do not allow."""

    kind = ErrorKind.SERVICE

    def __init__(self, step: ReleaseStep) -> None:
        measured = f"New: {step.new}" + (f"; old: {step.old}" if step.old else "")
        super().__init__(f"At {step.name}: {'; '.join(step.problems)}. {measured}.")


def take_back(
    workspace: str, lease: Lease, minutes: float, error: Exception
) -> "ReleaseFailed | None":
    """Roll the release back; gives what is to be raised in the place of the error.

    None for a bug, which has its own trace to show.
    """
    try:
        done = roll_back_release(workspace, lease, minutes)
    except Exception as failure:
        text = azure_code_and_text(failure)[1]
        done = [f"It was not rolled back: {text}", "Run the release again: that goes on from here."]
    for sentence in done:
        run_logger().warning("%s", sentence)
    clear = explain(error, f"Releasing {lease.new}")
    if clear is None:
        return None
    return ReleaseFailed(
        f"The release of {lease.new} to endpoint {lease.endpoint} failed. {clear.message}",
        " ".join(done),
        clear.kind,
    )


@task(name="roll back", task_run_name="roll back {lease.new}", **REMOTE)
def roll_back_release(workspace: str, lease: Lease, minutes: float) -> list[str]:
    """`roll_back` as a task."""
    return roll_back(workspace_client(workspace), lease, minutes)


def roll_back(client: "MLClient", lease: Lease, minutes: float) -> list[str]:
    """Give the traffic back to the old deployment, delete the new one, and give the endpoint free.

    Comes to the same when it is done twice. Where the old one is gone the new one keeps its
    traffic; an endpoint that is another release's is left to that. A sentence for each thing done.
    """
    without_dots()
    name = lease.endpoint
    endpoint = find_endpoint(client, name)
    if endpoint is None:
        return [f"Endpoint {name} is gone."]
    held = read_lease(name, endpoint.tags)
    if held is None or held.flow_run_id != lease.flow_run_id:
        told = [f"Endpoint {name} belongs to another release now, and is left to it."]
        return told + _delete_own(client, lease, held, endpoint, minutes)
    shares, old = live_shares(endpoint), _serving(client, lease)
    if lease.old and old is None and shares.get(lease.new):
        route(client, lease, shares, {}, minutes, end=True)
        return [f"Deployment {lease.old} is gone: {lease.new} serves on."]
    told = []
    if shares.get(lease.new) or not shares:
        shares = {old: 100} if old else {}
        told = [f"Deployment {old} has all of the traffic of endpoint {name} again."] if old else []
    elif old:
        told = [f"Deployment {old} serves on as before."]
    route(client, lease, shares, {}, minutes)
    if delete_deployment(client, name, lease.new, minutes):
        told.append(f"Deployment {lease.new} is deleted.")
    if lease.made and not _deployments(client, name):
        delete_endpoint(client, name, minutes)
        return [*told, f"Endpoint {name}, which the release had made, is deleted."]
    route(client, lease, shares, {}, minutes, end=True)
    return told


def _delete_own(
    client: "MLClient", lease: Lease, held: Lease | None, endpoint: Any, minutes: float
) -> list[str]:
    """Delete the new deployment of a release that has lost its endpoint, if nothing uses it."""
    used: set[str | None] = {*live_shares(endpoint), *mirrored_shares(endpoint)}
    used |= {held.new, held.old} if held else set()
    if lease.new in used or not delete_deployment(client, lease.endpoint, lease.new, minutes):
        return []
    return [f"Deployment {lease.new} is deleted."]


def _serving(client: "MLClient", lease: Lease) -> str | None:
    """The old deployment, unless it is gone. One whose last change has failed serves as before."""
    old = find_deployment(client, lease.endpoint, lease.old) if lease.old else None
    if old is None or status_word(old.provisioning_state).lower() == "deleting":
        return None
    return lease.old


def _deployments(client: "MLClient", endpoint: str) -> list[Any]:
    with explained(f"Listing the deployments of endpoint {endpoint}"):
        return list(client.online_deployments.list(endpoint))


def end_dead(client: "MLClient", endpoint: str, minutes: float) -> list[str]:
    """Delete the new deployment that a dead release has left without traffic.

    Nothing happens when the release lives after all, or the deployment has got traffic by now.
    """
    found = find_endpoint(client, endpoint)
    lease = None if found is None else read_lease(endpoint, found.tags)
    if lease is None or not is_over(lease, has_ended, datetime.now(UTC)):
        return []
    shares = live_shares(found)
    return [] if not shares or lease.new in shares else roll_back(client, lease, minutes)


def undo_release(flow_run_id: str, workspace: str) -> list[str]:
    """Roll back what a release that was stopped has under way; a sentence for each thing done.

    The endpoint's tags say what that is. An error is told among the sentences.
    """
    told: list[str] = []
    try:
        client = workspace_client(workspace)
        with explained("Listing the endpoints of the workspace"):
            endpoints = list(client.online_endpoints.list())
        for endpoint in endpoints:
            lease = read_lease(str(endpoint.name), endpoint.tags)
            if lease is not None and lease.flow_run_id == flow_run_id:
                told += roll_back(client, lease, _MINUTES)
        if claim := read_claim(flow_run_id):
            give_up(claim)
    except Exception as error:
        _log.debug("undoing the release", exc_info=error)
        told.append(f"The release was not undone: {azure_code_and_text(error)[1]}")
    return told
