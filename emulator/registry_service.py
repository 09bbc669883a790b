"""The service of registries: the system's assets from folders, and what clients add to any."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator import registry_wire
from emulator.http import DATA_PLANE, AzureError, Router, emulator_of, json_body
from emulator.registry import KINDS as FOLDER_KINDS
from emulator.registry import NAME, Asset
from emulator.registry_files import with_files
from emulator.registry_store import REGISTRY, find_registry
from emulator.resource_manager import asset_versions, curated_environments
from emulator.resource_manager.answers import answer
from emulator.resource_manager.asset_kinds import (
    COMPONENTS,
    ENVIRONMENTS,
    KINDS,
    Kind,
    missing_version,
)
from emulator.resource_manager.asset_lists import chosen, visible
from emulator.resource_manager.places import Place
from emulator.resource_manager.resources import listing
from emulator.store import Resource


def registry_of(request: Request) -> Place:
    """The registry that a request names; 404 when there is none."""
    name = request.path_params["registry"]
    place = find_registry(emulator_of(request), name)
    if place is None:
        raise AzureError(
            404,
            "RegistryNotFound",
            f"Registry {name} was not found. Create it with ml_client.registries.begin_create.",
        )
    return place


def versions(place: Place, kind: Kind, name: str) -> list[Resource]:
    """All versions, in the order of their creation: the folders' and the clients'."""
    stored = asset_versions.versions(place, kind, name)
    known = {version["name"] for version in stored}
    shipped = [v for v in _shipped(place, kind, name) if v["name"] not in known]
    return sorted((*shipped, *stored), key=_created)


def find_version(place: Place, kind: Kind, name: str, version: str) -> Resource | None:
    if kind is COMPONENTS and version == "azureml_default":
        found = [v for v in versions(place, kind, name) if not v["properties"]["isArchived"]]
        return found[-1] if found else None
    present = versions(place, kind, name)
    exact = next((v for v in present if v["name"] == version), None)
    if exact is None and kind is ENVIRONMENTS and not _assets(place, kind, name):
        # Every version that the service ever had of one is answered as what it has now.
        return curated_environments.version(place, name, version)
    return exact


def _created(version: Resource) -> str:
    return str(version["systemData"]["createdAt"])


def _shipped(place: Place, kind: Kind, name: str) -> list[Resource]:
    registry = place.emulator.registry
    if kind is ENVIRONMENTS and not _assets(place, kind, name):
        curated = curated_environments.version(place, name)
        return [curated] if curated else []
    return [
        registry_wire.version_resource(asset, registry)
        for asset in reversed(_assets(place, kind, name))
    ]


def _assets(place: Place, kind: Kind, name: str) -> list[Asset]:
    if place.registry != NAME or kind.collection not in FOLDER_KINDS:
        return []
    return place.emulator.registry.versions(kind.collection, name)


def _container(place: Place, kind: Kind, name: str) -> Resource | None:
    """A name's container, whose newest and next version are those of all its versions."""
    container = place.emulator.store.get(place.key(kind.collection, name))
    assets = _assets(place, kind, name)
    if container is None and assets:
        container = registry_wire.container_resource(assets)
    elif container is None and kind is ENVIRONMENTS:
        container = curated_environments.container(place, name)
    if container is None:
        return None
    present = [version["name"] for version in versions(place, kind, name)]
    if present:
        container["properties"]["latestVersion"] = present[-1]
    container["properties"]["nextVersion"] = asset_versions.next_version(present)
    return container


def register(router: Router) -> None:
    """Add the registries' operations to the service of the API host."""
    place = "/registrymanagement/v1.0/registries/{registry}/discovery"
    router.operation("RegistryManagement_Discovery", "GET", place)(_discover)
    for kind in KINDS:
        register_kind(router, kind, DATA_PLANE + REGISTRY)


async def _discover(request: Request) -> Response:
    """Where a registry's service is."""
    place = registry_of(request)
    region = request.headers["host"].partition(".")[0]
    address = f"https://{request.headers['host']}/"
    parts = place.path.split("/")
    return JSONResponse(
        {
            "registryName": place.name,
            "tenantId": emulator_of(request).config.tenant,
            "primaryRegion": region,
            "regions": [region],
            "registryFqdns": {region: {"registryFqdn": address}},
            "subscriptionId": parts[2],
            "resourceGroup": parts[4],
            "workspaceName": "",
            # Clients append the path of the service without a slash between.
            "primaryRegionResourceProviderUri": address,
        }
    )


