"""Where the outputs of jobs are, and what they become when they have a name."""

from typing import TYPE_CHECKING, Any

from emulator.compute.expressions import fill_path
from emulator.compute.plan import Target
from emulator.compute.records import job_name
from emulator.compute.values import FILE_TYPES
from emulator.resource_manager.assets import resolve_uri
from emulator.resource_manager.resources import envelope

if TYPE_CHECKING:
    from emulator.core import Emulator


def output_uri(target: Target, job: str, datastore: str) -> str:
    """The address of an output of `job`: the user's own path, or the job's folder for it."""
    if target.uri:
        return fill_path(target.uri, job, target.name, datastore)
    uri = f"azureml://datastores/{datastore}/paths/azureml/{job}/{target.name}"
    return uri if target.type in FILE_TYPES else uri + "/"


def register_asset(emulator: "Emulator", job_path: str, name: str, target: Target, uri: str) -> str:
    """Make a version of data or of a model from an output that was given an asset name.

    Gives the asset's path. A version that is there already is left as it is: assets do not
    change, and a job that is repeated by a retry must not fail for that.
    """
    workspace = job_path.rpartition("/jobs/")[0]
    kind = "models" if target.type.endswith("model") else "data"
    container = f"{workspace}/{kind}/{target.asset_name}"
    store = emulator.store
    versions = store.children(f"{container}/versions")
    version = target.asset_version or str(len(versions) + 1)
    path = f"{container}/versions/{version}"
    if store.get(path) is not None:
        return path
    uri = resolve_uri(emulator, uri, workspace)
    data_type = "uri_file" if target.type in FILE_TYPES else target.type
    latest = {"latestVersion": version, "nextVersion": str(len(versions) + 2)}
    typed = {"dataType": data_type} if kind == "data" else {}
    common: dict[str, Any] = {"isArchived": False, "tags": {}, "properties": {}}
    asset = envelope(store, container, kind, {"properties": common | latest | typed})
    store.put(container, asset)
    details: dict[str, Any] = (
        {"modelType": target.type, "modelUri": uri, "flavors": {}}
        if kind == "models"
        else {"dataType": data_type, "dataUri": uri}
    )
    details |= {"isAnonymous": False, "jobName": job_name(job_path), "jobOutputName": name}
    store.put(path, envelope(store, path, f"{kind}/versions", {"properties": common | details}))
    return path
