"""Where the files of a registered model are: MLflow's addresses and Azure ML's, both ways."""

import re
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from emulator.clock import CLOCK
from emulator.http import AzureError
from emulator.store import Resource
from emulator.uris import local_path

if TYPE_CHECKING:
    from emulator.core import Emulator

_RUN = re.compile(r".*/runs/(?P<run>[^/]+)/artifacts(?:/(?P<path>.*))?")
_PROXIED = re.compile(r"mlflow-artifacts:/+(?P<path>.*)")
_UPLOADED = re.compile(r"azureml://artifacts/(?P<path>.*)")
_OF_A_RUN = re.compile(
    r".*/datastores/workspaceartifactstore/paths/ExperimentRun/dcid\.([^/]+)/(.*)"
)
_OF_AN_UPLOAD = re.compile(r".*/datastores/workspaceartifactstore/paths/(LocalUpload/[^/]+/.+)")


def model_uri(emulator: "Emulator", source: str) -> str:
    """The address in the workspace's storage of what a client registers as a model.

    Raises AzureError for one that is not in it.
    """
    if match := _RUN.fullmatch(source):
        return _artifact(emulator, f"ExperimentRun/dcid.{match['run']}/{match['path'] or ''}")
    if match := _PROXIED.fullmatch(source) or _UPLOADED.fullmatch(source):
        return _artifact(emulator, match["path"])
    if source.startswith("azureml:"):
        local_path(emulator, source)
        return source
    raise AzureError(
        400,
        "UserError",
        f"The local Azure ML registers models from runs and from the workspace's storage, not "
        f"from {source}.",
    )


def is_of_this_machine(source: str) -> bool:
    """Whether a source is a file or folder here, by its whole path."""
    return source.startswith(("file:///", "/"))


def upload(emulator: "Emulator", source: str) -> str:
    """Copy a job's files into the workspace's storage, where MLflow's plugin uploads them to.

    Gives their address; AzureError 400 when there are none.
    """
    path = Path(unquote(urlsplit(source).path)).resolve()
    if not path.exists():
        raise AzureError(400, "UserError", f"There is nothing at {source}.")
    name = f"LocalUpload/{CLOCK.now():%y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}/{path.name}"
    target = emulator.blobs.path(emulator.config.artifact_container, name)
    target.parent.mkdir(parents=True)
    if path.is_dir():
        shutil.copytree(path, target)
    else:
        shutil.copy(path, target)
    return _artifact(emulator, name)


def _artifact(emulator: "Emulator", path: str) -> str:
    config = emulator.config
    return (
        f"azureml://subscriptions/{config.subscription}/resourceGroups/{config.resource_group}"
        f"/workspaces/{config.workspace}/datastores/workspaceartifactstore/paths/{path}"
    )


def download_uri(emulator: "Emulator", version: Resource, in_job: bool) -> str:
    """Where MLflow reads a model's files: as artifacts of its run or its upload, or where they lie.

    A folder that is read as an artifact keeps its name where it is downloaded to, as in Azure.
    """
    uri: str = version["properties"]["modelUri"]
    if not in_job and (match := _OF_AN_UPLOAD.fullmatch(uri)):
        return f"azureml://artifacts/{match[1]}"
    match = _OF_A_RUN.fullmatch(uri)
    if match is None or in_job:
        return local_path(emulator, uri).resolve().as_uri()
    config = emulator.config
    workspace = version["id"].partition("/models/")[0]
    record = emulator.store.document("runs").get(match[1]) or {}
    experiment = record.get("experiment") or "Default"
    return (
        f"azureml://{config.api_host}/mlflow/v2.0{workspace}/experiments/{experiment}"
        f"/runs/{match[1]}/artifacts/{match[2]}"
    )
