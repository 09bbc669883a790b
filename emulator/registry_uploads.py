"""Files of registry assets: where clients put them, read them, and have them copied from."""

import asyncio
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.blob_store import BlobError
from emulator.http import DATA_PLANE, AzureError, Router, emulator_of, json_body, request_id
from emulator.registry_service import find_version, registry_of
from emulator.registry_store import REGISTRY
from emulator.resource_manager import asset_versions
from emulator.resource_manager.asset_kinds import DATA, ENVIRONMENTS, MODELS, Kind, missing_version
from emulator.resource_manager.places import Place, workspace_with_id
from emulator.resource_manager.resources import properties_of
from emulator.resource_manager.uploads import blob_reference, pending_upload
from emulator.store import Resource
from emulator.uris import local_path

if TYPE_CHECKING:
    from emulator.core import Emulator

_SOURCE = re.compile(
    r"azureml://locations/[^/]+/workspaces/(?P<workspace>[^/]+)/(?P<kind>[a-z]+)"
    r"/(?P<name>[^/]+)/versions/(?P<version>[^/]+)"
)
_SHARED: dict[str, tuple[Kind, str]] = {
    "data": (DATA, "dataUri"),
    "models": (MODELS, "modelUri"),
    "environments": (ENVIRONMENTS, ""),
}
"""What can be shared, and the property that holds the address of its files."""


def register(router: Router) -> None:
    base = DATA_PLANE + REGISTRY
    asset = "/{name}/versions/{version}"
    router.operation(
        "RegistryTemporaryDataReferences_CreateOrGet", "PUT", f"{base}/tempdatarefs{asset}"
    )(_temporary_reference)
    router.operation(
        "RegistryDataReferences_GetBlobReferenceSas", "POST", f"{base}/datarefs{asset}"
    )(_blob_reference)
    # As later api-versions call it.
    router.operation(
        "RegistryDataReferences_GetBlobReferenceSAS", "POST", f"{base}/datareferences{asset}"
    )(_blob_reference)
    router.operation("RegistryAssets_Import", "POST", f"{base}/import")(_import)
    for kind, collection in (("Code", "codes"), ("Data", "data"), ("Model", "models")):
        router.operation(
            f"Registry{kind}Versions_CreateOrGetStartPendingUpload",
            "POST",
            f"{base}/{collection}{asset}/startPendingUpload",
        )(_pending_upload)


async def _temporary_reference(request: Request) -> Response:
    """A container for an asset's files; the same one whenever it is asked for again."""
    place = registry_of(request)
    asset_id = str((await json_body(request)).get("assetId"))
    emulator = place.emulator
    uploads = emulator.store.document("registryUploads")
    container = uploads.get(asset_id.lower()) or request_id()
    uploads.put(asset_id.lower(), container)
    emulator.blobs.create_container(container)
    return JSONResponse(
        {
            "assetId": asset_id,
            "temporaryDataReferenceId": container,
            "temporaryDataReferenceType": "TemporaryBlobReference",
            "blobReferenceForConsumption": blob_reference(request, container),
        }
    )


async def _pending_upload(request: Request) -> Response:
    registry_of(request)
    return JSONResponse(pending_upload(request))


async def _blob_reference(request: Request) -> Response:
    """A signature with which an asset's files can be read."""
    registry_of(request)
    uri = str((await json_body(request)).get("blobUri"))
    emulator = emulator_of(request)
    storage = f"https://{emulator.config.blob_host}/"
    container = unquote(uri.removeprefix(storage)).partition("/")[0]
    try:
        here = uri.startswith(storage) and emulator.blobs.has_container(container)
    except BlobError:
        here = False
    if not here:
        raise AzureError(400, "UserError", f"'{uri}' is no blob of the registry's storage.")
    return JSONResponse(
        {
            "blobReferenceForConsumption": {
                **blob_reference(request, container),
                "blobUri": uri,
            }
        }
    )


async def _import(request: Request) -> Response:
    """Copy a workspace's asset into the registry."""
    place = registry_of(request)
    emulator = place.emulator
    asked = properties_of(await json_body(request), "destinationName", "destinationVersion")
    source, kind, key = _source(emulator, str(asked.get("sourceAssetId")))
    name = asked.get("destinationName") or source["id"].split("/")[-3]
    version = asked.get("destinationVersion") or source["name"]
    return begin_copy(place, kind, str(name), str(version), source["properties"], key)


def begin_copy(
    place: Place, kind: Kind, name: str, version: str, properties: dict[str, Any], key: str
) -> Response:
    """Start to copy an asset into a registry; 409 when it has one of that name and version.

    `key`: the property that holds the address of its files; "" for an asset without any.
    """
    if find_version(place, kind, name, version):
        reference = place.id(kind.collection, name, version)
        raise AzureError(409, "UserError", f"Asset already exists: {reference}")
    operations = place.emulator.operations
    operation = operations.begin(_copy_asset(place, kind, name, version, properties, key))
    return Response(status_code=202, headers=operations.headers(operation, location=True))


def _source(emulator: "Emulator", asset_id: str) -> tuple[Resource, Kind, str]:
    """The workspace's asset that an id means, its kind, and where its address stands."""
    match = _SOURCE.fullmatch(asset_id)
    if match is None or match["kind"] not in _SHARED:
        raise AzureError(
            400,
            "UserError",
            f"'{asset_id}' cannot be shared: it must be the id of a workspace's model, data or "
            "environment version.",
        )
    kind, key = _SHARED[match["kind"]]
    workspace = workspace_with_id(emulator, match["workspace"])
    if workspace is None:
        raise AzureError(404, "UserError", f"There is no workspace {match['workspace']}.")
    found = asset_versions.find_version(workspace, kind, match["name"], match["version"])
    if found is None:
        raise missing_version(kind, workspace, match["name"], match["version"])
    return found, kind, key


async def _copy_asset(
    place: Place, kind: Kind, name: str, version: str, properties: dict[str, Any], key: str
) -> None:
    if key:
        emulator = place.emulator
        files = local_path(emulator, properties[key])
        container = request_id()
        emulator.blobs.create_container(container)
        target = emulator.blobs.path(container, files.name)
        await asyncio.to_thread(_copy_files, files, target)
        properties = {**properties, key: emulator.blobs.url(container, files.name)}
    asset_versions.put_version(place, kind, name, version, {"properties": properties})


def _copy_files(source: Path, target: Path) -> None:
    if not source.exists():
        raise AzureError(404, "UserError", f"The asset's files are not there: {source.name}.")
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
