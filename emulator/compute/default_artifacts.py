"""The folder of artifacts that every job has, as an output that later steps read."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from emulator.compute.records import artifact_prefix
from emulator.compute.values import RawOutput

_NAME = "artifacts"


def placed(name: str, output: RawOutput, spec: Mapping[str, Any]) -> RawOutput:
    """An output at the place where it is found.

    One named `artifacts` that the command does not write to is what the job leaves anyway: its
    logs, and what it writes to ./outputs.
    """
    used = f"outputs.{_NAME}" in str(spec.get("command") or "")
    if name != _NAME or output.uri or used or spec.get("type") != "command":
        return output
    place = artifact_prefix("${{name}}")
    return replace(output, uri=f"azureml://datastores/workspaceartifactstore/paths/{place}/")
