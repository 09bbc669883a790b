"""The container of the workspace's default datastore, opened as the SDK itself opens it."""

from typing import TYPE_CHECKING, Any

from tasks.clients import workspace_block, workspace_client

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

STORAGE_SCOPE = "https://storage.azure.com/.default"


def default_container(workspace: str) -> "ContainerClient":
    """A client for the container behind the default datastore of the block `workspace`.

    It signs with what the datastore is set up for: its key, its signature, or, when it keeps no
    secret, the block's own credential. Asks the service for the datastore; nothing is kept.
    """
    from azure.storage.blob import ContainerClient

    store: Any = workspace_client(workspace).datastores.get_default(include_secrets=True)
    secrets = store.credentials
    kept = getattr(secrets, "account_key", None) or getattr(secrets, "sas_token", None)
    suffix = store.endpoint or "core.windows.net"
    return ContainerClient(
        f"{store.protocol or 'https'}://{store.account_name}.blob.{suffix}",
        store.container_name,
        credential=kept or workspace_block(workspace).get_credential(),
    )


def reach_storage(workspace: str) -> None:
    """List one name of the default container: it is there, and may be read, from here."""
    pages = default_container(workspace).list_blobs(results_per_page=1).by_page()
    next(iter(next(pages, iter(()))), None)
