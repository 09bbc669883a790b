"""Bodies of requests against the JSON types that their fields have."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

Plain = Literal["text", "boolean", "whole", "number", "scalar", "object", "list"]


@dataclass(frozen=True)
class Fields:
    """An object whose fields, if they are given, have these shapes; others may be anything."""

    shapes: "dict[str, Shape]"


@dataclass(frozen=True)
class MapOf:
    """An object whose keys are the client's own."""

    shape: "Shape"


@dataclass(frozen=True)
class ListOf:
    shape: "Shape"


Shape = Plain | Fields | MapOf | ListOf

_EXPECTED: dict[str, tuple[tuple[type, ...], str]] = {
    "text": ((str,), "text"),
    "boolean": ((bool,), "true or false"),
    "whole": ((int,), "a whole number"),
    "number": ((int, float), "a number"),
    "scalar": ((str, bool, int, float), "text, a number or true or false"),
    "object": ((dict,), "an object"),
    "list": ((list,), "a list"),
}
_NAMES = {dict: "an object", list: "a list", str: "text", bool: "a truth value"}


def wrong_types(value: Any, shape: Shape, where: str = "") -> Iterator[str]:
    """A sentence for every field that has another type than its shape. A null is a lack."""
    if value is None:
        return
    if isinstance(shape, str):
        types, expected = _EXPECTED[shape]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            yield f"{where or 'the body'} must be {expected}, not {_kind(value)}"
    elif isinstance(shape, ListOf):
        if not isinstance(value, list):
            yield from wrong_types(value, "list", where)
            return
        for number, item in enumerate(value):
            yield from wrong_types(item, shape.shape, f"{where}[{number}]")
    elif not isinstance(value, dict):
        yield from wrong_types(value, "object", where)
    else:
        for key, item in value.items():
            part = shape.shape if isinstance(shape, MapOf) else shape.shapes.get(key)
            if part is not None:
                yield from wrong_types(item, part, f"{where}.{key}" if where else key)


def _kind(value: Any) -> str:
    return _NAMES.get(type(value), "a number")
