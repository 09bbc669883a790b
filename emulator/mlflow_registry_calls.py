"""The calls of MLflow's model registry, answered from the workspace's models."""

import asyncio
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.body_fields import MLFLOW_REGISTRY
from emulator.http import (
    WORKSPACE,
    AzureError,
    Handler,
    Router,
    check_types,
    emulator_of,
    is_count,
    json_body,
)
from emulator.mlflow_registry import MlflowError, Registry, pairs
from emulator.mlflow_sources import download_uri, is_of_this_machine, upload
from emulator.resource_manager.resources import workspace_path
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

_API = "/mlflow/{version}" + WORKSPACE + "/api/{api}/mlflow"
_STAGES = ("None", "Staging", "Production", "Archived")
_COMPARISON = re.compile(
    r"\s*([\w.`\"]+)\s*(=|!=|like|ilike|in)\s*(\(.*?\)|'[^']*'|\"[^\"]*\")\s*", re.IGNORECASE
)


def register(router: Router) -> None:
    for method, path, function in _OPERATIONS:
        name = "MLflow_" + path.replace("/", "_")
        router.operation(name, method, f"{_API}/{path}")(_handler(function))


def registry_address(emulator: "Emulator", workspace: str) -> str:
    """Where the MLflow of a job finds its workspace's registry, with azureml-mlflow or without."""
    return f"https://{emulator.config.api_host}/mlflow/v2.0{IN_JOB}{workspace}"


def _handler(function: Any) -> Handler:
    async def handle(request: Request) -> Response:
        registry = Registry(emulator_of(request), workspace_path(request))
        body: dict[str, Any] = dict(request.query_params)
        try:
            if request.method != "GET" and await request.body():
                body |= await json_body(request)
            check_types(body, MLFLOW_REGISTRY)
            body["_in_job"] = request.path_params["version"].endswith(IN_JOB)
            if str(body.get("source")).startswith("models:/"):
                body["source"] = await _logged_model(registry, str(body["source"]))
            if body["_in_job"] and is_of_this_machine(str(body.get("source"))):
                files = str(body["source"])
                body["source"] = await asyncio.to_thread(upload, registry.emulator, files)
            return JSONResponse(function(registry, body))
        except MlflowError as error:
            return error.response()
        except AzureError as error:
            return MlflowError("INVALID_PARAMETER_VALUE", error.message).response()

    return handle


async def _logged_model(registry: Registry, source: str) -> str:
    """Where the files of a logged model are, `models:/m-...`, or of a registered one."""
    name = source.removeprefix("models:/")
    if "/" in name:
        model, _, version = name.partition("/")
        return str(registry.version(model, version)["properties"]["modelUri"])
    call = f"/api/2.0/mlflow/logged-models/{quote(name, safe='')}"
    answer = await registry.emulator.tracking.request("GET", call)
    return str(answer["model"]["info"]["artifact_uri"])


IN_JOB = "-job"
"""Ends the API version in the address that jobs get: they read files where they lie."""


def _create_model(registry: Registry, body: dict[str, Any]) -> dict[str, Any]:
    name = str(body.get("name") or "")
    made = registry.create(name, body.get("description"), pairs(body.get("tags")))
    return {"registered_model": registry.told_model(made)}


def _get_model(registry: Registry, body: dict[str, Any]) -> dict[str, Any]:
    return {"registered_model": registry.told_model(registry.model(str(body.get("name") or "")))}


def _update_model(registry: Registry, body: dict[str, Any]) -> dict[str, Any]:
    model = registry.model(str(body.get("name") or ""))
    return {"registered_model": registry.told_model(
        registry.change(model, description=body.get("description"))
    )}  # fmt: skip


def _delete_model(registry: Registry, body: dict[str, Any]) -> dict[str, Any]:
    name = registry.model(str(body.get("name") or ""))["name"]
    registry.delete(registry.path(name))
    registry.aliases.delete(registry.path(name).lower())
    return {}


