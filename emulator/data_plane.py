"""Small data-plane services: discovery, and the addresses behind data and model versions."""

import re
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.http import WORKSPACE, AzureError, Router, emulator_of, json_body
from emulator.resource_manager.asset_uris import resolve_uri
from emulator.resource_manager.places import Place, workspace_of
from emulator.resource_manager.resources import workspace_path

if TYPE_CHECKING:
    from emulator.core import Emulator

_ASSET = re.compile(
    r"azureml://locations/[^/]+/workspaces/(?P<workspace>[^/]+)/(?P<kind>data|models)"
    r"/(?P<name>[^/]+)/versions/(?P<version>[^/]+)"
)
_OUTPUT = "_output_data_"


def output_asset_id(emulator: "Emulator", run_id: str, output: str) -> str:
    """The id of the unnamed data asset that an output of a run is."""
    config = emulator.config
    run = emulator.store.document("runs").get(run_id) or {}
    workspace = Place(emulator, run.get("workspace") or config.workspace_path)
    return workspace.asset_id("data", f"azureml_{run_id}{_OUTPUT}{output}", "1")


def output_type(emulator: "Emulator", output: dict[str, str]) -> str:
    """The type that run history tells for an output ({"uri", "type"}).

    A model is told as its folder: the SDK (1.33 to 1.35) fails on outputs of the model types
    before it sends anything, and downloads folders.
    """
    if not output["type"].endswith("_model"):
        return output["type"]
    from emulator.uris import local_path

    return "uri_file" if local_path(emulator, output["uri"]).is_file() else "uri_folder"


def register(router: Router) -> None:
    @router.operation("Discovery_Get", "GET", "/discovery")
    async def discovery(request: Request) -> Response:
        """Every service that is emulated here has one host."""
        address = f"https://{emulator_of(request).config.api_host}"
        services = ("api", "history", "experimentation", "modelmanagement")
        return JSONResponse(dict.fromkeys(services, address))

    @router.operation(
        "DataVersion_BatchGetResolvedUris",
        "POST",
        f"/data/v1.0{WORKSPACE}/dataversion/batchGetResolvedUris",
    )
    async def data_uris(request: Request) -> Response:
        found = {key: _resolve(request, key) for key in await _wanted(request)}
        values = {key: {"uri": uri, "type": kind} for key, (uri, kind) in found.items()}
        return JSONResponse({"values": values})

    @router.operation(
        "Models_BatchGetResolvedUris",
        "POST",
        f"/modelregistry/v1.0{WORKSPACE}/models/batchGetResolvedUris",
    )
    async def model_uris(request: Request) -> Response:
        found = {key: _resolve(request, key) for key in await _wanted(request)}
        values = {key: {"path": uri, "type": kind} for key, (uri, kind) in found.items()}
        return JSONResponse({"values": values})


async def _wanted(request: Request) -> list[str]:
    workspace_path(request)
    values = (await json_body(request)).get("values")
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise AzureError(400, "UserError", 'The body needs "values", a list of asset ids.')
    return values


def _resolve(request: Request, asset_id: str) -> tuple[str, str]:
    """The storage address and the type of an asset; 404 when there is none."""
    emulator = emulator_of(request)
    match = _ASSET.fullmatch(asset_id)
    place = workspace_of(request)
    workspace = emulator.store.get(place.path) or {}
    guid = workspace.get("properties", {}).get("workspaceId")
    if match is None or match["workspace"] != guid:
        raise AzureError(400, "UserError", f"'{asset_id}' is no asset id of this workspace.")
    if output := _run_output(emulator, match["name"]):
        return resolve_uri(emulator, output["uri"], place.path), output_type(emulator, output)
    path = f"{place.path}/{match['kind']}/{match['name']}/versions"
    asset = emulator.store.get(f"{path}/{match['version']}")
    if asset is None:
        message = f"Could not find asset with ID: {asset_id}"
        raise AzureError(404, "UserError", message, inner=("NotFoundError",))
    properties = asset["properties"]
    if match["kind"] == "data":
        return resolve_uri(emulator, properties["dataUri"], place.path), properties["dataType"]
    return resolve_uri(emulator, properties["modelUri"], place.path), properties["modelType"]


def _run_output(emulator: "Emulator", name: str) -> dict[str, str] | None:
    """The output of a run that an unnamed data asset stands for."""
    runs = emulator.store.document("runs")
    words = name.removeprefix("azureml_").split(_OUTPUT)
    # Either name may hold the separator itself.
    for end in range(1, len(words)):
        run = runs.get(_OUTPUT.join(words[:end])) or {}
        output: dict[str, str] | None = (run.get("outputs") or {}).get(_OUTPUT.join(words[end:]))
        if output:
            return output
    return None
