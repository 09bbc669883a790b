"""Where assets live: in a workspace or in a registry."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request

from emulator.http import emulator_of
from emulator.resource_manager.resources import workspace_path

if TYPE_CHECKING:
    from emulator.core import Emulator


@dataclass(frozen=True)
class Place:
    """A workspace or a registry: its path in the store, and how its assets are named."""

    emulator: "Emulator"
    path: str
    registry: str | None = None

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def type(self) -> str:
        return "registries" if self.registry else "workspaces"

    def key(self, collection: str, name: str, version: str | None = None) -> str:
        """The path in the store of a container, or of one of its versions."""
        path = f"{self.path}/{collection}/{name}"
        return path if version is None else f"{path}/versions/{version}"

    def id(self, collection: str, name: str, version: str | None = None) -> str:
        """The `id` that answers carry."""
        if self.registry is None:
            return self.key(collection, name, version)
        # The service of environments writes the registry's name in lower case.
        registry = self.registry.lower() if collection == "environments" else self.registry
        path = f"azureml://registries/{registry}/{collection}/{name}"
        return path if version is None else f"{path}/versions/{version}"

    def asset_id(self, collection: str, name: str, version: str) -> str:
        """The id that names an asset across workspaces and registries."""
        if self.registry is not None:
            return self.id(collection, name, version)
        workspace = self.emulator.store.get(self.path) or {}
        guid = workspace.get("properties", {}).get("workspaceId", "")
        location = workspace.get("location", self.emulator.config.location)
        return (
            f"azureml://locations/{location}/workspaces/{guid}"
            f"/{collection}/{name}/versions/{version}"
        )


def workspace_of(request: Request) -> Place:
    """The workspace that a request names; 404 when there is none of that name."""
    return Place(emulator_of(request), workspace_path(request))


def workspace_with_id(emulator: "Emulator", guid: str) -> Place | None:
    """The workspace with this `workspaceId`."""
    for path in workspace_paths(emulator):
        workspace = emulator.store.get(path)
        if workspace and workspace["properties"].get("workspaceId") == guid:
            return Place(emulator, path)
    return None


def workspace_paths(emulator: "Emulator") -> list[str]:
    """The paths of all workspaces: the configured one, and those that clients made."""
    made = emulator.store.document("workspaces")
    return [emulator.config.workspace_path, *(path for _, path in made.items())]
