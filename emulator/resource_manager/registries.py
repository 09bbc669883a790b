"""Registries as resources: created, listed, deleted."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.http import AzureError, ResourceManagerError, Router, emulator_of, json_body
from emulator.registry_store import (
    REGISTRY,
    default_registry_path,
    find_registry,
    forget_registry,
    remember_registry,
    system_registry_path,
)
from emulator.resource_manager.locations import keep_result
from emulator.resource_manager.resources import envelope, listing, properties_of
from emulator.store import Resource

_COLLECTION = REGISTRY.removesuffix("/{registry}")


def register(router: Router) -> None:
    subscription = "/subscriptions/{subscription}" + _COLLECTION.partition("{resource_group}")[2]
    router.operation("Registries_ListBySubscription", "GET", subscription)(_list_all)
    for method, operation in (("PUT", "CreateOrUpdate"), ("PATCH", "Update")):
        router.operation(f"Registries_{operation}", method, REGISTRY)(_put)

    router.operation("Registries_RemoveRegions", "POST", REGISTRY + "/removeRegions")(
        _remove_regions
    )

    @router.operation("Registries_List", "GET", _COLLECTION)
    async def list_registries(request: Request) -> Response:
        emulator = emulator_of(request)
        path = request.url.path.rstrip("/")
        found = emulator.store.children(path)
        known = {resource["id"].lower() for resource in found}
        own = [p for p in _own_paths(request) if p.rpartition("/")[0].lower() == path.lower()]
        found += [_resource(request, p, {}, None) for p in own if p.lower() not in known]
        return listing(request, found)

    @router.operation("Registries_Get", "GET", REGISTRY)
    async def get_registry(request: Request) -> Response:
        return JSONResponse(_registry(request))

    @router.operation("Registries_Delete", "DELETE", REGISTRY)
    async def delete_registry(request: Request) -> Response:
        emulator, path = emulator_of(request), _path(request)
        if not emulator.store.delete(path):
            return Response(status_code=204)
        forget_registry(emulator, path)
        headers = emulator.operations.headers(emulator.operations.begin(None), location=True)
        return Response(status_code=202, headers=headers)


async def _remove_regions(request: Request) -> Response:
    """Take regions away from a registry; it keeps the one that it is in."""
    emulator, registry = emulator_of(request), _registry(request)
    given = properties_of(await json_body(request)).get("regionDetails") or []
    asked = {str(each.get("location")).lower() for each in given if isinstance(each, dict)}
    if registry["location"].lower() in asked:
        raise AzureError(
            400,
            "UserError",
            f"{registry['location']} is the region of the registry {registry['name']} and cannot "
            "be removed. Delete the registry instead.",
        )
    properties = registry["properties"]
    properties["regionDetails"] = [
        each
        for each in properties["regionDetails"]
        if str(each.get("location")).lower() not in asked
    ]
    emulator.store.put(registry["id"], registry)
    operation = emulator.operations.begin(None)
    keep_result(emulator, operation, registry)
    return Response(status_code=202, headers=emulator.operations.headers(operation, location=True))


async def _list_all(request: Request) -> Response:
    emulator = emulator_of(request)
    prefix = f"/subscriptions/{request.path_params['subscription']}/".lower()
    paths = [path for _, path in emulator.store.document("registries").items()]
    found = [emulator.store.get(path) for path in paths if path.lower().startswith(prefix)]
    return listing(request, [resource for resource in found if resource])


async def _put(request: Request) -> Response:
    body = await json_body(request)
    emulator, path = emulator_of(request), _path(request)
    name = request.path_params["registry"]
    other = find_registry(emulator, name)
    if other and other.path.lower() != path.lower():
        raise ResourceManagerError(
            409,
            "Conflict",
            f"The registry name {name} is taken. Registries of all share one cloud.",
        )
    old = emulator.store.get(path)
    resource = _resource(request, path, body, old)
    emulator.store.put(path, resource)
    remember_registry(emulator, path)
    headers = emulator.operations.headers(emulator.operations.begin(None))
    return JSONResponse(resource, 200 if old else 201, headers)


def _resource(request: Request, path: str, body: dict[str, Any], old: Resource | None) -> Resource:
    emulator = emulator_of(request)
    config = emulator.config
    name = path.rpartition("/")[2]
    given = {key: value for key, value in properties_of(body).items() if value}
    before = old or {}
    location = body.get("location") or before.get("location") or config.location
    own = f"https://{config.api_host}"
    properties = {
        "publicNetworkAccess": "Enabled",
        "discoveryUrl": f"{own}/registrymanagement/v1.0/registries/{name}/discovery",
        "mlFlowRegistryUri": f"azureml://{config.api_host}/mlflow/v1.0{path}",
        "intellectualPropertyPublisher": None,
        "managedResourceGroup": {"resourceId": f"{path.partition('/providers/')[0]}-{name}"},
        "registryPrivateEndpointConnections": [],
        "regionDetails": [{"location": location, "acrDetails": [], "storageAccountDetails": []}],
        **before.get("properties", {}),
        **given,
    }
    resource = envelope(emulator.store, path, "", {"properties": properties})
    return resource | {
        "type": "Microsoft.MachineLearningServices/registries",
        "location": location,
        "tags": body.get("tags") or before.get("tags") or {},
        "kind": None,
        "sku": body.get("sku") or before.get("sku") or {"name": "Basic", "tier": "Basic"},
        "identity": {
            "type": "SystemAssigned",
            "principalId": config.client_id,
            "tenantId": config.tenant,
        },
    }


def _path(request: Request) -> str:
    return REGISTRY.format(**request.path_params)


def _own_paths(request: Request) -> tuple[str, str]:
    """The registries that are there without being made."""
    return system_registry_path(), default_registry_path(emulator_of(request).config)


def _registry(request: Request) -> Resource:
    path = _path(request)
    resource = emulator_of(request).store.get(path)
    own = next((p for p in _own_paths(request) if p.lower() == path.lower()), None)
    if resource is None and own:
        return _resource(request, own, {}, None)
    if resource is None:
        parameters = request.path_params
        raise ResourceManagerError(
            404,
            "ResourceNotFound",
            f"The Resource 'Microsoft.MachineLearningServices/registries/{parameters['registry']}' "
            f"under resource group '{parameters['resource_group']}' was not found. For more "
            f"details please go to https://aka.ms/ARMResourceNotFoundFix",
        )
    return resource
