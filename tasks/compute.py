"""The cluster that runs the job: looked at before the plan, made after it."""

from typing import TYPE_CHECKING, Any

from prefect import task

from tasks.artifacts import run_logger
from tasks.clients import REMOTE, explained, workspace_client
from tasks.config import ComputeChoice
from tasks.errors import QuotaExceeded, UserError
from tasks.polling import Observation, Patience, provisioning_phase, wait_for_resource
from tasks.values import Cluster, ClusterSize, Phase, Usage

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

_KIND = "amlcompute"


@task(name="list VM sizes", task_run_name="list VM sizes", **REMOTE)
def list_sizes(workspace: str) -> list[ClusterSize]:
    """The VM sizes that the workspace's region offers for clusters."""
    with explained("Listing the VM sizes of the workspace's region"):
        return [_size(entity) for entity in workspace_client(workspace).compute.list_sizes()]


@task(name="list usage", task_run_name="list usage", **REMOTE)
def list_usage(workspace: str) -> list[Usage]:
    """The cores in use in the workspace's region against its quotas."""
    with explained("Listing the core quotas of the workspace's region"):
        return [_usage(entity) for entity in workspace_client(workspace).compute.list_usage()]


@task(
    name="look at the cluster",
    task_run_name="look at cluster {choice.cluster}",
    **REMOTE,
)
def find_cluster(workspace: str, choice: ComputeChoice) -> Cluster | None:
    """The cluster of the configured name, or None where it has to be created; creates nothing.

    Raises UserError when the name belongs to a compute that is no cluster.
    """
    entity = _find(workspace_client(workspace), choice.cluster)
    return None if entity is None else _cluster(workspace_client(workspace), entity)


@task(
    name="ensure the cluster",
    task_run_name="ensure cluster {choice.cluster}",
    **REMOTE,
)
def ensure_cluster(
    workspace: str, choice: ComputeChoice, tags: dict[str, str], minutes: float
) -> str:
    """Use the cluster that has this name, or create it; returns its provisioning state.

    `minutes`: the deadline. Raises QuotaExceeded when neither dedicated nor low-priority cores
    are left, UserError when provisioning failed.
    """
    client, logger = workspace_client(workspace), run_logger()
    existing = _find(client, choice.cluster)
    if existing is not None:
        logger.info("Cluster %s (%s) exists.", choice.cluster, existing.size)
        return _wait(client, choice, None, minutes)
    try:
        return _create(client, choice, "dedicated", tags, minutes)
    except QuotaExceeded as error:
        logger.warning(
            "No dedicated cores for %s: trying low-priority. %s", choice.size, error.message
        )
        _discard_failed(client, choice)
    try:
        return _create(client, choice, "low_priority", tags, minutes)
    except QuotaExceeded as error:
        _discard_failed(client, choice)
        raise QuotaExceeded(
            f"Neither dedicated nor low-priority cores are left: {error.message}", error.advice
        ) from error


def _create(
    client: "MLClient", choice: ComputeChoice, tier: str, tags: dict[str, str], minutes: float
) -> str:
    from azure.ai.ml.entities import AmlCompute
    from azure.core.exceptions import HttpResponseError

    cluster = AmlCompute(
        name=choice.cluster,
        size=choice.size,
        min_instances=0,
        max_instances=choice.max_nodes,
        idle_time_before_scale_down=choice.idle_seconds,
        tier=tier,
        tags=tags,
    )
    with explained(f"Creating cluster {choice.cluster} ({choice.size}, {tier})"):
        try:
            operation = client.compute.begin_create_or_update(cluster)
        except HttpResponseError as error:
            if error.status_code != 409:
                raise
            operation = None  # someone else is creating it
        return _wait(client, choice, operation, minutes)


def _wait(client: "MLClient", choice: ComputeChoice, operation: Any | None, minutes: float) -> str:
    patience = Patience({Phase.RUNNING: minutes * 60}, interval=5)
    with explained(f"Creating cluster {choice.cluster} ({choice.size})"):
        seen = wait_for_resource(
            f"Cluster {choice.cluster}",
            lambda: client.compute.get(choice.cluster),
            patience,
            operation,
        )
    if seen.phase is not Phase.SUCCEEDED:
        raise _failure(choice, seen)
    return seen.status


