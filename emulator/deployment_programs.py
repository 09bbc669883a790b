"""What the process of a deployment runs: the server of its model, or that of its script."""

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulator import managed_identity
from emulator.blob_store import BlobError
from emulator.compute.copies import copy_tree
from emulator.compute.process import step_environment
from emulator.deployment_logs import note, storage_log
from emulator.environments import EnvironmentFailed, Interpreter
from emulator.http import AzureError
from emulator.model_requirements import conda_of, unmet
from emulator.parallel_step.model_files import link
from emulator.uris import local_path

if TYPE_CHECKING:
    from emulator.core import Emulator

_HERE = Path(__file__).parent
_MODEL_SERVER = _HERE / "scoring_server.py"
_SCRIPT_SERVER = _HERE / "script_server.py"


@dataclass(frozen=True)
class Program:
    """A server that is to be started. It takes a free port and prints which."""

    arguments: tuple[str, ...]
    """Of `interpreter`, or of the module `emulator.scoring_server`."""
    folder: Path
    environment: Mapping[str, str]
    interpreter: Interpreter | None = None
    """None: the emulator's own Python with its own model server, perhaps forked from the node."""


def is_custom(properties: Mapping[str, Any]) -> bool:
    """Whether a deployment brings a scoring script of its own."""
    return bool((properties.get("codeConfiguration") or {}).get("scoringScript"))


def model_reference(properties: Mapping[str, Any]) -> str | None:
    """What a deployment calls its model; None for one without."""
    model = properties.get("model")
    if isinstance(model, dict):
        model = model.get("assetId") or model.get("path")
    return model if isinstance(model, str) and model else None


def model_path(emulator: "Emulator", properties: Mapping[str, Any], workspace: str) -> Path | None:
    """Where the files of a deployment's model are; AzureError 400 when there are none.

    `workspace`: the path of the one that the deployment is in.
    """
    reference = model_reference(properties)
    if reference is None:
        return None
    path = _files(emulator, reference, "model", workspace)
    if not is_custom(properties) and not (path / "MLmodel").is_file():
        raise AzureError(
            400,
            "BadRequest",
            f"The files of {reference} are no MLflow model: there is no MLmodel file in their "
            "folder. A model of another kind needs a scoring script and an environment.",
        )
    return path


async def program(
    emulator: "Emulator", resource: Mapping[str, Any], folder: Path, log: Path
) -> Program:
    """What a deployment's process runs; builds its environment first. Raises AzureError.

    `folder`: the deployment's own, which holds its code and its model; `log`: for a person.
    """
    properties = resource["properties"]
    workspace = resource["id"].partition("/onlineEndpoints/")[0]
    variables = dict(properties.get("environmentVariables") or {})
    if is_custom(properties):
        interpreter = await _environment(emulator, properties.get("environmentId"), log, workspace)
        script, variables = await asyncio.to_thread(
            _put_in_place, emulator, properties, workspace, folder, variables, log
        )
        arguments = ("-P", str(_SCRIPT_SERVER), "--script", str(script))
        endpoint = resource["id"].rpartition("/deployments/")[0]
        variables = {**managed_identity.variables(emulator.config, endpoint), **variables}
        environment = _variables(emulator, variables, interpreter)
        return Program(arguments, folder / "azureml-app", environment, interpreter)
    model = model_path(emulator, properties, workspace)
    if model is None:
        raise AzureError(400, "BadRequest", "The deployment names no model.")
    note(log, f"Model folder: {_size(model)}.")
    note(storage_log(log), f"Model {model_reference(properties)} is in place: {_size(model)}.")
    found = await _of_model(emulator, properties, model, log, workspace)
    arguments = ("--model", str(model.resolve()), "--port", "0")
    if found is None:
        return Program(arguments, log.parent, variables)
    environment = _variables(emulator, variables, found)
    return Program(("-P", str(_MODEL_SERVER), *arguments), log.parent, environment, found)


