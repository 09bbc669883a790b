"""What the sweep may end: work with this project's tags that no living run owns or that expired."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from tasks.clients import explained
from tasks.deployment import find_deployment
from tasks.job import job_phase
from tasks.lease import read_lease, run_key
from tasks.ownership import EXPIRES, FLOW_RUN, KEEP, RUN_KEY, parse_moment
from tasks.polling import status_word
from tasks.traffic import live_shares

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

_MOST_JOBS = 5000


class Owned(BaseModel):
    """Something in the workspace that a run of this project made and that costs money."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["job", "endpoint", "deployment"]
    name: str
    """Of a deployment: its endpoint's name, a slash and its own."""
    state: str
    run_key: str
    flow_run_id: str
    expires: datetime | None = None
    keep: bool = False


class Decision(BaseModel):
    """What becomes of it, and why."""

    model_config = ConfigDict(frozen=True)

    owned: Owned
    end: bool
    reason: str


def decide(
    owned: Owned,
    now: datetime,
    holders: Callable[[str], Sequence[str]],
    has_ended: Callable[[str], bool | None],
) -> Decision:
    """Whether to end it.

    `holders` gives the names of the living runs that work on a run key; `has_ended` whether a flow
    run is over, or None for one that this Prefect server does not know.
    """
    end, reason = False, ""
    if owned.kind == "endpoint" and owned.keep:
        reason = "it is to stay"
    elif owned.kind == "deployment" and (names := holders(owned.run_key)):
        reason = f"in use by {', '.join(names)}"  # a release may take longer than it thought
    elif owned.expires is not None and owned.expires <= now:
        end, reason = True, f"it expired at {owned.expires:%Y-%m-%d %H:%M} UTC"
    elif names := holders(owned.run_key):
        reason = f"in use by {', '.join(names)}"
    elif (ended := has_ended(owned.flow_run_id)) is None:
        until = f" until {owned.expires:%Y-%m-%d %H:%M} UTC" if owned.expires else ""
        reason = f"its run is not known to this Prefect server: left{until}"
    elif ended:
        end, reason = True, "its run is over"
    else:
        reason = "its run is not over"
    return Decision(owned=owned, end=end, reason=reason)


def find_owned(client: "MLClient") -> list[Owned]:
    """The living jobs, endpoints and unused deployments that carry this project's tags."""
    with explained("Listing the jobs of the workspace"):
        found = list(_jobs(client))
    with explained("Listing the endpoints of the workspace"):
        found += _endpoints(client)
    return found


def _jobs(client: "MLClient") -> Iterator[Owned]:
    for job in islice(client.jobs.list(), _MOST_JOBS):
        if job is not None and not job_phase(job.status).ended:
            yield from _owned("job", job, status_word(job.status))


def _endpoints(client: "MLClient") -> Iterator[Owned]:
    for endpoint in client.online_endpoints.list():
        yield from _owned("endpoint", endpoint, status_word(endpoint.provisioning_state))
        yield from _unused_deployment(client, endpoint)


def _unused_deployment(client: "MLClient", endpoint: Any) -> Iterator[Owned]:
    """The new deployment of an unfinished release, while it answers nothing and another one does.

    Whose it is stands in the endpoint's lease, which a release that goes on renews.
    """
    name, shares = str(endpoint.name), live_shares(endpoint)
    lease = read_lease(name, endpoint.tags)
    if lease is None or not shares or lease.new in shares:
        return
    deployment = find_deployment(client, name, lease.new)
    if deployment is not None and FLOW_RUN in (deployment.tags or {}):
        yield Owned(
            kind="deployment",
            name=f"{name}/{lease.new}",
            state=status_word(deployment.provisioning_state),
            run_key=run_key(name),
            flow_run_id=lease.flow_run_id,
            expires=lease.expires,
        )


def _owned(kind: Literal["job", "endpoint"], entity: Any, state: str) -> Iterator[Owned]:
    tags: dict[str, str] = entity.tags or {}
    if RUN_KEY in tags and FLOW_RUN in tags:
        yield Owned(
            kind=kind,
            name=str(entity.name),
            state=state,
            run_key=tags[RUN_KEY],
            flow_run_id=tags[FLOW_RUN],
            expires=parse_moment(tags.get(EXPIRES)),
            keep=tags.get(KEEP) == "true",
        )
