"""Versioned assets of a workspace: data, models, code, environments and components."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.http import WORKSPACE, AzureError, Router, emulator_of, json_body
from emulator.resource_manager.resources import envelope, listing, workspace_path
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")


@dataclass(frozen=True)
class Kind:
    """One kind of asset and what is special about it."""

    collection: str
    operation: str
    complete: Callable[["Emulator", str, str, dict[str, Any]], None]
    """Fills in what the service adds to the client's properties: (emulator, name, version, p)."""
    content: tuple[str, ...] = ()
    """Properties that may not change under an existing version."""
    update_status: int = 200
    """What a PUT of an existing version answers."""


def _complete_data(emulator: "Emulator", name: str, version: str, p: dict[str, Any]) -> None:
    p["dataUri"] = resolve_uri(emulator, p.get("dataUri", ""))


def _complete_model(emulator: "Emulator", name: str, version: str, p: dict[str, Any]) -> None:
    p["modelUri"] = resolve_uri(emulator, p.get("modelUri", ""))
    p["flavors"] = p.get("flavors") or {}
    p.setdefault("stage", None)
    match = re.search(r"/jobs/([^/]+)/outputs/", p["modelUri"])
    p["jobName"] = p.get("jobName") or (match[1] if match else None)


def _complete_code(emulator: "Emulator", name: str, version: str, p: dict[str, Any]) -> None:
    p.setdefault("codeUri", "")


def _complete_environment(emulator: "Emulator", name: str, version: str, p: dict[str, Any]) -> None:
    p.setdefault("environmentType", "UserCreated")
    p.setdefault("osType", "Linux")
    p["condaFile"] = p.get("condaFile") or ""


def _complete_component(emulator: "Emulator", name: str, version: str, p: dict[str, Any]) -> None:
    spec = p.get("componentSpec")
    if not isinstance(spec, dict):
        raise AzureError(400, "UserError", "componentSpec must be an object.")
    spec["name"], spec["version"] = name, version
    for declared in (spec.get("inputs") or {}).values():
        if isinstance(declared, dict):
            declared["optional"] = str(declared.get("optional", False)).capitalize()


KINDS = (
    Kind("data", "DataVersions", _complete_data, ("dataUri", "dataType")),
    Kind("models", "ModelVersions", _complete_model, ("modelUri", "modelType")),
    Kind("codes", "CodeVersions", _complete_code, ("codeUri",)),
    Kind(
        "environments",
        "EnvironmentVersions",
        _complete_environment,
        ("image", "condaFile"),
        update_status=201,
    ),
    Kind("components", "ComponentVersions", _complete_component, ("componentSpec",)),
)


def resolve_uri(emulator: "Emulator", uri: str) -> str:
    """The storage address behind an asset's path, as the service stores it.

    `azureml://jobs/J/outputs/O` becomes the output's own address; an unknown job or output is
    the client's error, and the message lists what the job has.
    """
    match = re.fullmatch(r"azureml://jobs/([^/]+)/outputs/([^/]+)(?:/paths/(.*))?/?", uri)
    config = emulator.config
    long_form = (
        f"azureml://subscriptions/{config.subscription}/resourceGroups/{config.resource_group}"
        f"/workspaces/{config.workspace}"
    )
    if match:
        job, output, path = match.groups()
        resource = emulator.store.get(f"{config.workspace_path}/jobs/{job}")
        if resource is None:
            raise AzureError(404, "UserError", f"Could not find job: {job}.")
        outputs = resource["properties"].get("outputs") or {}
        if output not in outputs:
            raise AzureError(
                400,
                "UserError",
                f"Job {job} has no output named {output}. Its outputs: {', '.join(outputs)}.",
            )
        uri = f"{outputs[output]['uri'].rstrip('/')}/{path or ''}"
    if uri.startswith("azureml://datastores/"):
        return uri.replace("azureml:/", long_form, 1)
    return uri


def register(router: Router) -> None:
    for kind in KINDS:
        _register(router, kind)


def _register(router: Router, kind: Kind) -> None:
    base = f"{WORKSPACE}/{kind.collection}"

    @router.operation(f"{kind.operation}_ListContainers", "GET", base)
    async def list_containers(request: Request) -> Response:
        path = workspace_path(request)
        containers = emulator_of(request).store.children(f"{path}/{kind.collection}")
        return listing(request, _visible(request, containers))

    @router.operation(f"{kind.operation}_GetContainer", "GET", base + "/{name}")
    async def get_container(request: Request) -> Response:
        container = emulator_of(request).store.get(_path(request, kind))
        if container is None:
            raise _missing(request, kind)
        return JSONResponse(container)

    @router.operation(f"{kind.operation}_PutContainer", "PUT", base + "/{name}")
    async def put_container(request: Request) -> Response:
        return _put_container(request, kind, await json_body(request))

    @router.operation(f"{kind.operation}_List", "GET", base + "/{name}/versions")
    async def list_versions(request: Request) -> Response:
        versions = _visible(
            request, emulator_of(request).store.children(_path(request, kind) + "/versions")
        )
        wanted = request.query_params.get("hash")
        if wanted:
            versions = [v for v in versions if _hash(v) == wanted]
        # Newest first, as the service does for "latest".
        return listing(request, versions[::-1])

    @router.operation(f"{kind.operation}_Get", "GET", base + "/{name}/versions/{version}")
    async def get_version(request: Request) -> Response:
        asset = emulator_of(request).store.get(_version_path(request, kind))
        if asset is None:
            raise _missing(request, kind)
        return JSONResponse(asset)

    @router.operation(
        f"{kind.operation}_CreateOrUpdate", "PUT", base + "/{name}/versions/{version}"
    )
    async def put_version(request: Request) -> Response:
        return _put(request, kind, await json_body(request))

    @router.operation(f"{kind.operation}_Delete", "DELETE", base + "/{name}/versions/{version}")
    async def delete_version(request: Request) -> Response:
        deleted = emulator_of(request).store.delete(_version_path(request, kind))
        return Response(status_code=200 if deleted else 204)


