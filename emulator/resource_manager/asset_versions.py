"""Assets in the store: versions, and the container above the versions of one name."""

import re
import uuid
from typing import Any

from emulator.clock import CLOCK
from emulator.http import AzureError
from emulator.resource_manager.asset_kinds import (
    CODES,
    COMPONENTS,
    DATA,
    ENVIRONMENTS,
    Kind,
    Properties,
    missing_container,
)
from emulator.resource_manager.component_specs import ANONYMOUS
from emulator.resource_manager.places import Place
from emulator.resource_manager.resources import envelope, properties_of
from emulator.store import Resource

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")
_HASHES = "codeHashes"
_TEXTS = (
    "description",
    "dataType",
    "dataUri",
    "modelType",
    "modelUri",
    "codeUri",
    "image",
    "condaFile",
    "osType",
    "stage",
)
_SHARED = ("description", "tags", "properties", "isArchived")
"""What all versions of a name share, and a PUT of the container may change."""


def versions(place: Place, kind: Kind, name: str) -> list[Resource]:
    """All versions, in the order of their creation; none for an unknown name."""
    return place.emulator.store.children(place.key(kind.collection, name) + "/versions")


def code_with_hash(place: Place, content: str) -> list[Resource]:
    """The code of this content, under whichever name it was uploaded first."""
    store = place.emulator.store
    key = store.document(_HASHES).get(_hash_key(place, content))
    code = store.get(key) if key else None
    return [code] if code else []


def _hash_key(place: Place, content: str) -> str:
    return f"{place.path.lower()}/{content}"


def _remember_hash(place: Place, key: str, properties: Properties) -> None:
    content = properties["properties"].get("hash_sha256")
    hashes = place.emulator.store.document(_HASHES)
    if content and not code_with_hash(place, content):
        hashes.put(_hash_key(place, content), key)


def find_version(place: Place, kind: Kind, name: str, version: str) -> Resource | None:
    """A version by its name. `azureml_default` is a component's newest version."""
    store = place.emulator.store
    found = store.get(place.key(kind.collection, name, version))
    if found is not None or kind is not COMPONENTS:
        return found
    if version == "azureml_default":
        active = [v for v in versions(place, kind, name) if not v["properties"]["isArchived"]]
        return _default_of(place, active[-1]) if active else None
    if name == ANONYMOUS:
        return store.get(place.key(kind.collection, name, _own_version(place, version)))
    return None


def _default_of(place: Place, version: Resource) -> Resource:
    """A component's newest version under the id that follows later versions."""
    name = place.id(COMPONENTS.collection, version["id"].split("/")[-3])
    return version | {"id": f"{name}/labels/default"}


def put_version(
    place: Place,
    kind: Kind,
    name: str,
    version: str,
    body: dict[str, Any],
    old: Resource | None = None,
) -> tuple[Resource, int]:
    """Create a version, or change what may change of one; gives it and the answer's status.

    `old` is the version that the place has already, if it is not in the store.
    """
    version, properties, old = _checked(place, kind, name, version, body, old)
    store, key = place.emulator.store, place.key(kind.collection, name, version)
    resource = _envelope(place, kind, name, version, properties)
    if old:
        resource["systemData"]["createdAt"] = old["systemData"]["createdAt"]
    store.put(key, resource)
    update_container(place, kind, name)
    if kind is CODES:
        _remember_hash(place, key, properties)
    anonymous = kind is COMPONENTS and properties["isAnonymous"]
    updated = 201 if anonymous else kind.update_status
    return resource, updated if old else 201


def check_version(place: Place, kind: Kind, name: str, version: str, body: dict[str, Any]) -> None:
    """Raise what `put_version` would raise; change nothing."""
    _checked(place, kind, name, version, body)


def _checked(
    place: Place,
    kind: Kind,
    name: str,
    version: str,
    body: dict[str, Any],
    old: Resource | None = None,
) -> tuple[str, Properties, Resource | None]:
    """The version's own name, its properties as they are kept, and what it is now, if it is."""
    _check_names(name, version)
    properties = properties_of(body, *_TEXTS)
    store = place.emulator.store
    if kind is COMPONENTS and name == ANONYMOUS:
        found = store.get(place.key(kind.collection, name, version))
        version = version if found else _own_version(place, version)
    kind.complete(place, name, version, properties)
    for field in ("tags", "properties"):
        properties[field] = _texts(properties.get(field), field)
    properties.setdefault("description", None)
    properties["isAnonymous"] = bool(properties.get("isAnonymous"))
    properties["isArchived"] = bool(properties.get("isArchived"))
    if kind is not DATA:
        properties["provisioningState"] = "Succeeded"
    old = store.get(place.key(kind.collection, name, version)) or old
    if old:
        kind.check(kind, place, name, version, old["properties"], properties)
    return version, properties, old


