"""The endpoint on which the model is tried: made, given its traffic, deleted."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tasks.clients import explained
from tasks.errors import DeploymentFailed
from tasks.polling import Observation, Patience, pause, status_word, wait, wait_for_resource
from tasks.values import Phase

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

UNUSABLE = ("failed", "canceled", "deleting")
"""Provisioning states, in lower case, of what has to be made anew."""


def ensure_endpoint(
    client: "MLClient", name: str, description: str, tags: dict[str, str], minutes: float
) -> Any:
    """The endpoint of that name in working order; one that failed or is going is made anew."""
    existing = find_endpoint(client, name)
    if existing is not None and status_word(existing.provisioning_state).lower() in UNUSABLE:
        delete_endpoint(client, name, minutes)
        existing = None
    with explained(f"Creating endpoint {name}"):
        operation = None
        if existing is None:
            operation = _begin(client, name, description, tags)
        seen = _wait(client, name, f"Endpoint {name}", operation, minutes)
    if seen.phase is not Phase.SUCCEEDED:
        raise DeploymentFailed(
            f"Endpoint {name} was not created: its state is {seen.status}.",
            "Look at it in the studio; the model is registered and can be deployed again.",
        )
    return seen.resource


def begin_endpoint(client: "MLClient", name: str, description: str, tags: dict[str, str]) -> None:
    """Ask for the endpoint if there is none of that name, in whatever state, and do not wait."""
    if find_endpoint(client, name) is None:
        with explained(f"Creating endpoint {name}"):
            _begin(client, name, description, tags)


def _begin(client: "MLClient", name: str, description: str, tags: dict[str, str]) -> Any | None:
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    wanted = ManagedOnlineEndpoint(
        name=name, description=description, auth_mode="key", tags=dict(tags)
    )
    return begin(lambda: client.online_endpoints.begin_create_or_update(wanted))


def send_traffic(
    client: "MLClient", name: str, deployment: str, tags: dict[str, str], minutes: float
) -> Any:
    """The endpoint with its whole traffic on the deployment, and with these tags among its own.

    An adopted endpoint so gets its new owner; one that was to stay goes on staying.
    """
    endpoint = client.online_endpoints.get(name)
    marked = (endpoint.tags or {}) | tags
    if endpoint.traffic == {deployment: 100} and endpoint.tags == marked:
        return endpoint
    endpoint.traffic, endpoint.tags = {deployment: 100}, marked
    with explained(f"Sending the traffic of {name} to {deployment}"):
        operation = begin(lambda: client.online_endpoints.begin_create_or_update(endpoint))
        seen = _wait(client, name, f"Traffic of endpoint {name}", operation, minutes)
    if seen.phase is not Phase.SUCCEEDED:
        raise DeploymentFailed(
            f"Endpoint {name} did not take its traffic: its state is {seen.status}.",
            "Look at it in the studio and run again.",
        )
    return seen.resource


def _wait(
    client: "MLClient", name: str, what: str, operation: Any | None, minutes: float
) -> Observation:
    limits = Patience({Phase.RUNNING: minutes * 60}, interval=10)
    return wait_for_resource(what, lambda: client.online_endpoints.get(name), limits, operation)


def begin(call: Any) -> Any | None:
    """Begin a change; None where another one is under way, which is then waited for instead."""
    from azure.core.exceptions import HttpResponseError

    try:
        return call()
    except HttpResponseError as error:
        if error.status_code != 409:
            raise
        return None


def delete_endpoint(client: "MLClient", name: str, minutes: float) -> bool:
    """Delete the endpoint with its deployments; returns whether there was one.

    Comes back when the service no longer knows it. Raises DeadlineExceeded after `minutes`.
    """
    return delete_and_wait(
        f"Deleting endpoint {name}",
        lambda: find_endpoint(client, name),
        lambda: client.online_endpoints.begin_delete(name=name),
        minutes,
    )


def delete_and_wait(
    doing: str, find: Callable[[], Any | None], delete: Callable[[], Any], minutes: float
) -> bool:
    """Delete what `find` finds, and wait until it finds nothing; whether there was something.

    Raises DeadlineExceeded after `minutes`.
    """
    from azure.core.exceptions import ResourceNotFoundError

    operation: Any | None = None

    def look() -> Observation:
        nonlocal operation
        existing = find()
        if existing is None:
            return Observation(Phase.SUCCEEDED, "deleted")
        if operation is not None and operation.done():
            operation.result()
        state = status_word(existing.provisioning_state)
        if operation is None and state.lower() != "deleting":
            # Refused while another change is under way: then it is asked for again.
            try:
                operation = begin(delete)
            except ResourceNotFoundError:
                return Observation(Phase.SUCCEEDED, "deleted")
        return Observation(Phase.RUNNING, state)

    if find() is None:
        return False
    with explained(doing):
        seconds = minutes * 60
        limits = Patience({Phase.RUNNING: seconds}, interval=10, error_limit=min(900, seconds))
        wait(doing, look, limits, sleep=lambda seconds: pause(seconds, operation))
    return True


def find_endpoint(client: "MLClient", name: str) -> Any | None:
    """The endpoint of that name, or None."""
    from azure.core.exceptions import ResourceNotFoundError

    with explained(f"Looking up endpoint {name}"):
        try:
            return client.online_endpoints.get(name)
        except ResourceNotFoundError:
            return None
