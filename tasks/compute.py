"""The cluster that runs the job: looked at before the plan, made after it."""

from typing import TYPE_CHECKING, Any

from prefect import task

from tasks.artifacts import run_logger
from tasks.clients import REMOTE, explained, workspace_client
from tasks.config import ComputeChoice
from tasks.errors import QuotaExceeded, UserError
from tasks.polling import Observation, Patience, look_at_resource, wait
from tasks.values import ClusterSize, Phase

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

_KIND = "amlcompute"


@task(name="list VM sizes", task_run_name="list VM sizes", tags=["azureml"], **REMOTE)
def list_sizes(workspace: str) -> list[ClusterSize]:
    """The VM sizes that the workspace's region offers for clusters."""
    with explained("Listing the VM sizes of the workspace's region"):
        return [_size(entity) for entity in workspace_client(workspace).compute.list_sizes()]


@task(
    name="look at the cluster",
    task_run_name="look at cluster {choice.cluster}",
    tags=["azureml"],
    **REMOTE,
)
def look_at_cluster(workspace: str, choice: ComputeChoice) -> str:
    """The VM size that the job will run on; creates nothing.

    An existing cluster's own size wins over the one in the configuration.
    """
    cluster = _find(workspace_client(workspace), choice.cluster)
    if cluster is None:
        return choice.size
    logger = run_logger()
    if cluster.size.lower() != choice.size.lower():
        logger.warning(
            "Cluster %s exists with size %s: the configured size %s is not used.",
            choice.cluster,
            cluster.size,
            choice.size,
        )
    return str(cluster.size)


@task(
    name="ensure the cluster",
    task_run_name="ensure cluster {choice.cluster}",
    tags=["azureml"],
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
        return _create(client, choice, "low_priority", tags, minutes)


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
        seen = wait(
            f"Cluster {choice.cluster}",
            look_at_resource(lambda: client.compute.get(choice.cluster), operation),
            patience,
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
    """Delete what a refused creation left behind, so that another tier can be asked for."""
    from azure.core.exceptions import ResourceNotFoundError

    cluster = _find(client, choice.cluster)
    if cluster is None:
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


def _size(entity: Any) -> ClusterSize:
    """One size of `compute.list_sizes()`; its attributes have two spellings in the SDK."""

    def read(*names: str) -> Any:
        return next((v for name in names if (v := getattr(entity, name, None)) is not None), None)

    return ClusterSize(
        name=str(entity.name),
        gpus=int(read("gpus") or 0),
        vcpus=int(read("v_cp_us", "vCPUs", "vcpus") or 0),
        memory_gb=float(read("memory_gb", "memoryGB") or 0),
        low_priority=bool(read("low_priority_capable", "lowPriorityCapable")),
    )
