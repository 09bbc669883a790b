"""What a workspace depends on: its key vault, storage, logs and images, resources of others.

Such a resource exists while a workspace names it, or the deployment that made it, until it is
deleted. It has a name here, and nothing behind it; storage accounts and key vaults are the
exceptions.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.http import ResourceManagerError, Router, emulator_of
from emulator.resource_manager.places import workspace_paths
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

KINDS = {
    "keyVault": "Microsoft.KeyVault/vaults",
    "applicationInsights": "Microsoft.Insights/components",
    "containerRegistry": "Microsoft.ContainerRegistry/registries",
    "storageAccount": "Microsoft.Storage/storageAccounts",
}
"""By property of a workspace: the type of what it names."""
LOGS = "Microsoft.OperationalInsights/workspaces"
"""Where a deployment's application insights keep their rows."""
_DELETED = "deletedDependents"
_DEPLOYMENTS = "/providers/Microsoft.Resources/deployments"


def register(router: Router) -> None:
    for namespace in (KINDS["applicationInsights"], KINDS["containerRegistry"], LOGS):
        _register_by_name(router, namespace)


def _register_by_name(router: Router, namespace: str) -> None:
    path = (
        "/subscriptions/{subscription}/resourceGroups/{resource_group}"
        f"/providers/{namespace}/{{resource}}"
    )

    @router.operation("Resources_GetById", "GET", path)
    async def get_by_id(request: Request) -> Response:
        emulator, path = emulator_of(request), _path(request)
        if not exists(emulator, path):
            parameters = request.path_params
            raise ResourceManagerError(
                404,
                "ResourceNotFound",
                f"The Resource '{namespace}/{parameters['resource']}' under resource group "
                f"'{parameters['resource_group']}' was not found. For more details please go to "
                "https://aka.ms/ARMResourceNotFoundFix",
            )
        return JSONResponse(_described(emulator, path, namespace))

    @router.operation("Resources_DeleteById", "DELETE", path)
    async def delete_by_id(request: Request) -> Response:
        emulator, path = emulator_of(request), _path(request)
        if not exists(emulator, path):
            return Response(status_code=204)
        forget(emulator, path)
        return Response(status_code=200)


def exists(emulator: "Emulator", path: str) -> bool:
    """Whether there is such a resource.

    All workspaces share one storage account, so it stays while the configured one is there; what
    the next workspace that is deleted has in it goes with that workspace.
    """
    wanted = path.lower()
    if wanted == storage_account(emulator).lower() or emulator.store.get(path):
        return True
    if emulator.store.document(_DELETED).get(wanted):
        return False
    named = [id_ for workspace in _workspaces(emulator) for id_ in dependents(workspace).values()]
    return wanted in (id_.lower() for id_ in (*named, *_made(emulator, path)))


def forget(emulator: "Emulator", path: str) -> None:
    """What a workspace names is deleted."""
    emulator.store.document(_DELETED).put(path.lower(), True)


def restore(emulator: "Emulator", path: str) -> None:
    """What was deleted is made again."""
    emulator.store.document(_DELETED).delete(path.lower())


def dependents(workspace: Resource) -> dict[str, str]:
    """The ids of what a workspace names, by its properties."""
    properties = workspace["properties"]
    return {key: str(properties[key]) for key in KINDS if properties.get(key)}


def remember(emulator: "Emulator", workspace: Resource) -> None:
    """A new workspace is made with what it names, also where something had such a name before."""
    for path in dependents(workspace).values():
        restore(emulator, path)


def take_storage(emulator: "Emulator") -> bool:
    """Whether the deletion of the storage account was asked for; it is asked for once."""
    deleted = emulator.store.document(_DELETED)
    path = storage_account(emulator).lower()
    asked = bool(deleted.get(path))
    deleted.delete(path)
    return asked


def storage_account(emulator: "Emulator") -> str:
    """The id of the account that is behind all workspaces."""
    return emulator.config.storage_path


def logs_of(deployment: Mapping[str, Any], insights: str) -> str | None:
    """Where a deployment that made these application insights lets them keep their rows."""
    made = [str(resource["id"]) for resource in deployment["properties"]["outputResources"]]
    if insights.lower() not in (path.lower() for path in made):
        return None
    return next((path for path in made if f"/{LOGS}/".lower() in path.lower()), None)


def _described(emulator: "Emulator", path: str, namespace: str) -> Resource:
    properties = {"provisioningState": "Succeeded"}
    for deployment in _deployments(emulator, path):
        if namespace == KINDS["applicationInsights"] and (logs := logs_of(deployment, path)):
            properties["WorkspaceResourceId"] = logs
    return {
        "id": path,
        "name": path.rpartition("/")[2],
        "type": namespace,
        "location": emulator.config.location,
        "tags": {},
        "properties": properties,
    }


def _workspaces(emulator: "Emulator") -> list[Resource]:
    found = [emulator.store.get(path) for path in workspace_paths(emulator)]
    return [workspace for workspace in found if workspace]


def _made(emulator: "Emulator", path: str) -> list[str]:
    """The ids of what the deployments of a resource's own group have made."""
    return [
        str(resource["id"])
        for deployment in _deployments(emulator, path)
        for resource in deployment["properties"]["outputResources"]
    ]


def _deployments(emulator: "Emulator", path: str) -> list[Resource]:
    group = path[: path.lower().index("/providers/")]
    return emulator.store.children(group + _DEPLOYMENTS)


def _path(request: Request) -> str:
    return str(request.url.path).rstrip("/")
