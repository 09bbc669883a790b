"""What a scoring script, or a model, takes and gives, as Swagger 2 or OpenAPI 3: GET /swagger.json.

Loaded by its path with the Python of a deployment's environment, like `script_server`: it uses
nothing but the standard library, and `inference_schema` where the script itself was decorated
with that. A file `swagger.json`, `swagger2.json` or `swagger3.json` beside the script's code is
given as it is.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

_FILES = {"2": ("swagger.json", "swagger2.json"), "3": ("swagger3.json",), "3.1": ()}
_OTHER_NAMES = {"2.0": "2", "3.0": "3"}
_ANYTHING: dict[str, Any] = {"type": "object", "example": {}}


class NoDescription(Exception):
    """There is none in the version that was asked for; the text goes to the client."""


def describe(run: Any, folder: Path, version: str) -> dict[str, Any]:
    """The description of a script's `run` in a version of the format. Raises NoDescription.

    `folder`: the root of the deployment's code, where a file of the user's own may be.
    """
    found: dict[str, dict[str, Any]] = {}
    for number, names in _FILES.items():
        own = next((folder / name for name in names if (folder / name).is_file()), None)
        if own is not None:
            found[number] = json.loads(own.read_text(encoding="utf-8"))
        elif number in _versions(run):
            found[number] = _of_function(run, number)
    return _chosen(found, version)


def describe_model(takes: dict[str, Any], gives: dict[str, Any], version: str) -> dict[str, Any]:
    """The description of a model without a script, by its schemas. Raises NoDescription."""
    return _chosen({number: _specification(number, takes, gives) for number in _FILES}, version)


def _chosen(found: dict[str, dict[str, Any]], version: str) -> dict[str, Any]:
    wanted = _OTHER_NAMES.get(version, version)
    if wanted in found:
        return found[wanted]
    why = "supported for the scoring script" if wanted in _FILES else "valid"
    offered = ", ".join(sorted(found))
    raise NoDescription(
        f"Swagger version [{version}] is not {why}. Supported swagger versions: [{offered}]."
    )


def _schemas(run: Any) -> Any:
    """The module that read the decorators of `run`; None for a function without any."""
    if type(run).__name__ != "FunctionWrapper" or "inference_schema" not in sys.modules:
        return None
    from inference_schema import schema_util  # type: ignore[import-not-found,unused-ignore]

    return schema_util


def _versions(run: Any) -> tuple[str, ...]:
    schemas = _schemas(run)
    if schemas is None:
        return tuple(_FILES)
    given = {str(version) for version in schemas.get_supported_versions(run)}
    return tuple(number for number in _FILES if {number, f"{number}.0"} & given)


def _of_function(run: Any, version: str) -> dict[str, Any]:
    schemas = _schemas(run)
    takes = schemas.get_input_schema(run) if schemas else _ANYTHING
    gives = schemas.get_output_schema(run) if schemas else _ANYTHING
    return _specification(version, takes, gives)


def _specification(version: str, takes: Any, gives: Any) -> dict[str, Any]:
    failure = {"type": "object", "properties": {"message": {"type": "string"}}}
    parts = {"ServiceInput": takes, "ServiceOutput": gives, "ErrorResponse": failure}
    name = os.environ.get("SERVICE_NAME") or "ML service"
    paths = {path: {method: _operation(version, *rest)} for path, method, *rest in _OPERATIONS}
    paths["/score"]["post"] |= _payload(version)
    paths["/swagger.json"]["get"]["parameters"] = [_version_parameter(version)]
    about = {
        "title": name,
        "description": f"API specification for the Azure Machine Learning service {name}",
        "version": os.environ.get("SERVICE_VERSION") or "1.0",
    }
    bearer = {"type": "apiKey", "name": "Authorization", "in": "header"}
    if version == "2":
        kinds = ["application/json"]
        return {
            "swagger": "2.0",
            "info": about,
            "schemes": ["https"],
            "consumes": kinds,
            "produces": kinds,
            "securityDefinitions": {"Bearer": bearer},
            "paths": paths,
            "definitions": parts,
        }
    return {
        "openapi": "3.1.0" if version == "3.1" else "3.0.3",
        "info": about,
        "paths": paths,
        "components": {"securitySchemes": {"Bearer": bearer}, "schemas": parts},
    }


_OPERATIONS = (
    ("/", "get", "ServiceHealthCheck", "Says that the service is up.", {"type": "string"}),
    ("/score", "post", "RunMLService", "Runs the model and gives its prediction.", None),
    (
        "/swagger.json",
        "get",
        "GetSwaggerSpec",
        "Gives this specification.",
        {"type": "string"},
    ),
)
"""Path, method, name, description, and the schema of the answer where it is not the model's."""


def _operation(
    version: str, name: str, description: str, answer: "dict[str, Any] | None"
) -> dict[str, Any]:
    return {
        "operationId": name,
        "description": description,
        "responses": {
            "200": _answer(version, "The answer.", answer or _reference(version, "ServiceOutput")),
            "default": _answer(
                version, "The service failed.", _reference(version, "ErrorResponse")
            ),
        },
    }


def _answer(version: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, **_content(version, schema)}


def _content(version: str, schema: dict[str, Any]) -> dict[str, Any]:
    if version == "2":
        return {"schema": schema}
    return {"content": {"application/json": {"schema": schema}}}


def _reference(version: str, name: str) -> dict[str, Any]:
    return {"$ref": f"#/{'definitions' if version == '2' else 'components/schemas'}/{name}"}


def _payload(version: str) -> dict[str, Any]:
    """What POST /score takes, and that it takes a key."""
    content = _content(version, _reference(version, "ServiceInput"))
    security: dict[str, Any] = {"security": [{"Bearer": []}]}
    if version == "2":
        return {
            **security,
            "parameters": [{"name": "serviceInputPayload", "in": "body", **content}],
        }
    return {**security, "requestBody": content}


def _version_parameter(version: str) -> dict[str, Any]:
    kind = {"type": "integer", "enum": [2, 3]}
    where = {"name": "version", "in": "query", "required": False}
    return {**where, **kind} if version == "2" else {**where, "schema": kind}
