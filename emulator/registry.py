"""The system registry: models, components and environments read from folders.

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

import yaml

from emulator.http import AzureError

ASSETS = Path(__file__).parent / "registry_assets"
NAME = "azureml"
SUBSCRIPTION = "00000000-0000-0000-0000-00000000a2e9"
RESOURCE_GROUP = "azureml-registry"
LATEST = frozenset({"latest", "azureml_default"})
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