def delete_version(place: Place, kind: Kind, name: str, version: str) -> bool:
    """Delete a version, and with the last one its container."""
    store = place.emulator.store
    deleted = store.delete(place.key(kind.collection, name, version))
    if deleted:
        update_container(place, kind, name)
    return bool(deleted)


def put_container(
    place: Place, kind: Kind, name: str, body: dict[str, Any]
) -> tuple[Resource, int]:
    """Change what all versions of a name share, or make a name that has no version yet."""
    _check_names(name, "1")
    store = place.emulator.store
    key = place.key(kind.collection, name)
    old = store.get(key)
    asked = properties_of(body, "description", "dataType")
    container = old or _envelope(place, kind, name, None, _no_versions(kind, asked))
    for field in _SHARED:
        value = asked.get(field)
        if value is not None:
            shared = _texts(value, field) if field in ("tags", "properties") else value
            container["properties"][field] = shared
    store.put(key, container)
    return container, 200 if old else 201


def find_container(place: Place, kind: Kind, name: str) -> Resource:
    """The container of a name; 404 in the kind's own words when there is none."""
    container = place.emulator.store.get(place.key(kind.collection, name))
    if container is None:
        raise missing_container(kind, place, name)
    return container


def update_container(place: Place, kind: Kind, name: str) -> None:
    """Have the container tell its newest version and the next one."""
    store = place.emulator.store
    key = place.key(kind.collection, name)
    present = versions(place, kind, name)
    if not present:
        store.delete(key)
        return
    newest = present[-1]
    old = (store.get(key) or {}).get("properties", {})
    shared = _no_versions(kind, newest["properties"]) | old
    shared["latestVersion"] = newest["name"]
    shared["nextVersion"] = next_version([version["name"] for version in present], kind)
    if kind is DATA:
        shared["dataType"] = newest["properties"]["dataType"]
    store.put(key, _envelope(place, kind, name, None, shared))


def next_version(names: list[str], kind: Kind | None = None) -> str:
    """What a version is called that the service names: one more than the highest number.

    A component's next version is the time, to a ten-millionth of a second.
    """
    if kind is COMPONENTS:
        return CLOCK.now().strftime("%Y-%m-%d-%H-%M-%S-%f0")
    return str(max((int(name) for name in names if name.isdecimal()), default=0) + 1)


def _no_versions(kind: Kind, properties: Properties) -> Properties:
    shared: Properties = {
        "description": None,
        "tags": {},
        "properties": {},
        "isArchived": False,
        "latestVersion": None,
        "nextVersion": "1",
        "provisioningState": "Succeeded",
    }
    if kind is DATA:
        shared["dataType"] = properties.get("dataType") or "uri_folder"
    if kind in (DATA, ENVIRONMENTS):
        del shared["provisioningState"]
    return shared


def _envelope(
    place: Place, kind: Kind, name: str, version: str | None, properties: Properties
) -> Resource:
    key = place.key(kind.collection, name, version)
    suffix = "/versions" if version is not None else ""
    resource = envelope(place.emulator.store, key, kind.collection, {"properties": properties})
    namespace = f"Microsoft.MachineLearningServices/{place.type}"
    resource["id"] = place.id(kind.collection, name, version)
    resource["type"] = f"{namespace}/{kind.collection}{suffix}"
    return resource


def _own_version(place: Place, version: str) -> str:
    """The service's own version id of an anonymous component, from the client's hash."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{place.path.lower()}/{version}"))


def _check_names(name: str, version: str) -> None:
    if not (_NAME.fullmatch(name) and _NAME.fullmatch(version)):
        raise AzureError(
            400,
            "UserError",
            f"The asset name or version '{name}:{version}' is invalid: 1 to 255 letters, digits, "
            "'-', '_' and '.', beginning with a letter, a digit or '_'.",
        )


def _texts(value: Any, field: str) -> dict[str, str | None]:
    """Tags or properties: a flat object of texts."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise AzureError(400, "UserError", f"{field} must be an object.")
    return {key: text if text is None else str(text) for key, text in value.items()}
