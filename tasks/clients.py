"""Clients for the workspace and the registry, made from the block's name."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from blocks.azureml import AzureMLWorkspace, WorkspaceConfigurationError
from tasks.artifacts import run_logger
from tasks.errors import NotFound, UserError
from tasks.explaining import WHILE, explain, is_transient, retry_on_transient

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

_RETRY_SECONDS = float(os.environ.get("FINETUNE_RETRY_SECONDS", "5"))
"""The first pause before another try; each one after it is twice as long."""

REMOTE: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(backoff_factor=_RETRY_SECONDS),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": retry_on_transient,
    "cache_policy": NO_CACHE,
    "persist_result": False,
}
"""Options of every task that calls Azure: tried again on transient errors, never cached.

No task has tags: Prefect asks its server for a concurrency slot for each run of one that has, and
on SQLite that request often meets another write and is repeated after two seconds.
"""


@cache
def workspace_block(name: str) -> AzureMLWorkspace:
    """The block document `name`, loaded once per process. Raises NotFound when there is none."""
    try:
        block = AzureMLWorkspace.load(name, _sync=True)  # type: ignore[call-arg]
    except ValueError as error:
        if "Unable to find block document" not in str(error):
            raise
        raise NotFound(
            f"There is no block {name!r} of type Azure ML Workspace.",
            "Make it in Prefect's UI (Blocks), or with "
            f"`AzureMLWorkspace(workspace_name=...).save({name!r})`.",
        ) from error
    assert isinstance(block, AzureMLWorkspace)
    return block


# They say which classes are experimental, what is about to be checked, and every credential that
# was tried; what matters of it is in the error that follows.
for _chatty in (
    "ai.ml._utils._experimental",
    "ai.ml.operations._online_deployment_operations",
    "identity",
):
    logging.getLogger(f"azure.{_chatty}").setLevel(logging.ERROR)


@cache
def workspace_client(name: str) -> "MLClient":
    """A client for the workspace of the block `name`, one per process."""
    with explained(f"Opening the workspace of block {name!r}"):
        return workspace_block(name).workspace_client()


@cache
def registry_client(name: str) -> "MLClient":
    """A client for the registry of the block `name`, one per process."""
    block = workspace_block(name)
    try:
        with explained(f"Opening the registry {block.registry_name}"):
            return block.registry_client()
    except NotFound as error:
        advice = f"Correct the registry name in the workspace block {name!r}."
        raise NotFound(error.message, advice) from error


@task(name="open the workspace", task_run_name="open workspace {name}", **REMOTE)
def open_workspace(name: str) -> str:
    """Sign in and read the workspace, before anything else; returns its ARM id."""
    client = workspace_client(name)
    with explained(f"Opening workspace {client.workspace_name}"):
        workspace = client.workspaces.get(client.workspace_name)
    run_logger().info(
        "Workspace %s in %s (resource group %s); it was named by %s.",
        workspace.name,
        workspace.location,
        client.resource_group_name,
        workspace_block(name).address().source,
    )
    return str(workspace.id)


def forget_clients() -> None:
    """Drop the clients of this process, after a block has changed."""
    for cached in (workspace_block, workspace_client, registry_client):
        cached.cache_clear()


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn the lasting errors of a service into a UserError that says what was being done.

    Transient errors pass through for the retry above to see them; `explain` says of the last one
    too what was being done.
    """
    try:
        yield
    except WorkspaceConfigurationError as error:
        raise UserError(str(error)) from error
    except Exception as error:
        if is_transient(error):
            error.add_note(f"{WHILE}{doing}")
            raise
        clear = explain(error, doing)
        if clear is None or clear is error:
            raise
        raise clear from error
