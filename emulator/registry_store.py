"""Registries and what clients put into them, in the store."""

import re
from typing import TYPE_CHECKING

from emulator.config import Config
from emulator.registry import LATEST, NAME, RESOURCE_GROUP, SUBSCRIPTION
from emulator.resource_manager import asset_versions
from emulator.resource_manager.asset_kinds import Kind
from emulator.resource_manager.places import Place
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

REGISTRY = (
    "/subscriptions/{subscription}/resourceGroups/{resource_group}"
    "/providers/Microsoft.MachineLearningServices/registries/{registry}"
)
_PLACEHOLDER = re.compile(r"<[\w .-]+>")
_REGISTRIES = "registries"
"""The document of the registries that clients made: path by name in lower case."""


def system_registry_path() -> str:
    return REGISTRY.format(subscription=SUBSCRIPTION, resource_group=RESOURCE_GROUP, registry=NAME)


def default_registry_path(config: Config) -> str:
    """The registry that every local Azure ML has besides the system's.

    Published examples leave `<REGISTRY_NAME>` to their readers: whoever runs one unchanged
    means this registry.
    """
    return REGISTRY.format(
        subscription=config.subscription,
        resource_group=config.resource_group,
        registry=config.workspace,
    )


def find_registry(emulator: "Emulator", name: str) -> Place | None:
    """A registry by its name, which is unique in the whole cloud."""
    if name.lower() == NAME:
        return Place(emulator, system_registry_path(), NAME)
    path = emulator.store.document(_REGISTRIES).get(name.lower())
    default = default_registry_path(emulator.config)
    if path is None and (
        _PLACEHOLDER.fullmatch(name) or default.lower().endswith(f"/{name.lower()}")
    ):
        path = default
    return Place(emulator, path, path.rpartition("/")[2]) if path else None


def remember_registry(emulator: "Emulator", path: str) -> None:
    emulator.store.document(_REGISTRIES).put(path.rpartition("/")[2].lower(), path)


def forget_registry(emulator: "Emulator", path: str) -> None:
    emulator.store.document(_REGISTRIES).delete(path.rpartition("/")[2].lower())


def stored_version(
    emulator: "Emulator", registry: str, kind: Kind, name: str, version: str
) -> Resource | None:
    """A version that a client put into a registry; None for one that came from a folder.

    `latest` and `azureml_default` are the newest version that is not archived.
    """
    place = find_registry(emulator, registry)
    if place is None:
        return None
    if version.lower() in LATEST:
        active = [
            v
            for v in asset_versions.versions(place, kind, name)
            if not v["properties"]["isArchived"]
        ]
        version = active[-1]["name"] if active else version
    return asset_versions.find_version(place, kind, name, version)
