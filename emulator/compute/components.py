"""Components by reference: from the system registry or from the workspace."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulator.http import AzureError
from emulator.registry_store import stored_version
from emulator.resource_manager.asset_kinds import COMPONENTS

if TYPE_CHECKING:
    from emulator.core import Emulator

_REGISTRY = re.compile(
    r"azureml://registries/([^/]+)/components/([^/]+)(?:/(?:versions|labels)/([^/]+))?",
    re.IGNORECASE,
)
_WORKSPACE = re.compile(
    r"(?:azureml:)?(/subscriptions/.+/workspaces/[^/]+)/components/([^/]+)"
    r"/(?:versions|labels)/([^/]+)",
    re.IGNORECASE,
)
_SHORT = re.compile(r"(?:azureml:)?([^:/@]+)(?::|@)([^:/@]+)")
_FEW = " The local Azure ML holds few of the components of the registry in the cloud."
_DATA_TRANSFERS = frozenset(
    {"export_data_database", "import_data_database", "import_data_file_system"}
)
_MOVING = frozenset({"latest", "azureml_default", "default"})


@dataclass(frozen=True)
class Component:
    """A component's spec, as its YAML reads, and where its code is."""

    id: str
    spec: dict[str, Any]
    code: str | Path | None
    registry: str | None

    @property
    def type(self) -> str:
        return str(self.spec.get("type", "command"))

    @property
    def name(self) -> str:
        """Its own name, which a nameless one has from its author."""
        return str(self.spec.get("name") or "")

    @property
    def inputs(self) -> dict[str, dict[str, Any]]:
        return _declarations(self.spec.get("inputs"))

    @property
    def outputs(self) -> dict[str, dict[str, Any]]:
        return _declarations(self.spec.get("outputs"))


def _declarations(declared: Any) -> dict[str, dict[str, Any]]:
    return {name: dict(value or {}) for name, value in (declared or {}).items()}


def find_component(
    emulator: "Emulator", reference: str, registry: str | None, workspace: str
) -> Component:
    """The component that a node of a job in `workspace` names.

    `registry` is the registry of the component around the node: short references
    (`azureml:name:version`) inside of a registry's component mean that registry.
    Raises AzureError 404 when there is none.
    """
    if match := _REGISTRY.fullmatch(reference):
        return _from_registry(emulator, match[1], match[2], match[3] or "latest")
    if match := _WORKSPACE.fullmatch(reference):
        return _from_workspace(emulator, match[1], match[2], match[3])
    if match := _SHORT.fullmatch(reference):
        if registry:
            return _from_registry(emulator, registry, match[1], match[2])
        return _from_workspace(emulator, workspace, match[1], match[2])
    raise AzureError(
        400,
        "UserError",
        f"The component reference {reference} is not understood. Use the ARM id of a component "
        "version, azureml:<name>:<version> or azureml://registries/<registry>/components/"
        "<name>/versions/<version>.",
    )


def _from_registry(emulator: "Emulator", registry: str, name: str, version: str) -> Component:
    stored = stored_version(emulator, registry, COMPONENTS, name, version)
    if stored:
        stored_spec: dict[str, Any] = stored["properties"]["componentSpec"]
        return Component(stored["id"], stored_spec, stored_spec.get("code"), registry)
    try:
        wanted = None if version.lower() in _MOVING else version
        spec = emulator.registry.component(name, wanted)
        code = emulator.registry.component_code(name, str(spec.get("version", version)))
    except (KeyError, FileNotFoundError) as error:
        if name in _DATA_TRANSFERS:
            raise AzureError(
                501,
                "OperationNotSupported",
                f"The local Azure ML does not emulate data transfer: {name} cannot run here.",
            ) from error
        raise _not_found(f"registries/{registry}", name, version) from error
    number = spec.get("version", version)
    identifier = f"azureml://registries/{registry}/components/{name}/versions/{number}"
    return Component(identifier, spec, code, registry)


def _from_workspace(emulator: "Emulator", workspace: str, name: str, version: str) -> Component:
    versions = f"{workspace}/components/{name}/versions"
    if version.lower() in _MOVING:
        found = emulator.store.children(versions)
        resource = found[-1] if found else None
    else:
        resource = emulator.store.get(f"{versions}/{version}")
    if resource is None:
        raise _not_found(workspace, name, version)
    spec = resource["properties"]["componentSpec"]
    return Component(resource["id"], spec, spec.get("code"), None)


def _not_found(where: str, name: str, version: str) -> AzureError:
    return AzureError(
        404,
        "NotFound",
        f"key: {where}/components/{name}/versions/{version}, "
        f"Message: Not found component {name} (version: {version})."
        + (_FEW if where.startswith("registries/") else ""),
    )
