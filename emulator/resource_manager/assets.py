"""Versioned assets of a workspace: data, models, code, environments and components."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from emulator.http import WORKSPACE, Router, json_body
from emulator.resource_manager import asset_versions, curated_environments
from emulator.resource_manager.answers import answer
from emulator.resource_manager.asset_kinds import CODES, ENVIRONMENTS, KINDS, Kind, missing_version
from emulator.resource_manager.asset_lists import chosen, visible
from emulator.resource_manager.asset_uris import resolve_uri as resolve_uri
from emulator.resource_manager.places import Place, workspace_of
from emulator.resource_manager.resources import listing


def register(router: Router) -> None:
    for kind in KINDS:
        _register_containers(router, kind)
        _register_versions(router, kind)


def _register_containers(router: Router, kind: Kind) -> None:
    base = f"{WORKSPACE}/{kind.collection}"
    operation = f"{kind.title}Containers"

    @router.operation(f"{operation}_List", "GET", base)
    async def list_containers(request: Request) -> Response:
        place = workspace_of(request)
        containers = place.emulator.store.children(f"{place.path}/{kind.collection}")
        if kind is ENVIRONMENTS:
            curated = map(partial(curated_environments.container, place), _curated_names(place))
            containers += [container for container in curated if container]
        return listing(request, visible(request, containers))

    @router.operation(f"{operation}_Get", "GET", base + "/{name}")
    async def get_container(request: Request) -> Response:
        place, name = workspace_of(request), request.path_params["name"]
        curated = curated_environments.container(place, name) if kind is ENVIRONMENTS else None
        return answer(request, curated or asset_versions.find_container(place, kind, name))

    @router.operation(f"{operation}_CreateOrUpdate", "PUT", base + "/{name}")
    async def put_container(request: Request) -> Response:
        name, body = request.path_params["name"], await json_body(request)
        container, status = asset_versions.put_container(workspace_of(request), kind, name, body)
        return answer(request, container, status)

    @router.operation(f"{operation}_Delete", "DELETE", base + "/{name}")
    async def delete_container(request: Request) -> Response:
        place = workspace_of(request)
        key = place.key(kind.collection, request.path_params["name"])
        return Response(status_code=200 if place.emulator.store.delete(key) else 204)


def _curated_names(place: Place) -> list[str]:
    """The service's environments that no client has a version of."""
    store = place.emulator.store
    collection = ENVIRONMENTS.collection
    names = curated_environments.names(place)
    return [name for name in names if store.get(place.key(collection, name)) is None]


def _register_versions(router: Router, kind: Kind) -> None:
    base = f"{WORKSPACE}/{kind.collection}/{{name}}/versions"
    operation = f"{kind.title}Versions"

    @router.operation(f"{operation}_List", "GET", base)
    async def list_versions(request: Request) -> Response:
        place, name = workspace_of(request), request.path_params["name"]
        content = request.query_params.get("hash")
        if kind is CODES and content:
            return listing(request, asset_versions.code_with_hash(place, content))
        found = asset_versions.versions(place, kind, name)
        if kind is ENVIRONMENTS and (curated := curated_environments.version(place, name)):
            found.append(curated)
        return listing(request, chosen(request, found))

    @router.operation(f"{operation}_Get", "GET", base + "/{version}")
    async def get_version(request: Request) -> Response:
        place = workspace_of(request)
        name, version = request.path_params["name"], request.path_params["version"]
        asset = asset_versions.find_version(place, kind, name, version)
        if asset is None and kind is ENVIRONMENTS:
            asset = curated_environments.version(place, name, version)
        if asset is None:
            raise missing_version(kind, place, name, version)
        return answer(request, asset)

    @router.operation(f"{operation}_CreateOrUpdate", "PUT", base + "/{version}")
    async def put_version(request: Request) -> Response:
        place, body = workspace_of(request), await json_body(request)
        name, version = request.path_params["name"], request.path_params["version"]
        asset, status = asset_versions.put_version(place, kind, name, version, body)
        headers = {"Location": str(request.url)} if status == 201 else None
        return answer(request, asset, status, headers)

    @router.operation(f"{operation}_Delete", "DELETE", base + "/{version}")
    async def delete_version(request: Request) -> Response:
        place = workspace_of(request)
        name, version = request.path_params["name"], request.path_params["version"]
        deleted = asset_versions.delete_version(place, kind, name, version)
        return Response(status_code=200 if deleted else 204)
