"""The service's own environments, as the workspace and the registry `azureml` answer them."""

from collections.abc import Iterator

from emulator.environments import curated
from emulator.registry import NAME
from emulator.resource_manager.asset_kinds import ENVIRONMENTS
from emulator.resource_manager.places import Place
from emulator.store import Resource


def names(place: Place) -> Iterator[str]:
    """The environments that a list of the place shows beside those that clients made."""
    prefix = _prefix(place)
    if prefix is not None:
        yield from (found.name for found in curated.listed(prefix))


def version(place: Place, name: str, number: str | None = None) -> Resource | None:
    """An environment of the service's: its newest version unless another number is asked for."""
    prefix = _prefix(place)
    if prefix is None or not name.lower().startswith(prefix.lower()):
        return None
    found = curated.find(name, number)
    if found is None:
        return None
    properties = {
        "environmentType": "Curated",
        "osType": "Linux",
        "image": found.image,
        "condaFile": "",
        "autoRebuild": "Disabled",
        "description": found.description,
        "tags": {},
        "properties": {},
        "isAnonymous": False,
        "isArchived": False,
        "provisioningState": "Succeeded",
    }
    return {
        "id": place.id(ENVIRONMENTS.collection, found.name, found.version),
        "name": found.version,
        "type": f"Microsoft.MachineLearningServices/{place.type}/environments/versions",
        "properties": properties,
        "systemData": _SYSTEM_DATA,
    }


def container(place: Place, name: str) -> Resource | None:
    """The name above the versions of an environment of the service's."""
    newest = version(place, name)
    if newest is None:
        return None
    return {
        "id": newest["id"].rpartition("/versions/")[0],
        "name": newest["id"].split("/")[-3],
        "type": newest["type"].removesuffix("/versions"),
        "properties": {
            "description": newest["properties"]["description"],
            "isArchived": False,
            "latestVersion": newest["name"],
            "nextVersion": str(int(newest["name"]) + 1),
            "properties": {},
            "tags": {},
        },
        "systemData": _SYSTEM_DATA,
    }


def _prefix(place: Place) -> str | None:
    """What the service's names begin with in a place; None where it has none."""
    if place.registry is None:
        return curated.PREFIX
    return "" if place.registry == NAME else None


_SYSTEM_DATA = {
    "createdBy": "Microsoft",
    "createdByType": "Application",
    "createdAt": curated.CREATED,
    "lastModifiedAt": curated.CREATED,
}