async def _of_model(
    emulator: "Emulator", properties: Mapping[str, Any], model: Path, log: Path, workspace: str
) -> Interpreter | None:
    """The environment of an MLflow model, where the emulator's own Python does not do."""
    if properties.get("environmentId"):
        found = await _environment(emulator, properties["environmentId"], log, workspace)
        return None if found.own else found
    conda = conda_of(model)
    missing = unmet(model) if conda else []
    if conda is None or not missing:
        return None
    note(log, f"The model asks for {', '.join(missing)}: it gets an environment of its own.")
    try:
        return await emulator.environments.for_conda(conda, log)
    except EnvironmentFailed as error:
        raise AzureError(400, error.code, error.message) from error


async def _environment(
    emulator: "Emulator", reference: str | None, log: Path, workspace: str
) -> Interpreter:
    try:
        found = await emulator.environments.interpreter(reference, log, workspace)
    except EnvironmentFailed as error:
        raise AzureError(400, error.code, error.message) from error
    for line in found.notes:
        note(log, line)
    return found


def _variables(
    emulator: "Emulator", variables: dict[str, str], interpreter: Interpreter
) -> dict[str, str]:
    scripts = () if interpreter.own else (interpreter.python.parent,)
    ours = emulator.config.client_environment()
    return step_environment(emulator.config.state, {**ours, **variables}, scripts=scripts)


def _put_in_place(
    emulator: "Emulator",
    properties: Mapping[str, Any],
    workspace: str,
    folder: Path,
    variables: dict[str, str],
    log: Path,
) -> tuple[Path, dict[str, str]]:
    """Lay code and model out as the service does; gives the script and all its variables."""
    code = properties["codeConfiguration"]
    entry = code["scoringScript"]
    app = folder / "azureml-app"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if code.get("codeId"):
        source = _files(emulator, code["codeId"], "code", workspace)
        copy_tree(source, app)
        inner = entry.removeprefix(f"{source.name}/")
        # Published code names a script with its folder, which is the code itself, too.
        entry = inner if not (app / entry).exists() and (app / inner).exists() else entry
    else:
        app.mkdir()
    note(storage_log(log), f"Code of {code.get('codeId') or 'none'} is in place.")
    script = (app / entry).resolve()
    if not script.is_relative_to(app.resolve()):
        raise AzureError(400, "BadRequest", f"The scoring script {entry} is outside of its code.")
    ours = {
        "AML_APP_ROOT": str(app),
        "AZUREML_ENTRY_SCRIPT": entry,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    model = model_path(emulator, properties, workspace)
    if model is not None:
        name, version = _name_and_version(model_reference(properties) or "")
        place = folder / "azureml-models" / name / version
        place.mkdir(parents=True)
        link(model.resolve(), place / model.name)
        ours["AZUREML_MODEL_DIR"] = str(place)
        note(storage_log(log), f"Model {name}:{version} is in place: {_size(model)}.")
    return script, {**ours, **variables}


def _name_and_version(reference: str) -> tuple[str, str]:
    """Of a model's id, .../models/NAME/versions/VERSION, or of azureml:NAME:VERSION."""
    parts = reference.rstrip("/").split("/")
    if len(parts) >= 4 and parts[-2] == "versions":
        return parts[-3], parts[-1]
    name, _, version = reference.rpartition(":")
    return name.removeprefix("azureml:").replace("/", "_") or "model", version or "1"


def _files(emulator: "Emulator", reference: str, what: str, workspace: str) -> Path:
    try:
        path = local_path(emulator, reference, workspace)
    except BlobError as error:
        raise AzureError(400, "BadRequest", error.message) from error
    if not path.exists():
        raise AzureError(
            400, "BadRequest", f"The {what} {reference} has no files in the workspace's storage."
        )
    return path


def _size(path: Path) -> str:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return f"{path.name}, {len(files)} files, {sum(file.stat().st_size for file in files)} bytes"