def _search_models(registry: Registry, body: dict[str, Any]) -> dict[str, Any]:
    found = registry.store.children(f"{registry.workspace}/models")
    told = [registry.told_model(m) for m in found if not m["properties"].get("isArchived")]
    return _page(told, "registered_models", body)


def _latest_versions(registry: Registry, body: dict[str, Any]) -> dict[str, Any]:
    model = registry.told_model(registry.model(str(body.get("name") or "")))
    stages = body.get("stages") or []
    found = [v for v in model["latest_versions"] if not stages or v["current_stage"] in stages]
    return {"model_versions": found}


def _create_version(registry: Registry, body: dict[str, Any]) -> dict[str, Any]:
    return {"model_version": registry.told_version(registry.create_version(body))}


def _asked_version(registry: Registry, body: dict[str, Any]) -> Resource:
    return registry.version(str(body.get("name") or ""), str(body.get("version") or ""))


def _get_version(registry: Registry, body: dict[str, Any]) -> dict[str, Any]:
    return {"model_version": registry.told_version(_asked_version(registry, body))}


def _update_version(registry: Registry, body: dict[str, Any]) -> dict[str, Any]:
    version = _asked_version(registry, body)
    changed = registry.change(version, description=body.get("description"))
    return {"model_version": registry.told_version(changed)}


def _delete_version(registry: Registry, body: dict[str, Any]) -> dict[str, Any]:
    registry.delete(_asked_version(registry, body)["id"])
    return {}


def _search_versions(registry: Registry, body: dict[str, Any]) -> dict[str, Any]:
    models = registry.store.children(f"{registry.workspace}/models")
    found = [registry.told_version(v) for m in models for v in registry.versions(m["name"])]
    return _page(found[::-1], "model_versions", body)


def _download_uri(registry: Registry, body: dict[str, Any]) -> dict[str, Any]:
    version = _asked_version(registry, body)
    return {"artifact_uri": download_uri(registry.emulator, version, body["_in_job"])}


def _transition(registry: Registry, body: dict[str, Any]) -> dict[str, Any]:
    stage = next((s for s in _STAGES if s.lower() == str(body.get("stage")).lower()), None)
    if stage is None:
        raise MlflowError(
            "INVALID_PARAMETER_VALUE",
            f"Invalid Model Version stage {body.get('stage')}. Value must be one of "
            f"{', '.join(_STAGES)}.",
        )
    version = _asked_version(registry, body)
    if str(body.get("archive_existing_versions")).lower() == "true":
        for other in registry.versions(str(body["name"])):
            if other["properties"].get("stage") == stage and other["name"] != version["name"]:
                registry.change(other, stage="Archived")
    changed = registry.change(version, stage=None if stage == "None" else stage)
    return {"model_version": registry.told_version(changed)}


def _set_tag(registry: Registry, body: dict[str, Any]) -> dict[str, Any]:
    resource = _tagged(registry, body)
    tags = (resource["properties"].get("tags") or {}) | {
        str(body.get("key")): str(body.get("value"))
    }
    registry.change(resource, tags=tags)
    return {}


def _delete_tag(registry: Registry, body: dict[str, Any]) -> dict[str, Any]:
    resource = _tagged(registry, body)
    tags = resource["properties"].get("tags") or {}
    tags.pop(str(body.get("key")), None)
    registry.change(resource, tags=tags)
    return {}


def _tagged(registry: Registry, body: dict[str, Any]) -> Resource:
    if body.get("version"):
        return _asked_version(registry, body)
    return registry.model(str(body.get("name") or ""))


def _set_alias(registry: Registry, body: dict[str, Any]) -> dict[str, Any]:
    version = _asked_version(registry, body)
    name, alias = str(body["name"]), str(body.get("alias") or "")
    registry.set_aliases(name, registry.aliases_of(name) | {alias: version["name"]})
    return {}


def _get_alias(registry: Registry, body: dict[str, Any]) -> dict[str, Any]:
    name, alias = str(body.get("name") or ""), str(body.get("alias") or "")
    registry.model(name)
    version = registry.aliases_of(name).get(alias)
    if version is None:
        message = f"Registered model alias {alias} not found."
        raise MlflowError("INVALID_PARAMETER_VALUE", message)
    return {"model_version": registry.told_version(registry.version(name, version))}