def _put(request: Request, kind: Kind, body: dict[str, Any]) -> Response:
    emulator = emulator_of(request)
    store = emulator.store
    name = request.path_params["name"]
    version = request.path_params["version"]
    if not (_NAME.fullmatch(name) and _NAME.fullmatch(version)):
        raise AzureError(
            400,
            "UserError",
            f"The asset name or version '{name}:{version}' is invalid: 1 to 255 letters, digits, "
            "'-', '_' and '.', beginning with a letter, a digit or '_'.",
        )
    path = _version_path(request, kind)
    properties: dict[str, Any] = body.get("properties") or {}
    kind.complete(emulator, name, version, properties)
    for key in ("tags", "properties"):
        properties[key] = properties.get(key) or {}
    properties.setdefault("isAnonymous", False)
    properties["isArchived"] = bool(properties.get("isArchived"))
    properties["provisioningState"] = "Succeeded"
    old = store.get(path)
    if old:
        _check_unchanged(kind, name, version, old["properties"], properties)
    resource = envelope(store, path, f"{kind.collection}/versions", {"properties": properties})
    store.put(path, resource)
    _update_container(request, kind, properties)
    return JSONResponse(resource, kind.update_status if old else 201)


def _put_container(request: Request, kind: Kind, body: dict[str, Any]) -> Response:
    """Change what all versions share: description, tags, and whether they are archived."""
    store = emulator_of(request).store
    path = _path(request, kind)
    container = store.get(path)
    if container is None:
        raise _missing(request, kind)
    asked: dict[str, Any] = body.get("properties") or {}
    for key in ("description", "tags", "properties", "isArchived"):
        if asked.get(key) is not None:
            container["properties"][key] = asked[key]
    store.put(path, container)
    return JSONResponse(container)


def _check_unchanged(
    kind: Kind, name: str, version: str, old: dict[str, Any], new: dict[str, Any]
) -> None:
    changed = [key for key in kind.content if _canonical(old.get(key)) != _canonical(new.get(key))]
    if changed:
        raise AzureError(
            409,
            "UserError",
            f"A {kind.collection.rstrip('s')} asset with name '{name}' and version '{version}' "
            f"already exists and its {', '.join(changed)} cannot be changed. "
            "Use another version.",
        )


def _canonical(value: Any) -> Any:
    """Content to compare: names in an ARM path have no case, and a folder may end with a slash."""
    if not isinstance(value, str) or not value.startswith("azureml://"):
        return value
    names, paths, path = value.partition("/paths/")
    return names.lower() + paths + path.rstrip("/")


def _update_container(request: Request, kind: Kind, properties: dict[str, Any]) -> None:
    store = emulator_of(request).store
    path = _path(request, kind)
    versions = [v["name"] for v in store.children(path + "/versions")]
    numbers = [int(v) for v in versions if v.isdigit()]
    old = (store.get(path) or {}).get("properties", {})
    shared = {"description": None, "tags": {}, "properties": {}, "isArchived": False} | old
    shared["latestVersion"] = versions[-1]
    shared["nextVersion"] = str(max(numbers, default=0) + 1)
    if kind.collection == "data":
        shared["dataType"] = properties.get("dataType")
    store.put(path, envelope(store, path, kind.collection, {"properties": shared}))


def _path(request: Request, kind: Kind) -> str:
    return f"{workspace_path(request)}/{kind.collection}/{request.path_params['name']}"


def _version_path(request: Request, kind: Kind) -> str:
    """The path of the version; a component's `azureml_default` is its newest version."""
    path = _path(request, kind)
    version = request.path_params["version"]
    if kind.collection == "components" and version == "azureml_default":
        container = emulator_of(request).store.get(path)
        if container:
            version = container["properties"]["latestVersion"]
    return f"{path}/versions/{version}"


def _visible(request: Request, assets: list[Resource]) -> list[Resource]:
    """The assets that the list view asks for; archived ones are hidden unless asked for."""
    view = request.query_params.get("listViewType", "ActiveOnly")
    if view == "All":
        return assets
    archived = view == "ArchivedOnly"
    return [a for a in assets if bool(a["properties"].get("isArchived")) == archived]


def _hash(asset: Resource) -> str | None:
    value: str | None = asset["properties"].get("properties", {}).get("hash_sha256")
    return value


def _missing(request: Request, kind: Kind) -> AzureError:
    parameters = request.path_params
    version = f":{parameters['version']}" if "version" in parameters else ""
    return AzureError(
        404,
        "UserError",
        f"Could not find {kind.collection.rstrip('s')} asset {parameters['name']}{version} "
        f"in workspace {parameters['workspace']}.",
    )
