"""What is wrong with a workspace, as the service's diagnosis tells it."""

from typing import TYPE_CHECKING

from emulator.blob_store import BlobError
from emulator.resource_manager.dependents import dependents, exists
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

_RESULTS = (
    "userDefinedRouteResults",
    "networkSecurityRuleResults",
    "resourceLockResults",
    "dnsResolutionResults",
    "storageAccountResults",
    "keyVaultResults",
    "containerRegistryResults",
    "applicationInsightsResults",
    "otherResults",
)

Result = dict[str, str]


def diagnose(emulator: "Emulator", workspace: Resource) -> dict[str, list[Result]]:
    """The problems of a workspace by kind. There is no network here that could have any."""
    found: dict[str, list[Result]] = {kind: [] for kind in _RESULTS}
    for key, path in dependents(workspace).items():
        if not exists(emulator, path):
            found[f"{key}Results"].append(
                _error(
                    f"{key[0].upper()}{key[1:]}NotFound",
                    f"The workspace names {path}, which does not exist. It was deleted.",
                )
            )
    datastores = emulator.store.children(f"{workspace['id']}/datastores")
    if not any(datastore["properties"].get("isDefault") for datastore in datastores):
        found["otherResults"].append(
            _error("DefaultDatastoreNotFound", "The workspace has no default datastore.")
        )
    for datastore in datastores:
        if problem := _missing_container(emulator, datastore):
            found["storageAccountResults"].append(problem)
    return found


def _missing_container(emulator: "Emulator", datastore: Resource) -> Result | None:
    """The problem of a datastore in the local account whose container is gone."""
    properties = datastore["properties"]
    container = str(properties.get("containerName") or properties.get("filesystem") or "")
    if properties.get("accountName") != emulator.config.account or not container:
        return None
    try:
        if emulator.blobs.has_container(container):
            return None
    except BlobError:
        pass
    return _error(
        "StorageContainerNotFound",
        f"The container {container} of the datastore {datastore['name']} does not exist in the "
        f"storage account {properties['accountName']}.",
    )


def _error(code: str, message: str) -> Result:
    return {"code": code, "level": "Error", "message": message}