def register_kind(router: Router, kind: Kind, registry: str) -> None:
    base = f"{registry}/{kind.collection}"
    operation = f"Registry{kind.title}Containers"

    @router.operation(f"{operation}_List", "GET", base)
    async def containers(request: Request) -> Response:
        place = registry_of(request)
        found = [_container(place, kind, name) for name in _names(place, kind)]
        return listing(request, visible(request, [c for c in found if c]), page=PAGE)

    @router.operation(f"{operation}_Get", "GET", base + "/{name}")
    async def container(request: Request) -> Response:
        place, name = registry_of(request), request.path_params["name"]
        found = _container(place, kind, name)
        if found is None:
            reference = place.id(kind.collection, name)
            raise AzureError(
                404,
                "UserError",
                f"Could not find asset with ID: {reference}",
                inner=("NotFoundError",),
            )
        return answer(request, found)

    @router.operation(f"{operation}_CreateOrUpdate", "PUT", base + "/{name}")
    async def put_container(request: Request) -> Response:
        place, name = registry_of(request), request.path_params["name"]
        body = await json_body(request)
        _, status = asset_versions.put_container(place, kind, name, body)
        return accepted(request, _container(place, kind, name), status)

    @router.operation(f"{operation}_Delete", "DELETE", base + "/{name}")
    async def delete_container(request: Request) -> Response:
        place = registry_of(request)
        deleted = place.emulator.store.delete(
            place.key(kind.collection, request.path_params["name"])
        )
        return Response(status_code=200 if deleted else 204)

    _register_versions(router, kind, f"{base}/{{name}}/versions")


PAGE = 100
"""Assets in one page of a list."""


def _register_versions(router: Router, kind: Kind, base: str) -> None:
    operation = f"Registry{kind.title}Versions"

    @router.operation(f"{operation}_List", "GET", base)
    async def list_versions(request: Request) -> Response:
        place, name = registry_of(request), request.path_params["name"]
        found = await with_files(place, kind, name, versions(place, kind, name))
        return listing(request, chosen(request, found), page=PAGE)

    @router.operation(f"{operation}_Get", "GET", base + "/{version}")
    async def get_version(request: Request) -> Response:
        place = registry_of(request)
        name, version = request.path_params["name"], request.path_params["version"]
        found = find_version(place, kind, name, version)
        if found is None:
            raise missing_version(kind, place, name, version)
        (shown,) = await with_files(place, kind, name, [found])
        return answer(request, shown)

    @router.operation(f"{operation}_CreateOrUpdate", "PUT", base + "/{version}")
    async def put_version(request: Request) -> Response:
        place, body = registry_of(request), await json_body(request)
        name, version = request.path_params["name"], request.path_params["version"]
        old = find_version(place, kind, name, version)
        asset, status = asset_versions.put_version(place, kind, name, version, body, old)
        return accepted(request, asset, status)

    @router.operation(f"{operation}_Delete", "DELETE", base + "/{version}")
    async def delete_version(request: Request) -> Response:
        place = registry_of(request)
        name, version = request.path_params["name"], request.path_params["version"]
        deleted = asset_versions.delete_version(place, kind, name, version)
        return Response(status_code=200 if deleted else 204)


def accepted(request: Request, resource: Any, status: int) -> Response:
    """The answer to a PUT in a registry: a long-running operation that is done already."""
    operations = emulator_of(request).operations
    return answer(request, resource, status, operations.headers(operations.begin(None)))


def _names(place: Place, kind: Kind) -> list[str]:
    stored = place.emulator.store.children(f"{place.path}/{kind.collection}")
    names = {container["name"] for container in stored}
    if place.registry == NAME and kind.collection in FOLDER_KINDS:
        names |= set(place.emulator.registry.names(kind.collection))
    if kind is ENVIRONMENTS:
        names |= set(curated_environments.names(place))
    return sorted(names)
