"""MLflow's model registry: the workspace's models, told in MLflow's words.

Whatever MLflow registers is a model of the workspace, and the other way round. Descriptions and
tags are the model's own; aliases and stages, which Azure ML's resources lack, are kept beside.
"""

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from emulator.http import timestamp
from emulator.mlflow_sources import model_uri
from emulator.resource_manager.resources import envelope
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")


class MlflowError(Exception):
    """An error in MLflow's own shape."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status

    def response(self) -> Response:
        return JSONResponse({"error_code": self.code, "message": self.message}, self.status)


class Registry:
    """The models of one workspace as MLflow's registry sees them."""

    def __init__(self, emulator: "Emulator", workspace: str) -> None:
        self.emulator = emulator
        self.store = emulator.store
        self.workspace = workspace
        self.aliases = emulator.store.document("model aliases")

    def path(self, name: str) -> str:
        return f"{self.workspace}/models/{name}"

    def model(self, name: str) -> Resource:
        """The container of a model; an MlflowError when there is none."""
        found = self.store.get(self.path(name)) if name else None
        if found is None:
            message = f"Registered Model with name={name} not found"
            raise MlflowError("RESOURCE_DOES_NOT_EXIST", message, 404)
        return found

    def version(self, name: str, version: str) -> Resource:
        found = self.store.get(f"{self.path(name)}/versions/{version}")
        if found is None:
            message = f"Model Version (name={name}, version={version}) not found"
            raise MlflowError("RESOURCE_DOES_NOT_EXIST", message, 404)
        return found

    def versions(self, name: str) -> list[Resource]:
        return self.store.children(f"{self.path(name)}/versions")

    def create(self, name: str, description: str | None, tags: dict[str, str]) -> Resource:
        if not _NAME.fullmatch(name):
            raise MlflowError(
                "INVALID_PARAMETER_VALUE",
                f"Registered model name {name!r} is invalid: 1 to 255 letters, digits, '-', '_' "
                "and '.', beginning with a letter, a digit or '_'.",
            )
        path = self.path(name)
        if self.store.get(path) is not None:
            message = f"Registered Model (name={name}) already exists."
            raise MlflowError("RESOURCE_ALREADY_EXISTS", message)
        properties = {
            "description": description,
            "tags": tags,
            "properties": {},
            "isArchived": False,
            "latestVersion": None,
            "nextVersion": "1",
        }
        self.store.put(path, envelope(self.store, path, "models", {"properties": properties}))
        return self.model(name)

    def create_version(self, body: dict[str, Any]) -> Resource:
        """A new version, with the next number; a first version makes its model, as elsewhere."""
        name = str(body.get("name") or "")
        source = body.get("source")
        if not isinstance(source, str) or not source:
            raise MlflowError("INVALID_PARAMETER_VALUE", "The parameter 'source' is missing.")
        uri = model_uri(self.emulator, source)
        model = self.store.get(self.path(name)) if name else None
        model = model or self.create(name, None, {})
        numbers = [int(v["name"]) for v in self.versions(name) if v["name"].isdigit()]
        number = str(max(numbers, default=0) + 1)
        run = body.get("run_id") or None
        properties = {
            "modelType": "mlflow_model",
            "modelUri": uri,
            "flavors": {},
            "description": body.get("description"),
            "tags": pairs(body.get("tags")),
            "properties": {},
            "jobName": run,
            "isAnonymous": False,
            "isArchived": False,
            "stage": None,
            "provisioningState": "Succeeded",
        }
        path = f"{self.path(name)}/versions/{number}"
        kind = "models/versions"
        self.store.put(path, envelope(self.store, path, kind, {"properties": properties}))
        model["properties"] |= {"latestVersion": number, "nextVersion": str(int(number) + 1)}
        self.store.put(self.path(name), model)
        return self.version(name, number)

    def change(self, resource: Resource, **changes: Any) -> Resource:
        resource["properties"] |= changes
        resource["systemData"]["lastModifiedAt"] = timestamp()
        self.store.put(resource["id"], resource)
        return resource

    def delete(self, path: str) -> None:
        self.store.delete(path)

    def aliases_of(self, name: str) -> dict[str, str]:
        found: dict[str, str] = self.aliases.get(self.path(name).lower()) or {}
        return found

    def set_aliases(self, name: str, aliases: dict[str, str]) -> None:
        self.aliases.put(self.path(name).lower(), aliases)

    def told_model(self, model: Resource) -> dict[str, Any]:
        """A container in MLflow's words, with the newest version of each stage."""
        properties, name = model["properties"], model["name"]
        newest: dict[str, Resource] = {}
        for version in self.versions(name):
            newest[version["properties"].get("stage") or "None"] = version
        return {
            "name": name,
            **_dates(model),
            "description": properties.get("description") or "",
            "tags": _listed(properties.get("tags")),
            "latest_versions": [self.told_version(v) for v in newest.values()],
            "aliases": [{"alias": a, "version": v} for a, v in self.aliases_of(name).items()],
        }

    def told_version(self, version: Resource) -> dict[str, Any]:
        properties = version["properties"]
        name = version["id"].split("/")[-3]
        return {
            "name": name,
            "version": version["name"],
            **_dates(version),
            "current_stage": properties.get("stage") or "None",
            "description": properties.get("description") or "",
            "source": properties.get("modelUri") or "",
            "run_id": properties.get("jobName") or "",
            "status": "READY",
            "tags": _listed(properties.get("tags")),
            "aliases": [a for a, v in self.aliases_of(name).items() if v == version["name"]],
        }


def pairs(tags: Any) -> dict[str, str]:
    found = tags if isinstance(tags, list) else []
    return {
        str(t["key"]): str(t.get("value", "")) for t in found if isinstance(t, dict) and "key" in t
    }


def _listed(tags: Any) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in (tags or {}).items()]


def _dates(resource: Resource) -> dict[str, int]:
    def milliseconds(text: str) -> int:
        return int(datetime.fromisoformat(text).timestamp() * 1000)

    data = resource["systemData"]
    return {
        "creation_timestamp": milliseconds(data["createdAt"]),
        "last_updated_timestamp": milliseconds(data["lastModifiedAt"]),
    }
