"""Run history's artifact service: where the files of a run are, as signed blob addresses."""

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.blob_store import BlobError
from emulator.http import WORKSPACE, AzureError, Router, emulator_of, json_body
from emulator.resource_manager.resources import workspace_path

if TYPE_CHECKING:
    from emulator.blob_store import Blob
    from emulator.core import Emulator

_ORIGIN = "ExperimentRun"


def folder(run_id: str) -> str:
    """The prefix of a run's blobs in the artifact container."""
    return f"{_ORIGIN}/dcid.{run_id}/"


def signed_url(emulator: "Emulator", name: str, permissions: str) -> str:
    """The address of a blob of the artifact container, with a signature that allows its use."""
    container = emulator.config.artifact_container
    signature = emulator.blobs.sas(container, blob=name, permissions=permissions)
    return f"{emulator.blobs.url(container, name)}?{signature}"


def register(router: Router) -> None:
    for experiment in ("experiments", "experimentids"):
        base = f"/history/v1.0{WORKSPACE}/{experiment}/{{experiment}}/runs/{{run}}/artifacts"
        _register_reads(router, base)
        create = "RunArtifacts_BatchCreateEmptyArtifacts"
        router.operation(create, "POST", f"{base}/batch/metadata")(batch_create)

    base = f"/artifact/v2.0{WORKSPACE}/artifacts/{{origin}}/{{container}}"
    _register_reads(router, base, "Artifacts")
    create = "Artifacts_BatchCreateEmptyArtifacts"
    router.operation(create, "POST", f"{base}/batch/metadata")(batch_create)


def _register_reads(router: Router, base: str, service: str = "RunArtifacts") -> None:
    @router.operation(f"{service}_ListInContainer", "GET", base)
    async def list_all(request: Request) -> Response:
        names = _names(request, "")
        return JSONResponse({"value": [_artifact(request, name) for name in names]})

    @router.operation(f"{service}_ListInPath", "GET", f"{base}/path")
    async def list_path(request: Request) -> Response:
        names = _names(request, _path(request))
        return JSONResponse({"value": [_artifact(request, name) for name in names]})

    @router.operation(f"{service}_GetById", "GET", f"{base}/metadata")
    async def metadata(request: Request) -> Response:
        return JSONResponse(_artifact(request, _existing(request)))

    @router.operation(f"{service}_GetContentInformation", "GET", f"{base}/contentinfo")
    async def content_information(request: Request) -> Response:
        return JSONResponse(_content(request, _existing(request), "r"))

    @router.operation(f"{service}_GetSasUri", "GET", f"{base}/artifacturi")
    async def sas_uri(request: Request) -> Response:
        return JSONResponse(_content(request, _existing(request), "r")["contentUri"])

    @router.operation(f"{service}_ListSasByPrefix", "GET", f"{base}/prefix/contentinfo")
    async def list_sas(request: Request) -> Response:
        names = _names(request, _path(request))
        return JSONResponse({"value": [_content(request, name, "r") for name in names]})


async def batch_create(request: Request) -> Response:
    """Say where the client may put the files that it names; nothing is written yet."""
    workspace_path(request)
    paths = [str(item.get("path") or "") for item in (await json_body(request)).get("paths") or []]
    for path in paths:
        _blob(request, path)
    return JSONResponse(
        {
            "artifacts": {path: _artifact(request, path) for path in paths},
            "artifactContentInformation": {path: _content(request, path, "rcw") for path in paths},
            "errors": {},
        }
    )


def _start(request: Request) -> str:
    """The prefix of the blobs that a request is about: a run's, or a container's of an origin."""
    origin, container = _origin_and_container(request)
    return f"{origin}/{container}/"


def _origin_and_container(request: Request) -> tuple[str, str]:
    parameters = request.path_params
    if "run" in parameters:
        return _ORIGIN, f"dcid.{parameters['run']}"
    return parameters["origin"], parameters["container"]


def _names(request: Request, prefix: str) -> list[str]:
    """The paths of a run's artifacts that are in, or are, what the prefix names."""
    workspace_path(request)
    emulator = emulator_of(request)
    start = _start(request)
    try:
        found = list(emulator.blobs.names(emulator.config.artifact_container, start + prefix))
    except BlobError as error:
        raise AzureError(400, "UserError", error.message) from error
    names = [name.removeprefix(start) for name in found]
    inside = prefix.rstrip("/") + "/"
    return [n for n in names if not prefix or n == prefix or n.startswith(inside)]


def _path(request: Request) -> str:
    path = request.query_params.get("path")
    if not path:
        raise AzureError(400, "UserError", "The query parameter 'path' is missing.")
    return path


def _existing(request: Request) -> str:
    workspace_path(request)
    path = _path(request)
    if _blob(request, path) is None:
        container = _origin_and_container(request)[1].removeprefix("dcid.")
        raise AzureError(404, "UserError", f"Artifact {path} of run {container} was not found.")
    return path


def _blob(request: Request, path: str) -> "Blob | None":
    emulator = emulator_of(request)
    name = _start(request) + path
    try:
        return emulator.blobs.get(emulator.config.artifact_container, name)
    except BlobError as error:
        raise AzureError(400, "UserError", error.message) from error


def _artifact(request: Request, path: str) -> dict[str, Any]:
    name = _start(request) + path
    blob = _blob(request, path)
    known = {"etag": blob.etag, "createdTime": blob.created.isoformat()} if blob else {}
    place = {"dataStoreName": "workspaceartifactstore", "relativePath": name}
    return {**_identity(request, path), "artifactId": name, "dataPath": place, **known}


def _content(request: Request, path: str, permissions: str) -> dict[str, str]:
    name = _start(request) + path
    url = signed_url(emulator_of(request), name, permissions)
    return {**_identity(request, path), "contentUri": url}


def _identity(request: Request, path: str) -> dict[str, str]:
    origin, container = _origin_and_container(request)
    return {"origin": origin, "container": container, "path": path}
