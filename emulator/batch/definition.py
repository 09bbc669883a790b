"""The job that an invocation of a batch endpoint starts, from its deployment and its request."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from emulator.compute.values import DATA_TYPES
from emulator.deployment_programs import is_custom, model_path, model_reference
from emulator.http import AzureError
from emulator.model_requirements import conda_of, unmet
from emulator.resource_manager.asset_kinds import COMPONENTS, ENVIRONMENTS
from emulator.resource_manager.asset_versions import find_version, put_version
from emulator.resource_manager.batch_deployments import checked_file_name, component_of
from emulator.resource_manager.component_specs import ANONYMOUS
from emulator.resource_manager.places import Place
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

STEP = "batchscoring"
SCORE = "score"
"""The output of the step that scores."""
ENDPOINT_PROPERTY, DEPLOYMENT_PROPERTY = "azureml.endpoint", "azureml.deployment"
"""Properties of a job that say through what it was started."""
_ENVIRONMENT = "CliV2AnonymousEnvironment"
_TYPES = {kind.replace("_", ""): kind for kind in (*DATA_TYPES, "literal")}
_DATASTORE_ID = re.compile(
    r"^(?:azureml:)?/+(subscriptions/[^/]+/resourceGroups/[^/]+)/providers/[^/]+/"
    r"(workspaces/[^/]+/datastores/)",
    re.IGNORECASE,
)
"""The resource id of a datastore, where jobs write its address."""
_SETTING_PREFIX = "componentdeployment.settings."


def definition(
    emulator: "Emulator", endpoint: Resource, deployment: Resource, asked: Mapping[str, Any]
) -> dict[str, Any]:
    """The properties of the pipeline job. `asked`: the request's, their keys in lower case.

    Raises AzureError 400 for inputs or outputs that the deployment cannot use.
    """
    experiment = asked["properties"].get("experimentname")
    common = {
        "jobType": "Pipeline",
        "experimentName": str(experiment or endpoint["name"]),
        "properties": {
            ENDPOINT_PROPERTY: endpoint["name"],
            DEPLOYMENT_PROPERTY: deployment["name"],
        },
    }
    inputs, outputs = _ports(asked, "inputdata"), _ports(asked, "outputdata")
    component = component_of(deployment["properties"])
    if component:
        return common | _of_component(deployment, component, inputs, outputs)
    return common | _of_model(emulator, deployment, inputs, outputs, asked)


def _of_component(
    deployment: Resource, component: str, inputs: dict[str, Any], outputs: dict[str, Any]
) -> dict[str, Any]:
    written = deployment["properties"]["deploymentConfiguration"].get("settings") or {}
    settings = {}
    for key, value in written.items():
        # The service's own answers write some settings with a prefix.
        name = key[len(_SETTING_PREFIX) :] if key.lower().startswith(_SETTING_PREFIX) else key
        settings[name] = value
    return {
        "componentId": component,
        "inputs": inputs,
        "outputs": outputs,
        "settings": settings,
    }


def _of_model(
    emulator: "Emulator",
    deployment: Resource,
    inputs: dict[str, Any],
    outputs: dict[str, Any],
    asked: Mapping[str, Any],
) -> dict[str, Any]:
    if len(inputs) != 1 or len(outputs) > 1:
        raise AzureError(
            400,
            "BadRequest",
            f"A deployment of a model takes one input and gives one output; the request names "
            f"{len(inputs)} and {len(outputs)}.",
        )
    ((name, given),) = inputs.items()
    kind = given["jobInputType"]
    if kind not in DATA_TYPES:
        raise AzureError(
            400, "BadRequest", f"The input {name} of a deployment of a model must be data."
        )
    settings = _overridden(deployment["properties"], asked)
    score, file = _score(outputs, asked, settings["outputFileName"])
    spec = _spec(emulator, deployment, settings, kind, file)
    reference = _component(emulator, deployment, spec)
    node = {
        "type": "parallel",
        "componentId": reference,
        "computeId": settings.get("compute"),
        "inputs": {"input_data": _binding("inputs", "input_data")},
        "outputs": {SCORE: _binding("outputs", SCORE)},
    }
    return {
        "inputs": {"input_data": given},
        "outputs": {SCORE: score},
        "settings": {"force_rerun": True, "continue_on_step_failure": False},
        "jobs": {STEP: node},
    }


def _binding(ports: str, name: str) -> dict[str, str]:
    port = "job_input_type" if ports == "inputs" else "type"
    return {port: "literal", "value": f"${{{{parent.{ports}.{name}}}}}"}


def _overridden(properties: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """The deployment's settings with what this invocation wants otherwise."""
    settings = dict(properties)
    for key in ("miniBatchSize", "errorThreshold", "outputFileName", "loggingLevel"):
        if asked.get(key.lower()) is not None:
            settings[key] = asked[key.lower()]
    retries = _folded(asked.get("retrysettings"))
    settings["retrySettings"] = {
        key: retries.get(key.lower(), value) for key, value in settings["retrySettings"].items()
    }
    compute = _folded(asked.get("compute"))
    settings["resources"] = settings["resources"] | {
        "instanceCount": compute.get("instancecount") or settings["resources"]["instanceCount"]
    }
    settings["compute"] = compute.get("target") or settings.get("compute")
    return settings


