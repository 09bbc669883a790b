"""The endpoint on which the model is tried: made, given its traffic, deleted."""

from typing import TYPE_CHECKING, Any

from prefect import task

from tasks.artifacts import run_logger, terminal_progress, without_dots
from tasks.clients import REMOTE, explained, workspace_client
from tasks.errors import (
    DeadlineExceeded,
    DeploymentFailed,
    QuotaExceeded,
    UserError,
    azure_code_and_text,
    scrub,
)
from tasks.polling import Observation, Patience, look_at_resource, status_word, wait
from tasks.values import LiveEndpoint, Phase, Plan, RegisteredModel

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

_LOG_LINES = 20
_CONTAINERS = ("storage-initializer", "inference-server")
_PROBE_DELAY_SECONDS = 600
_REQUEST_TIMEOUT_MS = 90_000
_UNUSABLE = ("failed", "canceled", "deleting")


@task(
    name="deploy the model",
    task_run_name="deploy to {plan.names.endpoint}",
    tags=["azureml", "paid"],
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
        _ensure_deployment(client, plan, model, tags, minutes)
        progress.update(90, "traffic")
        endpoint = _send_traffic(client, names.endpoint, names.deployment, minutes)
        progress.update(100, "ready")
    run_logger().info("Endpoint %s answers at %s", names.endpoint, endpoint.scoring_uri)
    return LiveEndpoint(
        endpoint=names.endpoint,
        deployment=names.deployment,
        scoring_uri=str(endpoint.scoring_uri),
        size=serving.size,
    )


def ensure_endpoint(
    client: "MLClient", name: str, description: str, tags: dict[str, str], minutes: float
) -> Any:
    """The endpoint of that name in working order; one that failed or is going is made anew."""
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    existing = find_endpoint(client, name)
    if existing is not None and status_word(existing.provisioning_state).lower() in _UNUSABLE:
        delete_endpoint(client, name, minutes)
        existing = None
    wanted = ManagedOnlineEndpoint(
        name=name, description=description, auth_mode="key", tags=dict(tags)
    )
    with explained(f"Creating endpoint {name}"):
        operation = None
        if existing is None:
            operation = _begin(lambda: client.online_endpoints.begin_create_or_update(wanted))
        seen = wait(
            f"Endpoint {name}",
            look_at_resource(lambda: client.online_endpoints.get(name), operation),
            Patience({Phase.RUNNING: minutes * 60}, interval=10),
        )
    if seen.phase is not Phase.SUCCEEDED:
        raise DeploymentFailed(
            f"Endpoint {name} was not created: its state is {seen.status}.",
            "Look at it in the studio; the model is registered and can be deployed again.",
        )
    return seen.resource


def _ensure_deployment(
    client: "MLClient", plan: Plan, model: RegisteredModel, tags: dict[str, str], minutes: float
) -> None:
    names = plan.names
    existing = _find_deployment(client, names.endpoint, names.deployment)
    operation = None
    try:
        if not _is_usable(existing, model):
            wanted = _deployment(plan, model, tags)
            with explained(f"Creating deployment {names.deployment} on {names.endpoint}"):
                operation = _begin(lambda: client.online_deployments.begin_create_or_update(wanted))
        with explained(f"Creating deployment {names.deployment} on {names.endpoint}"):
            seen: Observation = wait(
                f"Deployment {names.deployment} on {names.endpoint}",
                look_at_resource(
                    lambda: client.online_deployments.get(names.deployment, names.endpoint),
                    operation,
                ),
                Patience({Phase.RUNNING: minutes * 60}, interval=10),
            )
    except (QuotaExceeded, DeadlineExceeded):
        raise
    except UserError as error:
        raise _failure(client, plan, error.message) from error
    if seen.phase is not Phase.SUCCEEDED:
        raise _failure(client, plan, f"its state is {seen.status}")


def _is_usable(existing: Any | None, model: RegisteredModel) -> bool:
    """Whether the deployment that is there serves this model and has not failed."""
    if existing is None or status_word(existing.provisioning_state).lower() in _UNUSABLE:
        return False
    tail = f"/models/{model.name}/versions/{model.version}".lower()
    served = str(existing.model).lower()
    return served.endswith((tail, f"{model.name}:{model.version}".lower()))


def _deployment(plan: Plan, model: RegisteredModel, tags: dict[str, str]) -> Any:
    from azure.ai.ml.entities import (
        ManagedOnlineDeployment,
        OnlineRequestSettings,
        ProbeSettings,
    )

    serving = plan.config.serving
    return ManagedOnlineDeployment(
        name=plan.names.deployment,
        endpoint_name=plan.names.endpoint,
        model=model.id,
        instance_type=plan.serving_size.name if plan.serving_size else serving.size,
        instance_count=serving.instances,
        liveness_probe=ProbeSettings(initial_delay=_PROBE_DELAY_SECONDS),
        request_settings=OnlineRequestSettings(request_timeout_ms=_REQUEST_TIMEOUT_MS),
        tags=dict(tags),
    )


def _failure(client: "MLClient", plan: Plan, reason: str) -> DeploymentFailed:
    lines = deployment_logs(client, plan.names.endpoint, plan.names.deployment)
    text = "".join(f"\n    {line}" for line in lines)
    logs = f"\n  Its last log lines:{text}\n " if lines else ""
    return DeploymentFailed(
        f"Deployment {plan.names.deployment} on {plan.names.endpoint} failed: {reason}{logs}",
        "The model is registered: correct what is named and run again; the job is not repeated.",
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


def _send_traffic(client: "MLClient", name: str, deployment: str, minutes: float) -> Any:
    endpoint = client.online_endpoints.get(name)
    if endpoint.traffic == {deployment: 100}:
        return endpoint
    endpoint.traffic = {deployment: 100}
    with explained(f"Sending the traffic of {name} to {deployment}"):
        operation = _begin(lambda: client.online_endpoints.begin_create_or_update(endpoint))
        seen = wait(
            f"Traffic of endpoint {name}",
            look_at_resource(lambda: client.online_endpoints.get(name), operation),
            Patience({Phase.RUNNING: minutes * 60}, interval=10),
        )
    if seen.phase is not Phase.SUCCEEDED:
        raise DeploymentFailed(
            f"Endpoint {name} did not take its traffic: its state is {seen.status}.",
            "Look at it in the studio and run again.",
        )
    return seen.resource


def _begin(call: Any) -> Any | None:
    """Begin a change; None where another one is under way, which is then waited for instead."""
    from azure.core.exceptions import HttpResponseError

    try:
        return call()
    except HttpResponseError as error:
        if error.status_code != 409:
            raise
        return None


@task(
    name="delete the endpoint",
    task_run_name="delete endpoint {name}",
    tags=["azureml"],
    **REMOTE,
)
def tear_down(workspace: str, name: str, minutes: float) -> str | None:
    """Delete the endpoint and wait until it is gone; its name, or None if there was none."""
    with terminal_progress(f"Deleting {name}", key="deletion-progress"), without_dots():
        deleted = delete_endpoint(workspace_client(workspace), name, minutes)
    run_logger().info("Endpoint %s %s.", name, "is deleted" if deleted else "was not there")
    return name if deleted else None


def delete_endpoint(client: "MLClient", name: str, minutes: float) -> bool:
    """Delete the endpoint with its deployments; returns whether there was one.

    Comes back when the service no longer knows it. Raises DeadlineExceeded after `minutes`.
    """
    from azure.core.exceptions import ResourceNotFoundError

    if find_endpoint(client, name) is None:
        return False

    def look() -> Observation:
        existing = find_endpoint(client, name)
        if existing is None:
            return Observation(Phase.SUCCEEDED, "deleted")
        if operation is not None and operation.done():
            operation.result()
        return Observation(Phase.RUNNING, status_word(existing.provisioning_state))

    with explained(f"Deleting endpoint {name}"):
        try:
            operation = _begin(lambda: client.online_endpoints.begin_delete(name=name))
        except ResourceNotFoundError:
            return False
        wait(
            f"Deleting endpoint {name}", look, Patience({Phase.RUNNING: minutes * 60}, interval=10)
        )
    return True


def find_endpoint(client: "MLClient", name: str) -> Any | None:
    """The endpoint of that name, or None."""
    from azure.core.exceptions import ResourceNotFoundError

    with explained(f"Looking up endpoint {name}"):
        try:
            return client.online_endpoints.get(name)
        except ResourceNotFoundError:
            return None


def _find_deployment(client: "MLClient", endpoint: str, name: str) -> Any | None:
    from azure.core.exceptions import ResourceNotFoundError

    with explained(f"Looking up deployment {name}"):
        try:
            return client.online_deployments.get(name, endpoint)
        except ResourceNotFoundError:
            return None
