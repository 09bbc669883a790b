"""What all Azure resources have in common: envelope, system data, answers, lists."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.http import AzureError, ResourceManagerError, emulator_of, is_count, timestamp
from emulator.resource_manager.answers import api_version, complete
from emulator.store import Resource, Store


def workspace_path(request: Request) -> str:
    """The path of the request's workspace; 404 when there is none of that name."""
    parameters = request.path_params
    path = (
        f"/subscriptions/{parameters['subscription']}/resourceGroups/"
        f"{parameters['resource_group']}/providers/Microsoft.MachineLearningServices/"
        f"workspaces/{parameters['workspace']}"
    )
    if emulator_of(request).store.text(path) is None:
        raise ResourceManagerError(
            404,
            "ResourceNotFound",
            f"The Resource 'Microsoft.MachineLearningServices/workspaces/"
            f"{parameters['workspace']}' under resource group "
            f"'{parameters['resource_group']}' was not found. For more details please go to "
            "https://aka.ms/ARMResourceNotFoundFix",
        )
    return path


def envelope(store: Store, path: str, kind: str, body: dict[str, Any]) -> Resource:
    """A resource as it is stored and answered: the client's body with id, name and dates."""
    now = timestamp()
    who = {"lastModifiedBy": "local", "lastModifiedByType": "Application", "lastModifiedAt": now}
    old = store.get(path)
    created = (
        old["systemData"]
        if old
        else {
            "createdBy": "local",
            "createdByType": "Application",
            "createdAt": now,
        }
    )
    return {
        **body,
        "id": path,
        "name": path.rpartition("/")[2],
        "type": f"Microsoft.MachineLearningServices/workspaces/{kind}",
        "properties": body.get("properties") or {},
        "systemData": {**created, **who},
    }


def properties_of(body: Mapping[str, Any], *texts: str) -> dict[str, Any]:
    """The properties of a client's body; 400 unless they are an object, and `texts` text."""
    properties = body.get("properties") or {}
    if not isinstance(properties, dict):
        raise AzureError(400, "UserError", "properties must be an object.")
    for key in texts:
        if not isinstance(properties.get(key, ""), str | None):
            raise AzureError(400, "UserError", f"{key} must be text, not {properties[key]!r}.")
    return dict(properties)


def found(store: Store, path: str, what: str) -> Resource:
    resource = store.get(path)
    if resource is None:
        raise AzureError(404, "ResourceNotFound", f"{what} was not found.")
    return resource


def listing(request: Request, resources: list[Resource], page: int | None = None) -> Response:
    """A page of a collection: `$top`/`count` and `$skip` bound it, nextLink leads on.

    `$top` is all that a client wants; with `page`, as in registries, it is the size of a page,
    which is `page` by default.
    """
    query = {k.lower().lstrip("$"): v for k, v in request.query_params.items()}
    top = _number(query.get("top"), "$top")
    size = top or _number(query.get("count"), "count") or page
    skip = _number(query.get("skip") or query.get("skiptoken"), "$skip") or 0
    shown = resources[skip : skip + size] if size else resources[skip:]
    version = api_version(request)
    body: dict[str, Any] = {"value": [complete(resource, version) for resource in shown]}
    if skip + len(shown) < len(resources) and (page or top is None):
        link = request.url.include_query_params(**{"$skip": skip + len(shown)})
        body["nextLink"] = str(link.replace(scheme="https", port=None))
    return JSONResponse(body)


def _number(text: str | None, name: str) -> int | None:
    if not text:
        return None
    if not is_count(text):
        raise AzureError(400, "UserError", f"{name} must be a number, not '{text}'.")
    return int(text)
