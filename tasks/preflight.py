"""Looks at what the run will need, before anything is billed: signing in, workspace, storage."""

from collections.abc import Sequence
from typing import Any

from prefect import task

from tasks.artifacts import run_logger
from tasks.clients import REMOTE, explained, workspace_block, workspace_client
from tasks.errors import PermissionProblem, UserError
from tasks.storage import STORAGE_SCOPE, default_container, reach_storage
from tasks.values import Cluster, ClusterSize, FoundationModel

PROVIDER = "Microsoft.MachineLearningServices"
_MANAGEMENT = "https://management.azure.com"
# What azure-ai-ml and azureml-mlflow ask for: resource manager, registry, run history and the
# tracking server take the first token, the submission of a job the second.
SCOPES = {
    "management, registry and tracking": f"{_MANAGEMENT}/.default",
    "the machine-learning data plane": "https://ml.azure.com/.default",
}


@task(name="sign in", task_run_name="sign in", **REMOTE)
def sign_in(workspace: str) -> None:
    """Get a token for every audience that the run will need.

    Raises PermissionProblem for the first one that is refused, with Azure's own text. The
    storage's audience is needed only where the datastore keeps no secret: looking at it asks.
    """
    with explained("Signing in"):
        credential = workspace_block(workspace).get_credential()
    for audience, scope in SCOPES.items():
        with explained(f"Signing in for {audience} ({scope})"):
            credential.get_token(scope)


@task(name="look at the workspace", task_run_name="look at the workspace", **REMOTE)
def look_at_workspace(workspace: str) -> str:
    """The region of the workspace.

    Raises UserError when it is not ready for jobs, or has no address for metrics.
    """
    client = workspace_client(workspace)
    with explained(f"Opening workspace {client.workspace_name}"):
        # Its REST value: the entity that the SDK makes of it costs the seconds of mlflow's import.
        operations: Any = client.workspaces._operation
        found = operations.get(client.resource_group_name, client.workspace_name)
    run_logger().info(
        "Workspace %s in %s (resource group %s); it was named by %s.",
        found.name,
        found.location,
        client.resource_group_name,
        workspace_block(workspace).address().source,
    )
    if not found.properties.ml_flow_tracking_uri:
        raise UserError(
            f"Workspace {found.name} has no tracking address: the metrics cannot be read.",
            "Check in the portal that the workspace was created completely.",
        )
    return str(found.location)


@task(name="look at the provider", task_run_name="look at the provider", **REMOTE)
def look_at_provider(workspace: str) -> None:
    """Raise UserError unless the subscription has registered the machine-learning provider."""
    from azure.core import PipelineClient
    from azure.core.pipeline.policies import BearerTokenCredentialPolicy, RetryPolicy
    from azure.core.rest import HttpRequest

    client = workspace_client(workspace)
    sign = BearerTokenCredentialPolicy(
        workspace_block(workspace).get_credential(), f"{_MANAGEMENT}/.default"
    )
    policies = [RetryPolicy(retry_total=2), sign]
    management: Any = PipelineClient(_MANAGEMENT, policies=policies)
    address = f"{_MANAGEMENT}/subscriptions/{client.subscription_id}/providers/{PROVIDER}"
    with explained(f"Looking at the resource provider {PROVIDER}"), management:
        response = management.send_request(HttpRequest("GET", f"{address}?api-version=2021-04-01"))
        response.raise_for_status()
        state = str(response.json().get("registrationState"))
    if state.lower() != "registered":
        raise UserError(
            f"The subscription has not registered the resource provider {PROVIDER}: it is {state}.",
            f"Run `az provider register --namespace {PROVIDER}` and wait until it is done.",
        )


@task(name="look at the storage", task_run_name="look at the storage", **REMOTE)
def look_at_storage(workspace: str) -> None:
    """Reach the default datastore, where the data goes, with the rights that the SDK will have."""
    with explained("Reading the workspace's default datastore"):
        try:
            reach_storage(workspace)
        except Exception as error:
            if getattr(error, "status_code", None) != 403:
                raise
            container = default_container(workspace)
            raise PermissionProblem(
                f"The storage account {container.account_name} of the workspace refused to list "
                f"the container {container.container_name}.",
                "Give the identity the role Storage Blob Data Contributor on it, and allow this "
                f"network in its firewall. Where it takes identities only, the audience is "
                f"{STORAGE_SCOPE}.",
            ) from error


def check_min_spec(
    spec: str | None, size: ClusterSize, allowed: Sequence[str] | None, model: FoundationModel
) -> tuple[str, ...]:
    """Warnings when the size is below the model's own minimum, "vCPUs|GPUs|GB of memory|...".

    The minimum says nothing of the GPUs' memory, and neither does the region: so nothing is
    said of it either. Raises UserError when no list allows the size nevertheless.
    """
    numbers = [part.strip() for part in (spec or "").split("|")]
    if len(numbers) < 3 or not all(number.isdigit() for number in numbers[:3]):
        return ()
    vcpus, gpus, memory = (int(number) for number in numbers[:3])
    short = [
        f"{have:g} of {need} {what}"
        for have, need, what in (
            (size.vcpus, vcpus, "vCPUs"),
            (size.gpus, gpus, "GPUs"),
            (size.memory_gb, memory, "GB of memory"),
        )
        if have < need
    ]
    if not short:
        return ()
    text = f"{size.name} is below the minimum that {model.name} names: {', '.join(short)}."
    if allowed is None:
        raise UserError(text, "Choose a larger size.")
    return (text,)


def identity_warning(cluster: Cluster | None, name: str) -> str | None:
    """What to know when the cluster's nodes have no managed identity; None when they have one.

    Most steps run without one. One that opens the workspace itself does not, and its error does
    not name the cluster: so this is a warning.
    """
    if cluster is not None and cluster.has_identity:
        return None
    made = "has" if cluster is not None else "is created with"
    return (
        f"Cluster {name} {made} no managed identity. Should a step fail with 'Failed to create ML "
        "Client', assign it one with the role AzureML Data Scientist on the workspace."
    )
