"""The job resources of a pipeline's steps and inner pipelines."""

import hashlib
from typing import TYPE_CHECKING, Any, TypeGuard

from emulator.compute.plan import Group, Step
from emulator.compute.records import artifact_prefix, job_name
from emulator.compute.values import LITERAL_TYPES, Data, Literal, Value
from emulator.resource_manager.resources import envelope

if TYPE_CHECKING:
    from emulator.core import Emulator


def services(emulator: "Emulator", path: str) -> dict[str, dict[str, Any]]:
    """Where a job can be followed: its tracking server and its page in the studio."""
    config = emulator.config
    workspace = path.rpartition("/jobs/")[0]
    return {
        "Tracking": {
            "jobServiceType": "Tracking",
            "endpoint": f"azureml://{config.api_host}/mlflow/v1.0{workspace}",
        },
        "Studio": {
            "jobServiceType": "Studio",
            "endpoint": f"https://ml.azure.com/runs/{job_name(path)}?wsid={workspace}"
            f"&tid={config.tenant}",
        },
    }


def default_output(name: str) -> dict[str, str]:
    """The output that every job has: its artifacts. Clients find the logs through it."""
    return {
        "jobOutputType": "uri_folder",
        "mode": "ReadWriteMount",
        "uri": f"azureml://datastores/workspaceartifactstore/{artifact_prefix(name)}",
    }


def child_resource(
    emulator: "Emulator",
    path: str,
    root_path: str,
    parent: str,
    node: Step | Group,
    inputs: dict[str, Value | None],
) -> dict[str, Any]:
    """The job resource of a node: its display name is the node's, its name a new one."""
    root = emulator.store.get(root_path) or {"properties": {}}
    properties: dict[str, Any] = {
        "jobType": "Pipeline",
        "displayName": node.node,
        "experimentName": root["properties"].get("experimentName") or "Default",
        "isArchived": False,
        "tags": {},
        "properties": {
            "azureml.parentrunid": parent,
            "azureml.rootrunid": job_name(root_path),
            "azureml.runsource": "azureml.StepRun",
            "azureml.nodepath": node.key,
            "azureml.componentid": node.component or "",
            "azureml.moduleName": node.module or node.node,
            "azureml.nodeid": hashlib.sha256(node.key.encode()).hexdigest()[:8],
            "azureml.pipelinerunid": parent,
            "azureml.rootpipelinerunid": job_name(root_path),
        },
        "services": services(emulator, path),
        "inputs": {name: _input_body(value) for name, value in inputs.items() if _is_known(value)},
        "outputs": {"default": default_output(job_name(path))},
    }
    if isinstance(node, Group):
        properties["jobs"] = {}
        properties["settings"] = {}
    else:
        command = node.command
        properties |= {
            "jobType": "Command",
            "command": command.text,
            # Of a registry's code the SDK reads no address.
            "codeId": _bare(code) if "/workspaces/" in (code := str(command.code)) else None,
            "environmentId": _bare(command.environment or ""),
            "environmentVariables": command.variables,
            "computeId": _compute_id(path, node.compute),
            "resources": {"instanceCount": command.instances, "shmSize": "2g"},
            "parameters": {},
        }
    return envelope(emulator.store, path, "jobs", {"properties": properties})


def _bare(reference: str) -> str:
    """A reference as job resources have it: a resource's id without the scheme before it."""
    return (
        reference.removeprefix("azureml:") if "azureml:/subscriptions" in reference else reference
    )


def _compute_id(path: str, name: str) -> str:
    if name in ("local", "serverless"):
        return name
    return f"{path.rpartition('/jobs/')[0]}/computes/{name}"


def _is_known(value: Value | None) -> TypeGuard[Value]:
    """Whether an input has a value by now: a plain value of an earlier step may not be written."""
    return value is not None and not (isinstance(value, Data) and value.type in LITERAL_TYPES)


def _input_body(value: Value) -> dict[str, str]:
    if isinstance(value, Literal):
        return {"jobInputType": "literal", "value": value.text}
    assert isinstance(value, Data)
    return {"jobInputType": value.type, "mode": "ReadOnlyMount", "uri": value.uri}
