"""A model on an endpoint: its deployment is made, looked at, deleted."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefect import task

from tasks.artifacts import run_logger, terminal_progress, without_dots
from tasks.clients import REMOTE, explained, workspace_client
from tasks.endpoint import UNUSABLE, begin, delete_and_wait, ensure_endpoint, send_traffic
from tasks.errors import DeadlineExceeded, DeploymentFailed, QuotaExceeded, UserError
from tasks.explaining import azure_code_and_text
from tasks.polling import Patience, status_word, wait_for_resource
from tasks.scrubbing import scrub
from tasks.values import LiveEndpoint, Phase, Plan, RegisteredModel

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

_LOG_LINES = 20
_CONTAINERS = ("storage-initializer", "inference-server")
_PROBE_DELAY_SECONDS = 600
_REQUEST_TIMEOUT_MS = 90_000


@dataclass(frozen=True)
class Order:
    """A deployment as it shall be."""

    endpoint: str
    name: str
    model: RegisteredModel
    size: str
    instances: int
    tags: dict[str, str]
    concurrent: int | None = None
    """Requests that one instance answers at a time; None for Azure's default, 1."""
    queue_seconds: float | None = None
    """How long a request may wait for its turn; None for Azure's default, half a second."""


@task(
    name="deploy the model",
    task_run_name="deploy to {plan.names.endpoint}",
    **REMOTE,
)
def deploy_model(
    workspace: str, plan: Plan, model: RegisteredModel, tags: dict[str, str]
) -> LiveEndpoint:
    """An endpoint with key authentication whose whole traffic goes to the model.

    What is there already is adopted; what has failed is replaced. Raises DeploymentFailed with
    the last lines of the deployment's logs, DeadlineExceeded, QuotaExceeded.
    """
    client, names, serving = workspace_client(workspace), plan.names, plan.config.serving
    minutes = plan.config.deadlines.deploy
    title = f"Endpoint {names.endpoint}"
    with terminal_progress(title, key="deployment-progress") as progress, without_dots():
        progress.update(5, "endpoint")
        ensure_endpoint(client, names.endpoint, plan.names.display_name, tags, minutes)
        progress.update(25, f"deployment {names.deployment}")
        ensure_deployment(client, _order(plan, model, tags), minutes)
        progress.update(90, "traffic")
        endpoint = send_traffic(client, names.endpoint, names.deployment, tags, minutes)
        progress.update(100, "ready")
    run_logger().info("Endpoint %s answers at %s", names.endpoint, endpoint.scoring_uri)
    return LiveEndpoint(
        endpoint=names.endpoint,
        deployment=names.deployment,
        scoring_uri=str(endpoint.scoring_uri),
        size=serving.size,
    )


def _order(plan: Plan, model: RegisteredModel, tags: dict[str, str]) -> Order:
    names, serving = plan.names, plan.config.serving
    size = plan.serving_size.name if plan.serving_size else serving.size
    return Order(names.endpoint, names.deployment, model, size, serving.instances, tags)


def ensure_deployment(client: "MLClient", order: Order, minutes: float) -> None:
    """The deployment in working order; one that failed is made anew, any other one is adopted.

    Raises DeploymentFailed with the last lines of its logs, DeadlineExceeded, QuotaExceeded.
    """
    existing = find_deployment(client, order.endpoint, order.name)
    if existing is not None and status_word(existing.provisioning_state).lower() == "deleting":
        delete_deployment(client, order.endpoint, order.name, minutes)
        existing = None
    operation = None
    try:
        with explained(f"Creating deployment {order.name} on {order.endpoint}"):
            if not is_usable(existing, order.model):
                wanted = _deployment(order)
                operation = begin(lambda: client.online_deployments.begin_create_or_update(wanted))
            seen = wait_for_resource(
                f"Deployment {order.name} on {order.endpoint}",
                lambda: client.online_deployments.get(order.name, order.endpoint),
                Patience({Phase.RUNNING: minutes * 60}, interval=10),
                operation,
            )
    except (QuotaExceeded, DeadlineExceeded):
        raise
    except UserError as error:
        raise _failure(client, order, error.message) from error
    if seen.phase is not Phase.SUCCEEDED:
        raise _failure(client, order, f"its state is {seen.status}")


def is_usable(existing: Any | None, model: RegisteredModel) -> bool:
    """Whether the deployment that is there serves this model and has not failed."""
    if existing is None or status_word(existing.provisioning_state).lower() in UNUSABLE:
        return False
    tail = f"/models/{model.name}/versions/{model.version}".lower()
    served = str(existing.model).lower()
    return served.endswith((tail, f"{model.name}:{model.version}".lower()))


def _deployment(order: Order) -> Any:
    from azure.ai.ml.entities import (
        ManagedOnlineDeployment,
        OnlineRequestSettings,
        ProbeSettings,
    )

    queue = order.queue_seconds
    return ManagedOnlineDeployment(
        name=order.name,
        endpoint_name=order.endpoint,
        model=order.model.id,
        instance_type=order.size,
        instance_count=order.instances,
        liveness_probe=ProbeSettings(initial_delay=_PROBE_DELAY_SECONDS),
        request_settings=OnlineRequestSettings(
            request_timeout_ms=_REQUEST_TIMEOUT_MS,
            max_concurrent_requests_per_instance=order.concurrent,
            max_queue_wait_ms=None if queue is None else round(queue * 1000),
        ),
        tags=dict(order.tags),
    )


def _failure(client: "MLClient", order: Order, reason: str) -> DeploymentFailed:
    lines = deployment_logs(client, order.endpoint, order.name)
    text = "".join(f"\n    {line}" for line in lines)
    logs = f"\n  Its last log lines:{text}\n " if lines else ""
    return DeploymentFailed(
        f"Deployment {order.name} on {order.endpoint} failed: {reason}{logs}",
        "The model is registered: correct what is named and run again; the job is not repeated.",
    )


def delete_deployment(client: "MLClient", endpoint: str, name: str, minutes: float) -> bool:
    """Delete the deployment, which must have no traffic; returns whether there was one.

    Comes back when the service no longer knows it. Raises DeadlineExceeded after `minutes`.
    """
    return delete_and_wait(
        f"Deleting deployment {name} of {endpoint}",
        lambda: find_deployment(client, endpoint, name),
        lambda: client.online_deployments.begin_delete(name, endpoint),
        minutes,
    )


def deployment_logs(client: "MLClient", endpoint: str, deployment: str) -> list[str]:
    """The last lines of the deployment's containers; none where they cannot be read."""
    lines: list[str] = []
    for container in _CONTAINERS:
        try:
            content = client.online_deployments.get_logs(
                name=deployment, endpoint_name=endpoint, lines=_LOG_LINES, container_type=container
            )
        except Exception as error:  # the logs are an extra: that it failed is known
            run_logger().debug("no logs: %s", azure_code_and_text(error)[1])
            continue
        lines += [line for line in scrub(content).splitlines() if line.strip()][-_LOG_LINES:]
    return list(dict.fromkeys(lines))[-_LOG_LINES:]


def find_deployment(client: "MLClient", endpoint: str, name: str) -> Any | None:
    """The deployment of that name, or None."""
    from azure.core.exceptions import ResourceNotFoundError

    with explained(f"Looking up deployment {name}"):
        try:
            return client.online_deployments.get(name, endpoint)
        except ResourceNotFoundError:
            return None
