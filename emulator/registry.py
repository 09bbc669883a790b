"""The system registry: models, components and environments read from folders, and its service.

A registry folder holds ordinary Azure ML YAML, one asset a file:

    models/NAME/model.yaml              `path`: an MLflow model, or a plain Hugging Face folder
    components/NAME/component.yaml      `code`: the folder its command runs in
    environments/NAME/environment.yaml

Several versions of one asset stand in folders of their own (models/NAME/2/model.yaml). Files that
are added or changed while the emulator runs are seen by the next request. In a later folder an
asset replaces one of the same name and version in an earlier folder.
"""

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.http import AzureError, Router, emulator_of
from emulator.registry_wire import container_resource, version_resource

ASSETS = Path(__file__).parent / "registry_assets"
NAME = "azureml"
SUBSCRIPTION = "00000000-0000-0000-0000-00000000a2e9"
RESOURCE_GROUP = "azureml-registry"
LATEST = frozenset({"latest", "azureml_default"})
PAGE = 100
"""Assets in one page of a list."""

KINDS = {"models": "model.yaml", "components": "component.yaml", "environments": "environment.yaml"}


class AssetNotFound(AzureError, KeyError):
    """No such asset. Answered as the service does, and a KeyError for callers in this process."""

    def __init__(self, message: str) -> None:
        super().__init__(404, "UserError", message)

    def __str__(self) -> str:
        return self.message


def asset_folders(state: Path) -> list[Path]:
    """The shipped assets, and those that a user put below the state folder."""
    return [ASSETS, state / "registry"]


@dataclass(frozen=True)
class Asset:
    """One version of one asset: what its YAML says and where it stands."""

    kind: str
    name: str
    version: str
    created: str
    """ISO 8601, UTC."""
    spec: Mapping[str, Any]
    file: Path

    @property
    def id(self) -> str:
        return f"azureml://registries/{NAME}/{self.kind}/{self.name}/versions/{self.version}"

    @property
    def order(self) -> tuple[str, tuple[int, ...]]:
        """Sorts by creation; assets of one moment sort by the numbers in their version."""
        return self.created, tuple(int(n) for n in re.findall(r"\d+", self.version))


class Registry:
    """The assets below one or more registry folders. Cheap to call: files are parsed once."""

    def __init__(self, folders: Sequence[Path] = (ASSETS,)) -> None:
        self._folders = tuple(folders)
        self._parsed: dict[Path, tuple[int, Asset]] = {}

    def names(self, kind: str) -> list[str]:
        return sorted({asset.name for asset in self._assets(kind).values()})

    def versions(self, kind: str, name: str) -> list[Asset]:
        """All versions, the most recently created first; empty for an unknown name."""
        found = [a for a in self._assets(kind).values() if a.name == name]
        return sorted(found, key=lambda a: a.order, reverse=True)

    def asset(self, kind: str, name: str, version: str | None = None) -> Asset:
        """One version, or the newest (None, "latest"); AssetNotFound if there is none."""
        versions = self.versions(kind, name)
        wanted = None if version is None or version in LATEST else version
        for asset in versions:
            if wanted is None or asset.version == wanted:
                return asset
        reference = f"azureml://registries/{NAME}/{kind}/{name}/versions/{version or 'latest'}"
        raise AssetNotFound(f"Could not find asset with ID: {reference}")

    def model(self, name: str, version: str | None = None) -> dict[str, Any]:
        """A model's YAML."""
        return copy.deepcopy(dict(self.asset("models", name, version).spec))

    def component(self, name: str, version: str | None = None) -> dict[str, Any]:
        """A component's YAML; its steps name their components as `azureml:NAME:VERSION`."""
        return copy.deepcopy(dict(self.asset("components", name, version).spec))

    def model_folder(self, name: str, version: str | None = None) -> Path:
        """The folder that a job mounts for this model: an MLflow model or a Hugging Face folder."""
        return self._folder(self.asset("models", name, version), "path")

    def component_code(self, name: str, version: str | None = None) -> Path | None:
        """The folder that the component's command runs in; None for a pipeline component."""
        asset = self.asset("components", name, version)
        return self._folder(asset, "code") if "code" in asset.spec else None

    def _folder(self, asset: Asset, key: str) -> Path:
        folder = (asset.file.parent / str(asset.spec[key])).resolve()
        if not folder.is_dir():
            raise AssetNotFound(
                f"{asset.file}: {key} names the folder {folder}, which is not there."
            )
        return folder

    def _assets(self, kind: str) -> dict[tuple[str, str], Asset]:
        file_name = KINDS[kind]
        files = [
            file
            for folder in self._folders
            for pattern in (f"*/{file_name}", f"*/*/{file_name}")
            for file in sorted((folder / kind).glob(pattern))
        ]
        assets = [self._read(kind, file) for file in files]
        return {(asset.name, asset.version): asset for asset in assets}

    def _read(self, kind: str, file: Path) -> Asset:
        changed = file.stat().st_mtime_ns
        if file not in self._parsed or self._parsed[file][0] != changed:
            self._parsed[file] = (changed, _parse(kind, file, changed))
        return self._parsed[file][1]


