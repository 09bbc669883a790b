"""A script: exits with 1 if threads that are the first to read an answer read it wrongly."""

import multiprocessing
import sys
import threading
from typing import Any

from blocks.azureml import AzureMLWorkspace

DATASTORE: dict[str, Any] = {
    "name": "workspaceblobstore",
    "properties": {
        "datastoreType": "AzureBlob",
        "accountName": "a",
        "containerName": "c",
        "credentials": {"credentialsType": "AccountKey", "secrets": {"secretsType": "AccountKey"}},
    },
}
THREADS, PROCESSES = 6, 40


def first_use() -> None:
    """Some threads read the datastore, all at once."""
    from azure.ai.ml._restclient.arm_ml_service._utils.model_base import _deserialize
    from azure.ai.ml._restclient.arm_ml_service.models import (
        AccountKeyDatastoreCredentials,
        Datastore,
    )

    sys.setswitchinterval(1e-6)
    together, right = threading.Barrier(THREADS), []

    def read() -> None:
        together.wait()
        credentials = _deserialize(Datastore, DATASTORE).properties.credentials
        right.append(isinstance(credentials, AccountKeyDatastoreCredentials))

    threads = [threading.Thread(target=read) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.exit(0 if right == [True] * THREADS else 1)


def main() -> int:
    block = AzureMLWorkspace(subscription_id="s", resource_group="g", workspace_name="w")
    assert block.workspace_client()
    # A fork is a process in which no answer has been read yet.
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=first_use) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
        process.join()
    return int(any(process.exitcode for process in processes))


if __name__ == "__main__":
    raise SystemExit(main())
