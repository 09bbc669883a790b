"""The kinds of assets, and what is special about each."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from emulator.http import AzureError
from emulator.resource_manager import component_specs
from emulator.resource_manager.asset_uris import resolve_uri
from emulator.resource_manager.places import Place

Properties = dict[str, Any]

_FOLDERS = ("uri_folder", "mltable")
"""Types of data whose paths end with a slash, whatever the client sent."""


@dataclass(frozen=True)
class Kind:
    """One kind of asset and what is special about it."""

    collection: str
    title: str
    """As the service's operations are named: `Model` in `ModelVersions_Get`."""
    complete: Callable[[Place, str, str, Properties], None]
    """Fills in what the service adds to the client's properties: (place, name, version, p)."""
    check: Callable[["Kind", Place, str, str, Properties, Properties], None]
    """Refuses a change of what is fixed: (kind, place, name, version, old, new)."""
    content: tuple[str, ...] = ()
    """Properties that may not change under an existing version."""
    update_status: int = 200
    """What a PUT of an existing version answers."""


def _complete_data(place: Place, name: str, version: str, p: Properties) -> None:
    p["dataType"] = p.get("dataType") or "uri_folder"
    uri = resolve_uri(place.emulator, p.get("dataUri") or "", place.path)
    is_folder = p["dataType"] in _FOLDERS and uri.startswith("azureml://")
    p["dataUri"] = uri.rstrip("/") + "/" if is_folder else uri


def _complete_model(place: Place, name: str, version: str, p: Properties) -> None:
    address = p.get("modelUri") or ""
    p["modelUri"] = resolve_uri(place.emulator, address, place.path)
    p["modelType"] = p.get("modelType") or "custom_model"
    p["flavors"] = p.get("flavors") or {}
    p.setdefault("stage", None)
    # A run and its job have one name.
    run = re.match(r"(?:azureml://jobs/|runs:/)([^/]+)/", address)
    p["jobName"] = p.get("jobName") or (run[1] if run else None)


def _complete_code(place: Place, name: str, version: str, p: Properties) -> None:
    p["codeUri"] = p.get("codeUri") or ""


def _complete_environment(place: Place, name: str, version: str, p: Properties) -> None:
    if not any(p.get(key) for key in ("image", "condaFile", "build")):
        raise AzureError(
            400,
            "UserError",
            f"The environment {name} says neither an image nor a build context nor a conda file.",
        )
    p["environmentType"] = p.get("environmentType") or "UserCreated"
    p["osType"] = str(p.get("osType") or "Linux").capitalize()
    p["condaFile"] = p.get("condaFile") or ""
    p["autoRebuild"] = p.get("autoRebuild") or "Disabled"


def _complete_component(place: Place, name: str, version: str, p: Properties) -> None:
    spec = p.get("componentSpec")
    if not isinstance(spec, dict):
        raise AzureError(400, "UserError", "componentSpec must be an object.")
    component_specs.normalise(spec, name, version)
    if spec["type"] == "pipeline":
        component_specs.inherit_outputs(spec, place.emulator.store.get)


def _check_content(
    kind: Kind, place: Place, name: str, version: str, old: Properties, new: Properties
) -> None:
    changed = [key for key in kind.content if _canonical(old.get(key)) != _canonical(new.get(key))]
    if not changed:
        return
    what = kind.title.lower()
    fixed = ", ".join(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key).lower() for key in changed)
    raise AzureError(
        409,
        "UserError",
        f"A {what} version with this name and version already exists. If you are trying to create "
        f"a new {what} asset, use a different name or version. If you are trying to update an "
        f"existing {what} asset, the existing asset's {fixed} cannot be changed. Only tags, "
        f"description, and isArchived can be updated. ({name}:{version})",
        inner=("Conflict",),
    )


def _check_component(
    kind: Kind, place: Place, name: str, version: str, old: Properties, new: Properties
) -> None:
    field = component_specs.changed_field(old["componentSpec"], new["componentSpec"])
    if field:
        raise AzureError(
            400,
            "UserError",
            f'Failed to update component {name} since field "{field}" is immutable, '
            "try specifying a new version.",
            inner=("BadArgument", "ArgumentInvalid", "UpdateComponentFailed"),
        )


def _canonical(value: Any) -> Any:
    """Content to compare: names in an ARM path have no case, and a folder may end with a slash."""
    if not isinstance(value, str) or not value.startswith("azureml://"):
        return value
    names, paths, path = value.partition("/paths/")
    return names.lower() + paths + path.rstrip("/")


DATA = Kind("data", "Data", _complete_data, _check_content, ("dataUri", "dataType"))
MODELS = Kind("models", "Model", _complete_model, _check_content, ("modelUri", "modelType"))
CODES = Kind("codes", "Code", _complete_code, _check_content, ("codeUri",))
ENVIRONMENTS = Kind(
    "environments",
    "Environment",
    _complete_environment,
    _check_content,
    ("image", "condaFile", "build", "inferenceConfig", "osType"),
    update_status=201,
)
COMPONENTS = Kind("components", "Component", _complete_component, _check_component)
KINDS = (DATA, MODELS, CODES, ENVIRONMENTS, COMPONENTS)


def missing_container(kind: Kind, place: Place, name: str) -> AzureError:
    """The answer for a name that the place does not have, in the words of the kind's service."""
    if kind is COMPONENTS:
        return _missing_component(name)
    if kind is ENVIRONMENTS:
        return _missing_environment(name, "")
    what = kind.title
    return AzureError(
        404,
        "UserError",
        "The specified resource was not found.",
        details=[(f"{what}NotFound", f"{what} container with name: {name} not found.")],
    )


def missing_version(kind: Kind, place: Place, name: str, version: str) -> AzureError:
    if kind is COMPONENTS and place.registry is None:
        return _missing_component(name)
    if kind is ENVIRONMENTS and place.registry is None:
        return _missing_environment(name, version)
    return AzureError(
        404,
        "UserError",
        f"Could not find asset with ID: {place.asset_id(kind.collection, name, version)}",
        inner=("NotFoundError",),
    )


def _missing_component(name: str) -> AzureError:
    inner = ("NotFound", "ComponentNotFound")
    return AzureError(404, "UserError", f"Not found component {name}.", inner=inner)


def _missing_environment(name: str, version: str) -> AzureError:
    return AzureError(
        404,
        "UserError",
        f"No environment exists for name: {name}, version: {version}, label: ",
        inner=("NotFoundError",),
    )
