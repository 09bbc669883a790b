"""Answers against the published OpenAPI: which operation they are of, and what is wrong in them."""

import json
import os
import re
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

Schema = dict[str, Any]

SPECIFICATIONS = Path(
    os.environ.get("AZUREML_OPENAPI")
    or Path(__file__).parents[3] / "shared" / "specs" / "openapi" / "specification"
)
_VERBS = ("get", "put", "post", "patch", "delete", "head")
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


@dataclass(frozen=True)
class Operation:
    """One operation of the specification."""

    name: str
    method: str
    path: re.Pattern[str]
    parameters: int
    file: Path
    responses: dict[str, Schema]


@dataclass(frozen=True)
class Problem:
    """What is wrong, and where in the answer."""

    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place or 'the body'}: {self.what}"


class OpenApi:
    """The specifications below a folder. References and discriminators are resolved."""

    def __init__(self, folder: Path = SPECIFICATIONS) -> None:
        files = folder.glob(
            "machinelearningservices/*/Microsoft.MachineLearningServices/*/*/*.json"
        )
        self._files = sorted(file.resolve() for file in files)
        self._loaded: dict[Path, Schema] = {}

    @cached_property
    def operations(self) -> list[Operation]:
        """All operations; those with fewer parameters in their path come first."""
        found = [
            Operation(
                operation["operationId"],
                verb.upper(),
                _pattern(path),
                path.count("{"),
                file,
                operation["responses"],
            )
            for file in self._files
            for path, item in self._load(file).get("paths", {}).items()
            for verb, operation in item.items()
            if verb in _VERBS
        ]
        return sorted(found, key=lambda operation: operation.parameters)

    def find(self, method: str, path: str) -> Operation | None:
        """The operation that a request is of."""
        for operation in self.operations:
            if operation.method == method and operation.path.fullmatch(path):
                return operation
        return None

    def problems(self, operation: Operation, status: int, body: Any) -> list[Problem]:
        """All that the specification does not allow in an answer."""
        response = operation.responses.get(str(status))
        if response is None and status < 400:
            allowed = ", ".join(operation.responses)
            return [Problem("", f"status {status} is none of {allowed}")]
        schema = (response or operation.responses.get("default") or {}).get("schema")
        if schema is None or body is None:
            return []
        return self._check(schema, body, operation.file, "")

    def _load(self, file: Path) -> Schema:
        if file not in self._loaded:
            self._loaded[file] = json.loads(file.read_text())
        return self._loaded[file]

    def _resolve(self, schema: Schema, file: Path) -> tuple[Schema, Path]:
        """A schema behind a reference; what stands beside the reference counts too."""
        beside: Schema = {
            key: schema[key] for key in ("x-nullable", "x-ms-mutability") if key in schema
        }
        while "$ref" in schema:
            where, _, pointer = schema["$ref"].partition("#")
            if where:
                file = (file.parent / where).resolve()
            target: Any = self._load(file)
            for part in pointer.strip("/").split("/"):
                target = target[part]
            schema = target
            beside["x-definition"] = part
        return schema | beside, file

    def _parts(self, schema: Schema, file: Path) -> list[tuple[Schema, Path]]:
        """A schema and all that it is made of."""
        schema, file = self._resolve(schema, file)
        inherited = [part for base in schema.get("allOf", ()) for part in self._parts(base, file)]
        return [(schema, file), *inherited]

    def _subclass(self, schema: Schema, file: Path, body: Any) -> tuple[Schema, Path]:
        """The definition that an object's discriminator chooses."""
        schema, file = self._resolve(schema, file)
        key = next(
            (
                part["discriminator"]
                for part, _ in self._parts(schema, file)
                if "discriminator" in part
            ),
            None,
        )
        if key is None or not isinstance(body, dict) or "x-ms-discriminator-value" in schema:
            return schema, file
        for definition in self._load(file)["definitions"].values():
            value = definition.get("x-ms-discriminator-value")
            if value == body.get(key) and self._inherits(definition, schema, file):
                return definition, file
        return schema, file

    def _inherits(self, definition: Schema, base: Schema, file: Path) -> bool:
        for parent in definition.get("allOf", ()):
            if parent.get("$ref", "").rpartition("/")[2] == base.get("x-definition"):
                return True
            if self._inherits(self._resolve(parent, file)[0], base, file):
                return True
        return False

    def _check(self, schema: Schema, body: Any, file: Path, place: str) -> list[Problem]:
        schema, file = self._subclass(schema, file, body)
        if body is None:
            return [] if schema.get("x-nullable") else [Problem(place, "null is not allowed")]
        kind = schema.get("type")
        if isinstance(body, bool) and kind in ("integer", "number"):
            return [Problem(place, f"{body} is no {kind}")]
        if kind and not isinstance(body, _TYPES[kind]):
            return [Problem(place, f"{body!r} is no {kind}")]
        if isinstance(body, dict):
            return self._check_object(schema, body, file, place)
        if isinstance(body, list):
            items = schema.get("items", {})
            return [
                problem
                for index, item in enumerate(body)
                for problem in self._check(items, item, file, f"{place}[{index}]")
            ]
        return _check_value(schema, body, place)

    def _check_object(
        self, schema: Schema, body: dict[str, Any], file: Path, place: str
    ) -> list[Problem]:
        parts = self._parts(schema, file)
        known = {
            name: (value, where)
            for part, where in reversed(parts)
            for name, value in part.get("properties", {}).items()
        }
        required = {name for part, _ in parts for name in part.get("required", ())}
        problems = [
            Problem(place, f"{name} is missing")
            for name in sorted(required - body.keys())
            if self._is_readable(*known[name])
        ]
        extra = schema.get("additionalProperties")
        for name, value in body.items():
            at = f"{place}.{name}" if place else name
            if name in known:
                problems += self._check_property(*known[name], value, at, name in required)
            elif isinstance(extra, dict):
                problems += self._check(extra, value, file, at)
            elif extra is False or (extra is None and known and "data-plane" not in file.parts):
                # Run history answers more than what was published of it, years ago.
                problems.append(Problem(at, "there is no such property"))
        return problems

    def _check_property(
        self, schema: Schema, file: Path, value: Any, place: str, required: bool
    ) -> list[Problem]:
        if value is None and not required:
            return []
        if not self._is_readable(schema, file):
            return [Problem(place, "this property is never answered")]
        return self._check(schema, value, file, place)

    def _is_readable(self, schema: Schema, file: Path) -> bool:
        """Whether answers carry a property: not one that is only written, as secrets are."""
        resolved, _ = self._resolve(schema, file)
        return "read" in resolved.get("x-ms-mutability", ("read",))


def _check_value(schema: Schema, body: Any, place: str) -> list[Problem]:
    problems = []
    allowed = schema.get("enum")
    if allowed and body not in allowed:
        problems.append(Problem(place, f"{body!r} is none of {', '.join(map(str, allowed))}"))
    if isinstance(body, str):
        if len(body) < schema.get("minLength", 0):
            problems.append(Problem(place, f"{body!r} is too short"))
        if "pattern" in schema and not re.search(schema["pattern"], body):
            problems.append(Problem(place, f"{body!r} does not match {schema['pattern']}"))
        if not _has_format(body, schema.get("format")):
            problems.append(Problem(place, f"{body!r} is no {schema['format']}"))
    return problems


def _has_format(text: str, name: str | None) -> bool:
    try:
        if name == "date-time":
            # Seven digits of a second, as the service writes it, are one more than Python reads.
            datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
        elif name == "uuid":
            UUID(text)
        elif name == "duration":
            return bool(re.fullmatch(r"P(?!$)(\d+D)?(T(\d+H)?(\d+M)?([\d.]+S)?)?", text))
    except ValueError:
        return False
    return True


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{\w+\}", template)
    return re.compile("[^/]+".join(re.escape(part) for part in parts), re.IGNORECASE)
