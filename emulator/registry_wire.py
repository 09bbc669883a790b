"""Registry assets as the service answers them."""

import copy
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from emulator.resource_manager import component_specs

if TYPE_CHECKING:
    from emulator.registry import Asset, Registry


def tag_text(value: Any) -> str:
    """A tag or property as the registry publishes it: text; dicts as JSON, lists as Python."""
    return json.dumps(value) if isinstance(value, dict) else str(value)


def version_resource(asset: "Asset", registry: "Registry") -> dict[str, Any]:
    """The asset as the service answers it."""
    texts = {
        key: {k: tag_text(v) for k, v in (asset.spec.get(key) or {}).items()}
        for key in ("tags", "properties")
    }
    common = {
        **texts,
        "description": asset.spec.get("description", ""),
        "isAnonymous": False,
        "isArchived": bool(asset.spec.get("isArchived", False)),
        "provisioningState": "Succeeded",
    }
    own = {"models": _model, "components": _component, "environments": _environment}
    return {
        "id": asset.id,
        "name": asset.version,
        "type": f"Microsoft.MachineLearningServices/registries/{asset.kind}/versions",
        "properties": {**common, **own[asset.kind](asset, registry)},
        "systemData": _system_data(asset),
    }


def container_resource(versions: list["Asset"]) -> dict[str, Any]:
    """The name above all versions of an asset, newest first."""
    newest = versions[0]
    return {
        "id": newest.id.rpartition("/versions/")[0],
        "name": newest.name,
        "type": f"Microsoft.MachineLearningServices/registries/{newest.kind}",
        "properties": {
            "description": newest.spec.get("description", ""),
            "isArchived": False,
            "latestVersion": newest.version,
            "nextVersion": None,
            "properties": {},
            "tags": {},
        },
        "systemData": _system_data(newest),
    }


def _model(asset: "Asset", registry: "Registry") -> dict[str, Any]:
    ml_model = registry.model_folder(asset.name, asset.version) / "MLmodel"
    flavors = yaml.safe_load(ml_model.read_text())["flavors"] if ml_model.is_file() else {}
    answer = {
        "modelType": asset.spec.get("type", "mlflow_model"),
        "modelUri": asset.id,
        "flavors": {name: {"data": _texts(data)} for name, data in flavors.items()},
    }
    if metadata := asset.spec.get("system_metadata"):
        # The SDK writes this key in snake case; where the real service puts it when read is
        # not known, so clients find both spellings.
        answer |= {"system_metadata": metadata, "systemMetadata": metadata}
    return answer


def _component(asset: "Asset", registry: "Registry") -> dict[str, Any]:
    spec = copy.deepcopy(dict(asset.spec))
    spec.pop("code", None)
    component_specs.normalise(spec, asset.name, asset.version)
    for step in spec.get("jobs", {}).values():
        _, name, version = step["component"].split(":")
        step["component"] = registry.asset("components", name, version).id
    return {"componentSpec": spec}


def _environment(asset: "Asset", registry: "Registry") -> dict[str, Any]:
    return {
        "environmentType": "UserCreated",
        "osType": str(asset.spec.get("os_type", "linux")).capitalize(),
        "image": asset.spec.get("image"),
        "condaFile": "",
    }


def _texts(flavor: Mapping[str, Any]) -> dict[str, str]:
    return {key: tag_text(value) for key, value in flavor.items() if value is not None}


def _system_data(asset: "Asset") -> dict[str, str]:
    who = {"createdBy": "Microsoft", "createdByType": "Application"}
    return {**who, "createdAt": asset.created, "lastModifiedAt": asset.created}
