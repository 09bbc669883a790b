"""What a job calls its environment, and what the workspace or the registry knows of it."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from emulator.environments import curated
from emulator.environments.interpreter import EnvironmentFailed
from emulator.registry import NAME as REGISTRY
from emulator.registry import AssetNotFound
from emulator.registry_store import stored_version
from emulator.resource_manager.asset_kinds import ENVIRONMENTS

if TYPE_CHECKING:
    from emulator.core import Emulator

_PLACES = re.compile(
    r"(?:azureml:/)?/(?:.*/)?(?P<kind>registries|workspaces)/(?P<place>[^/]+)/environments/"
    r"(?P<name>[^/]+)(?:/(?P<by>versions|labels)/(?P<version>[^/]+))?/?",
    re.IGNORECASE,
)
_SHORT = re.compile(r"(?P<name>[^:@/]+)(?:(?P<by>[:@])(?P<version>[^:@/]+))?")
_LATEST = frozenset({"latest", "azureml_default"})
OWN_PYTHON = "The command runs with the local Azure ML's own Python."


@dataclass(frozen=True)
class Source:
    """An environment as it is described: a conda file's text, or None for the own Python."""

    name: str
    conda: str | None
    notes: tuple[str, ...] = ()


def find(emulator: "Emulator", reference: str | None, workspace: str | None = None) -> Source:
    """Look an environment up. Raises EnvironmentFailed for one that does not exist.

    `workspace` is the path of the workspace that a name without one belongs to.
    """
    if not reference:
        return Source("none", None, (f"No environment was asked for. {OWN_PYTHON}",))
    text = reference.removeprefix("azureml:") if "azureml://" not in reference else reference
    if match := _PLACES.fullmatch(text):
        version = match["version"] if match["by"] else None
        if match["kind"].lower() == "registries":
            return _in_registry(emulator, reference, match["place"], match["name"], version)
        folder = text.removeprefix("azureml:/").partition("/environments/")[0]
        return _in_workspace(emulator, reference, folder, match["name"], version)
    if match := _SHORT.fullmatch(text):
        folder = workspace or emulator.config.workspace_path
        return _in_workspace(emulator, reference, folder, match["name"], match["version"])
    raise _missing(reference)


def _in_workspace(
    emulator: "Emulator", reference: str, folder: str, name: str, version: str | None
) -> Source:
    path = f"{folder}/environments/{name}"
    if version is None or version in _LATEST:
        container = emulator.store.get(path)
        newest = container["properties"].get("latestVersion") if container else None
        resource = emulator.store.get(f"{path}/versions/{newest}") if newest else None
    else:
        resource = emulator.store.get(f"{path}/versions/{version}")
    if resource is not None:
        return _described(f"{name}:{resource['name']}", resource["properties"])
    if name.lower().startswith(curated.PREFIX.lower()):
        return _curated(reference, name, version)
    raise _missing(reference)


def _in_registry(
    emulator: "Emulator", reference: str, registry: str, name: str, version: str | None
) -> Source:
    stored = stored_version(emulator, registry, ENVIRONMENTS, name, version or "latest")
    if stored is not None:
        return _described(f"{name}:{stored['name']}", stored["properties"])
    if registry.lower() != REGISTRY:
        raise _missing(reference)
    try:
        asset = emulator.registry.asset("environments", name, version)
    except AssetNotFound:
        return _curated(reference, name, version)
    conda: Any = asset.spec.get("conda_file")
    if isinstance(conda, str):
        conda = (asset.file.parent / conda).read_text()
    elif conda is not None:
        conda = yaml.safe_dump(conda)
    properties = {"condaFile": conda, "image": asset.spec.get("image")}
    return _described(f"{asset.name}:{asset.version}", properties)


def _described(name: str, properties: dict[str, Any]) -> Source:
    conda, image = properties.get("condaFile"), properties.get("image")
    build = properties.get("build") or {}
    notes = []
    if build:
        context = build.get("contextUri") or "without an address"
        notes.append(f"The Docker build context {context} is not used.")
    elif image:
        notes.append(f"The Docker image {image} is not used.")
    if not conda:
        notes.append(OWN_PYTHON)
    return Source(name, conda or None, tuple(notes))


def _curated(reference: str, name: str, version: str | None) -> Source:
    found = curated.find(name, None if version in _LATEST else version)
    if found is None:
        raise _missing(reference)
    image = f"The Docker image {found.image} is not used."
    if found.own:
        return Source(f"{name}:{found.version}", None, (image, OWN_PYTHON))
    return Source(f"{name}:{found.version}", found.conda, (image,))


def _missing(reference: str) -> EnvironmentFailed:
    return EnvironmentFailed("UserError", f"Could not find asset with ID: {reference}")