def _parse(kind: str, file: Path, changed: int) -> Asset:
    spec = yaml.safe_load(file.read_text())
    missing = [key for key in ("name", "version") if key not in (spec or {})]
    if missing:
        raise ValueError(f"{file}: {' and '.join(missing)} missing; every registry asset needs it.")
    created = (spec.pop("creation_context", None) or {}).get("created_at")
    moment = datetime.fromtimestamp(changed / 1e9, UTC) if created is None else created
    text = moment.isoformat() if isinstance(moment, datetime) else str(moment)
    return Asset(kind, spec["name"], str(spec["version"]), text, spec, file)


def _page(request: Request, items: list[dict[str, Any]]) -> JSONResponse:
    """One page of a list: `$top` is its size, `$skip` how many came before."""
    query = dict(request.query_params)
    try:
        size, start = int(query.get("$top", PAGE)), int(query.get("$skip", 0))
    except ValueError:
        raise AzureError(400, "UserError", "$top and $skip must be whole numbers.") from None
    answer: dict[str, Any] = {"value": items[start : start + size]}
    if start + size < len(items):
        parameters = urlencode({**query, "$skip": start + size}, quote_via=quote, safe="$")
        host = request.headers["host"]
        answer["nextLink"] = f"https://{host}{request.url.path}?{parameters}"
    return JSONResponse(answer)


def register(router: Router) -> None:
    """Add the registry's operations to the service of the API host."""
    place = "/registrymanagement/v1.0/registries/{registry}/discovery"
    router.operation("RegistryManagement_Discovery", "GET", place)(discover)
    for kind in KINDS:
        _register(router, kind)


async def discover(request: Request) -> Response:
    """Where a registry's service is."""
    _check_registry(request)
    region = request.headers["host"].partition(".")[0]
    return JSONResponse(
        {
            "registryName": NAME,
            "tenantId": emulator_of(request).config.tenant,
            "primaryRegion": region,
            "regions": [region],
            "subscriptionId": SUBSCRIPTION,
            "resourceGroup": RESOURCE_GROUP,
            "workspaceName": "",
            # Clients append the path of the service without a slash between.
            "primaryRegionResourceProviderUri": f"https://{request.headers['host']}/",
        }
    )


def _register(router: Router, kind: str) -> None:
    title = kind.removesuffix("s").capitalize()
    place = (
        "/mferp/managementfrontend/subscriptions/{subscription}/resourceGroups/{resource_group}"
        f"/providers/Microsoft.MachineLearningServices/registries/{{registry}}/{kind}"
    )

    @router.operation(f"Registry{title}Containers_List", "GET", place)
    async def containers(request: Request) -> Response:
        registry = _check_registry(request)
        names = registry.names(kind)
        return _page(request, [container_resource(registry.versions(kind, n)) for n in names])

    @router.operation(f"Registry{title}Containers_Get", "GET", place + "/{name}")
    async def container(request: Request) -> Response:
        name = request.path_params["name"]
        versions = _check_registry(request).versions(kind, name)
        if not versions:
            reference = f"azureml://registries/{NAME}/{kind}/{name}"
            raise AssetNotFound(f"Could not find asset with ID: {reference}")
        return JSONResponse(container_resource(versions))

    @router.operation(f"Registry{title}Versions_List", "GET", place + "/{name}/versions")
    async def versions(request: Request) -> Response:
        registry = _check_registry(request)
        assets = registry.versions(kind, request.path_params["name"])
        if request.query_params.get("$orderBy", "").lower() == "createdtime asc":
            assets.reverse()
        return _page(request, [version_resource(asset, registry) for asset in assets])

    @router.operation(f"Registry{title}Versions_Get", "GET", place + "/{name}/versions/{version}")
    async def version(request: Request) -> Response:
        registry = _check_registry(request)
        asset = registry.asset(kind, request.path_params["name"], request.path_params["version"])
        return JSONResponse(version_resource(asset, registry))


def _check_registry(request: Request) -> Registry:
    name = request.path_params["registry"]
    if name.lower() != NAME:
        raise AzureError(
            404,
            "RegistryNotFound",
            f"Registry {name} was not found. The local Azure ML has one registry: {NAME}.",
        )
    return emulator_of(request).registry
