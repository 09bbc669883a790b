"""The model on the endpoint: a deployment that takes the whole traffic."""

from typing import TYPE_CHECKING, Any

from prefect import task

from tasks.artifacts import run_logger, terminal_progress, without_dots
from tasks.clients import REMOTE, explained, workspace_client
from tasks.endpoint import UNUSABLE, begin, ensure_endpoint, send_traffic
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
        _ensure_deployment(client, plan, model, tags, minutes)
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
                operation = begin(lambda: client.online_deployments.begin_create_or_update(wanted))
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
    if existing is None or status_word(existing.provisioning_state).lower() in UNUSABLE:
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


def _find_deployment(client: "MLClient", endpoint: str, name: str) -> Any | None:
    from azure.core.exceptions import ResourceNotFoundError

    with explained(f"Looking up deployment {name}"):
        try:
            return client.online_deployments.get(name, endpoint)
        except ResourceNotFoundError:
            return None
