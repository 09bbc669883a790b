"""Paths of assets as the service stores them."""

import re
from typing import TYPE_CHECKING

from emulator.job_outputs import output_address

if TYPE_CHECKING:
    from emulator.core import Emulator

_JOB_OUTPUT = re.compile(r"azureml://jobs/([^/]+)/outputs/([^/]+)(?:/paths/(.*))?/?")
_RUN = re.compile(r"runs:/+([^/]+)(?:/(.*))?")
_ARTIFACTS = ("artifacts", "default")
"""The outputs that stand for all files that a run logged."""


def resolve_uri(emulator: "Emulator", uri: str, workspace: str | None = None) -> str:
    """The storage address behind an asset's path, as the service stores it.

    `azureml://jobs/J/outputs/O` and `runs:/J/path` become the output's own address; an unknown
    job or output is the client's error, and the message lists what the job has. `workspace` is
    the path of the workspace that short addresses mean; none: the configured one.
    """
    path = workspace or emulator.config.workspace_path
    if match := _JOB_OUTPUT.fullmatch(uri):
        uri = _output(emulator, path, match[1], match[2], match[3] or "")
    elif match := _RUN.fullmatch(uri):
        uri = _output(emulator, path, match[1], "artifacts", match[2] or "")
    if uri.startswith("azureml://datastores/"):
        return uri.replace("azureml:/", _long_form(path), 1)
    return uri


def _long_form(workspace: str) -> str:
    subscription, group, name = (workspace.split("/")[part] for part in (2, 4, 8))
    return f"azureml://subscriptions/{subscription}/resourceGroups/{group}/workspaces/{name}"


def _output(emulator: "Emulator", workspace: str, job: str, output: str, path: str) -> str:
    resource = emulator.store.get(f"{workspace}/jobs/{job}")
    outputs = resource["properties"].get("outputs") or {} if resource else {}
    if output in _ARTIFACTS and (resource or _has_artifacts(emulator, job)):
        output_uri = (outputs.get(output) or {}).get("uri", "")
        if "/paths/" not in output_uri:
            folder = f"ExperimentRun/dcid.{job}/{path}"
            return f"azureml://datastores/workspaceartifactstore/paths/{folder}"
    return f"{output_address(emulator, workspace, job, output)}/{path}"


def _has_artifacts(emulator: "Emulator", run: str) -> bool:
    """Whether a run that is no job, as one made through MLflow, logged files."""
    return emulator.blobs.path(
        emulator.config.artifact_container, f"ExperimentRun/dcid.{run}"
    ).is_dir()