def _failure(choice: ComputeChoice, seen: Observation) -> UserError:
    problem = getattr(seen.resource, "provisioning_errors", None)
    text = str(problem or f"provisioning state {seen.status}")
    message = f"Cluster {choice.cluster} ({choice.size}) was not provisioned: {text}."
    if "quota" in text.lower():
        return QuotaExceeded(
            message, "Ask for more quota of this VM family, or choose another size."
        )
    return UserError(
        message, f"Delete the cluster {choice.cluster} or choose another name, then run again."
    )


def _discard_failed(client: "MLClient", choice: ComputeChoice) -> None:
    """Delete what a refused creation left behind: under its name nothing else can be made."""
    from azure.core.exceptions import ResourceNotFoundError

    cluster = _find(client, choice.cluster)
    if cluster is None or provisioning_phase(cluster.provisioning_state) is not Phase.FAILED:
        return
    try:
        client.compute.begin_delete(choice.cluster).wait(300)
    except ResourceNotFoundError:
        return


def _find(client: "MLClient", name: str) -> Any | None:
    """The cluster of that name, or None. Raises UserError when it is no cluster."""
    from azure.core.exceptions import ResourceNotFoundError

    with explained(f"Looking up cluster {name}"):
        try:
            compute = client.compute.get(name)
        except ResourceNotFoundError:
            return None
    if str(compute.type).lower() != _KIND:
        raise UserError(
            f"Compute {name} is of type {compute.type}, not a compute cluster.",
            "Choose another cluster name in `compute.cluster`.",
        )
    return compute


def _cluster(client: "MLClient", entity: Any) -> Cluster:
    return Cluster(
        name=str(entity.name),
        size=str(entity.size),
        low_priority="low" in str(entity.tier or "").lower(),
        nodes=_allocated(client, str(entity.name)),
        max_nodes=max(1, int(entity.max_instances or 1)),
        has_identity=entity.identity is not None,
    )


def _allocated(client: "MLClient", name: str) -> int:
    """Nodes that the cluster has now. The SDK's entity leaves them out, its REST value does not."""
    operations: Any = client.compute._operation
    answer = operations.get(client.resource_group_name, client.workspace_name, name)
    return int(getattr(answer.properties.properties, "current_node_count", None) or 0)


def _read(entity: Any, *names: str) -> Any:
    """An attribute that the SDK spells in one of several ways, or None."""
    return next((v for name in names if (v := getattr(entity, name, None)) is not None), None)


def _usage(entity: Any) -> Usage:
    name = entity.name if isinstance(entity.name, dict) else {"value": _read(entity.name, "value")}
    return Usage(
        name=str(name.get("value") or name.get("localizedValue") or ""),
        used=int(_read(entity, "current_value", "currentValue") or 0),
        limit=int(entity.limit if entity.limit is not None else -1),
    )


def _size(entity: Any) -> ClusterSize:
    """One size of `compute.list_sizes()`."""
    prices = _prices(_read(entity, "estimated_vm_prices", "estimatedVMPrices"))
    return ClusterSize(
        name=str(entity.name),
        gpus=int(_read(entity, "gpus") or 0),
        vcpus=int(_read(entity, "v_cp_us", "vCPUs", "vcpus") or 0),
        memory_gb=float(_read(entity, "memory_gb", "memoryGB") or 0),
        low_priority=bool(_read(entity, "low_priority_capable", "lowPriorityCapable")),
        family=str(_read(entity, "family") or ""),
        usd_per_hour=prices.get("standard"),
        low_priority_usd_per_hour=prices.get("lowpriority"),
    )


def _prices(estimate: Any) -> dict[str, float]:
    """USD an hour of a Linux VM by tier, in lower case; {} when the service says nothing."""
    if not isinstance(estimate, dict):
        return {}
    in_usd_an_hour = (estimate.get("billingCurrency"), estimate.get("unitOfMeasure"))
    if in_usd_an_hour != ("USD", "OneHour"):
        return {}
    return {
        str(price["vmTier"]).lower(): float(price["retailPrice"])
        for price in estimate.get("values") or ()
        if price.get("osType") == "Linux" and price.get("retailPrice") is not None
    }
