"""The traffic of an endpoint: who answers which share of it, and who gets a copy."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tasks.clients import explained
from tasks.endpoint import begin, find_endpoint
from tasks.errors import DeploymentFailed, NotFound
from tasks.lease import EndpointBusy, Lease, busy, read_lease, with_lease
from tasks.polling import Patience, wait_for_resource
from tasks.values import Phase

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

_TRIES = 5


def live_shares(endpoint: Any) -> dict[str, int]:
    """Percent of the live traffic by deployment, without those that get none."""
    return {name: int(share) for name, share in (endpoint.traffic or {}).items() if share}


def mirrored_shares(endpoint: Any) -> dict[str, int]:
    """Percent of the live traffic that a deployment gets a copy of."""
    return {name: int(share) for name, share in (endpoint.mirror_traffic or {}).items() if share}


def route(
    client: "MLClient",
    lease: Lease,
    traffic: Mapping[str, int],
    mirror: Mapping[str, int],
    minutes: float,
    *,
    over: Lease | None = None,
    take: bool = False,
    end: bool = False,
) -> Any:
    """The endpoint with these shares in percent, and with this lease.

    `take`: the lease is new, in the place of none or of the dead one `over`. `end`: it is given
    up. Raises EndpointBusy, and changes nothing, when the endpoint is not this lease's.
    """
    shares, copies = dict(traffic), dict(mirror)
    allowed = {lease.flow_run_id} | ({over and over.flow_run_id} if take else set())
    for _ in range(_TRIES):
        endpoint = find_endpoint(client, lease.endpoint)
        if endpoint is None:
            raise NotFound(f"Endpoint {lease.endpoint} is gone.", "Somebody has deleted it.")
        held = read_lease(lease.endpoint, endpoint.tags)
        tags = with_lease(endpoint.tags, None if end else lease)
        shown = (live_shares(endpoint), mirrored_shares(endpoint), endpoint.tags or {})
        if shown == (shares, copies, tags):
            return endpoint
        if (held and held.flow_run_id) not in allowed:
            raise busy(held) if held else _taken_over(lease)
        endpoint.traffic, endpoint.mirror_traffic, endpoint.tags = shares, copies, tags
        if (changed := change(client, endpoint, minutes)) is not None:
            return changed
    raise EndpointBusy(
        f"Endpoint {lease.endpoint} is being changed by somebody else again and again.",
        "Find out who it is, and run again.",
    )


def _taken_over(lease: Lease) -> EndpointBusy:
    return EndpointBusy(
        f"Another release has taken endpoint {lease.endpoint} over from run {lease.flow_run_id}.",
        "Look at what the endpoint serves now before you release to it again.",
    )


def create_endpoint(client: "MLClient", name: str, tags: Mapping[str, str], minutes: float) -> Any:
    """A new endpoint with key authentication, or the one that another run has just made."""
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    wanted = ManagedOnlineEndpoint(
        name=name,
        description="Serves the model that was released last.",
        auth_mode="key",
        tags=dict(tags),
    )
    return change(client, wanted, minutes) or find_endpoint(client, name)


def change(client: "MLClient", endpoint: Any, minutes: float) -> Any | None:
    """Send the endpoint as it shall be, and wait until it is.

    None: another change was under way. That has ended now; nothing of this one was done.
    """
    name = str(endpoint.name)
    with explained(f"Changing endpoint {name}"):
        operation = begin(lambda: client.online_endpoints.begin_create_or_update(endpoint))
        limits = Patience({Phase.RUNNING: minutes * 60}, interval=10)
        seen = wait_for_resource(
            f"Endpoint {name}", lambda: client.online_endpoints.get(name), limits, operation
        )
    if operation is None:
        return None
    if seen.phase is not Phase.SUCCEEDED:
        raise DeploymentFailed(
            f"Endpoint {name} did not take the change: its state is {seen.status}.",
            "Look at it in the studio and run again.",
        )
    return seen.resource