def _score(
    outputs: Mapping[str, Any], asked: Mapping[str, Any], file: str
) -> tuple[dict[str, Any], str]:
    """The output of the job, and the name of the file in it."""
    uri = ""
    for given in outputs.values():
        uri = str(given.get("uri") or "")
        folder, _, last = uri.rpartition("/")
        if given["jobOutputType"] == "uri_file" and last:
            uri, file = folder, last
    older = _folded(asked.get("outputdataset"))
    if not uri and older.get("datastoreid"):
        path = str(older.get("path") or "").strip("/")
        uri = _address(f"{older['datastoreid']}/paths/{path}")
    place = {"uri": uri.rstrip("/") + "/"} if uri else {}
    return {"jobOutputType": "uri_folder", **place}, checked_file_name(str(file))


def _spec(
    emulator: "Emulator", deployment: Resource, settings: Mapping[str, Any], kind: str, file: str
) -> dict[str, Any]:
    """The parallel component that scores with the deployment's model."""
    workspace = deployment["id"].partition("/batchEndpoints/")[0]
    score = f"${{{{outputs.{SCORE}}}}}"
    task: dict[str, Any] = {"type": "run_function", "output_folder": score}
    if settings["outputAction"] == "AppendRow":
        task["append_row_to"] = f"{score}/{file}"
    if model := model_reference(settings):
        task["model"] = model
    if is_custom(settings):
        code = settings["codeConfiguration"]
        task |= {"code": code.get("codeId"), "entry_script": code["scoringScript"]}
        task["environment"] = settings.get("environmentId")
    else:
        task |= {"type": "model", "environment": _environment(emulator, settings, workspace)}
    retries = settings["retrySettings"]
    return {
        "type": "parallel",
        "name": STEP,
        "display_name": STEP,
        "is_deterministic": False,
        "inputs": {"input_data": {"type": kind}},
        "outputs": {SCORE: {"type": "uri_folder"}},
        "input_data": "${{inputs.input_data}}",
        "mini_batch_size": str(settings["miniBatchSize"]),
        "error_threshold": settings["errorThreshold"],
        "max_concurrency_per_instance": settings["maxConcurrencyPerInstance"],
        "logging_level": str(settings["loggingLevel"]).upper(),
        "resources": {"instance_count": settings["resources"]["instanceCount"]},
        "retry_settings": {
            "max_retries": retries["maxRetries"],
            "timeout": retries["timeout"],
        },
        "environment_variables": settings.get("environmentVariables") or {},
        "task": task,
    }


def _component(emulator: "Emulator", deployment: Resource, spec: dict[str, Any]) -> str:
    """The id of a nameless component with this spec: the same spec is the same component."""
    content = hashlib.sha256(json.dumps(spec, sort_keys=True, default=str).encode()).hexdigest()
    place = Place(emulator, deployment["id"].partition("/batchEndpoints/")[0])
    known = find_version(place, COMPONENTS, ANONYMOUS, content)
    if known is None:
        body = {"properties": {"componentSpec": spec, "isAnonymous": True}}
        known, _ = put_version(place, COMPONENTS, ANONYMOUS, content, body)
    identifier: str = known["id"]
    return identifier


def _environment(emulator: "Emulator", settings: Mapping[str, Any], workspace: str) -> str | None:
    """The environment of an MLflow model; None where the emulator's own Python does."""
    if settings.get("environmentId"):
        return str(settings["environmentId"])
    model = model_path(emulator, settings, workspace)
    conda = conda_of(model) if model else None
    if model is None or conda is None or not unmet(model):
        return None
    version = hashlib.sha256(conda.encode()).hexdigest()[:32]
    body = {"properties": {"condaFile": conda, "isAnonymous": True}}
    made, _ = put_version(Place(emulator, workspace), ENVIRONMENTS, _ENVIRONMENT, version, body)
    identifier: str = made["id"]
    return identifier


def _ports(asked: Mapping[str, Any], key: str) -> dict[str, dict[str, Any]]:
    """Inputs or outputs of a request as a job writes them."""
    given = asked.get(key) or {}
    if not isinstance(given, dict):
        raise AzureError(400, "BadRequest", f"{key} must be an object.")
    typed = "jobInputType" if key == "inputdata" else "jobOutputType"
    found = {}
    for name, written in given.items():
        port = _folded(written)
        kind = _TYPES.get(str(port.get(typed.lower())).replace("_", "").lower())
        if kind is None:
            raise AzureError(
                400,
                "BadRequest",
                f"{name} in {key} has no {typed}, or an unknown one. Known are UriFile, UriFolder, "
                "MLTable, MLFlowModel, CustomModel, TritonModel and Literal.",
            )
        body: dict[str, Any] = {typed: kind}
        if port.get("value") is not None:
            body["value"] = str(port["value"])
        if port.get("uri") is not None:
            body["uri"] = _address(str(port["uri"]))
        if port.get("mode") is not None:
            body["mode"] = port["mode"]
        found[name] = body
    return found


def _address(text: str) -> str:
    """An address as jobs write it; requests also name datastores by their resource ids."""
    return _DATASTORE_ID.sub(r"azureml://\1/\2", text)


def _folded(value: Any) -> dict[str, Any]:
    """An object with its keys in lower case: requests write them in either."""
    if not isinstance(value, dict):
        return {}
    return {str(key).lower(): item for key, item in value.items()}


def request_properties(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a request asks for; AzureError 400 unless it is an object."""
    properties = _folded(dict(body)).get("properties")
    if properties is not None and not isinstance(properties, dict):
        raise AzureError(400, "BadRequest", "properties must be an object.")
    asked = _folded(properties)
    asked["properties"] = _folded(asked.get("properties"))
    return asked
