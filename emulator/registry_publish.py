"""Assets of a workspace that are published to a registry: copied there, files and all."""

from starlette.requests import Request
from starlette.responses import Response

from emulator.http import WORKSPACE, AzureError, Router, emulator_of, json_body
from emulator.registry_store import find_registry
from emulator.registry_uploads import begin_copy
from emulator.resource_manager import asset_versions
from emulator.resource_manager.asset_kinds import (
    CODES,
    DATA,
    ENVIRONMENTS,
    MODELS,
    Kind,
    missing_version,
)
from emulator.resource_manager.places import workspace_of

_KINDS: tuple[tuple[Kind, str], ...] = (
    (CODES, "codeUri"),
    (DATA, "dataUri"),
    (ENVIRONMENTS, ""),
    (MODELS, "modelUri"),
)
"""What can be published, and the property that holds the address of its files.

Components are not: what they name (code, environment) would stay behind.
"""


def register(router: Router) -> None:
    for kind, files in _KINDS:
        _register(router, kind, files)


def _register(router: Router, kind: Kind, files: str) -> None:
    path = f"{WORKSPACE}/{kind.collection}/{{name}}/versions/{{version}}/publish"

    @router.operation(f"{kind.title}Versions_Publish", "POST", path)
    async def publish(request: Request) -> Response:
        emulator, place = emulator_of(request), workspace_of(request)
        name, version = request.path_params["name"], request.path_params["version"]
        source = asset_versions.find_version(place, kind, name, version)
        if source is None:
            raise missing_version(kind, place, name, version)
        asked = await json_body(request)
        registry = find_registry(emulator, str(asked.get("registryName")))
        if registry is None:
            raise AzureError(
                404, "RegistryNotFound", f"Registry {asked.get('registryName')} was not found."
            )
        name = str(asked.get("destinationName") or name)
        version = str(asked.get("destinationVersion") or version)
        return begin_copy(registry, kind, name, version, source["properties"], files)