def _delete_alias(registry: Registry, body: dict[str, Any]) -> dict[str, Any]:
    name = str(body.get("name") or "")
    registry.model(name)
    aliases = registry.aliases_of(name)
    aliases.pop(str(body.get("alias")), None)
    registry.set_aliases(name, aliases)
    return {}


def _page(found: list[dict[str, Any]], key: str, body: dict[str, Any]) -> dict[str, Any]:
    """A page of what the filter lets through."""
    wanted = [item for item in found if _matches(item, str(body.get("filter") or ""))]
    start, most = str(body.get("page_token") or "0"), str(body.get("max_results") or "100")
    if not (is_count(start) and is_count(most)):
        raise MlflowError("INVALID_PARAMETER_VALUE", "page_token and max_results must be numbers.")
    page = wanted[int(start) : int(start) + int(most)]
    end = int(start) + len(page)
    return {key: page} | ({"next_page_token": str(end)} if end < len(wanted) else {})


def _matches(item: dict[str, Any], condition: str) -> bool:
    if not condition.strip():
        return True
    for part in re.split(r"\s+and\s+", condition.strip(), flags=re.IGNORECASE):
        match = _COMPARISON.fullmatch(part)
        if match is None:
            raise MlflowError("INVALID_PARAMETER_VALUE", f"Invalid filter: {part}")
        if not _compare(_field(item, match[1]), match[2].lower(), match[3]):
            return False
    return True


def _field(item: dict[str, Any], name: str) -> str:
    key = name.strip('`"')
    if key.startswith(("tag.", "tags.")):
        wanted = key.partition(".")[2].strip('`"')
        return str({t["key"]: t["value"] for t in item["tags"]}.get(wanted, ""))
    if key not in ("name", "run_id", "source_path", "version_number", "version"):
        raise MlflowError("INVALID_PARAMETER_VALUE", f"Invalid attribute key: {key}")
    renamed = {"source_path": "source", "version_number": "version"}.get(key, key)
    return str(item.get(renamed, ""))


def _compare(value: str, operator: str, written: str) -> bool:
    if operator == "in":
        return value in [part.strip().strip("'\"") for part in written.strip("()").split(",")]
    wanted = written[1:-1]
    if operator in ("like", "ilike"):
        pattern = ".*".join(re.escape(part) for part in unquote(wanted).split("%"))
        flags = re.IGNORECASE if operator == "ilike" else 0
        return re.fullmatch(pattern, value, flags) is not None
    return (value == wanted) == (operator == "=")


_OPERATIONS = (
    ("POST", "registered-models/create", _create_model),
    ("GET", "registered-models/get", _get_model),
    ("PATCH", "registered-models/update", _update_model),
    ("DELETE", "registered-models/delete", _delete_model),
    ("GET", "registered-models/search", _search_models),
    ("POST", "registered-models/search", _search_models),
    ("GET", "registered-models/list", _search_models),
    ("GET", "registered-models/get-latest-versions", _latest_versions),
    ("POST", "registered-models/get-latest-versions", _latest_versions),
    ("POST", "registered-models/set-tag", _set_tag),
    ("DELETE", "registered-models/delete-tag", _delete_tag),
    ("POST", "registered-models/alias", _set_alias),
    ("GET", "registered-models/alias", _get_alias),
    ("DELETE", "registered-models/alias", _delete_alias),
    ("POST", "model-versions/create", _create_version),
    ("GET", "model-versions/get", _get_version),
    ("PATCH", "model-versions/update", _update_version),
    ("DELETE", "model-versions/delete", _delete_version),
    ("GET", "model-versions/search", _search_versions),
    ("GET", "model-versions/get-download-uri", _download_uri),
    ("POST", "model-versions/transition-stage", _transition),
    ("POST", "model-versions/set-tag", _set_tag),
    ("DELETE", "model-versions/delete-tag", _delete_tag),
)
