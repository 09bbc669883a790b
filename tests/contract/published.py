"""The operations that Azure ML's published OpenAPI names: their names, methods and paths.

They are kept in published_operations.txt, made anew from a checkout of the specifications with
`python -m tests.contract.published FOLDER`.
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("published_operations.txt")
_WORKSPACE = "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.MachineLearningServices"
_SHORT = {
    "{workspace}": f"{_WORKSPACE}/workspaces/{{}}",
    "{registry}": f"{_WORKSPACE}/registries/{{}}",
    "{provider}": "/subscriptions/{}/providers/Microsoft.MachineLearningServices",
    "{group}": _WORKSPACE,
}
_METHODS = ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE")


@dataclass(frozen=True)
class Published:
    """One operation. In the path `{}` is one segment, whatever it names."""

    name: str
    method: str
    path: str

    @property
    def key(self) -> tuple[str, str]:
        """What tells an operation from others: its method and its path, without regard to case."""
        return self.method, self.path.lower()

    @property
    def short_path(self) -> str:
        """The path with a word for what most of them begin with."""
        for short, long in _SHORT.items():
            if long in self.path:
                return self.path.replace(long, short)
        return self.path


def normal(template: str) -> str:
    """A path's template without the names of its parameters, as `Published.path` is."""
    return re.sub(r"\{[^}]*\}", "{}", template).removeprefix("/mferp/managementfrontend")


@cache
def published_operations() -> tuple[Published, ...]:
    """All of them, in the order of the specification."""
    found = []
    for line in _FILE.read_text().splitlines():
        name, method, path = line.split()
        for short, long in _SHORT.items():
            path = path.replace(short, long)
        found.append(Published(name, method, path))
    return tuple(found)


@cache
def _by_shape() -> dict[tuple[str, int], list[tuple[re.Pattern[str], Published]]]:
    shapes: dict[tuple[str, int], list[tuple[re.Pattern[str], Published]]] = {}
    for operation in published_operations():
        parts = re.escape(operation.path).replace(r"\{\}", "([^/]+)")
        pattern = re.compile(parts, re.IGNORECASE)
        shape = (operation.method, operation.path.count("/"))
        shapes.setdefault(shape, []).append((pattern, operation))
    return shapes


def published_name(method: str, path: str) -> str | None:
    """The name of the operation that a request asks for; None when the OpenAPI has none."""
    path = path.removeprefix("/mferp/managementfrontend").rstrip("/")
    candidates = [
        (len(match.groups()), operation.name)
        for pattern, operation in _by_shape().get((method, path.count("/")), ())
        if (match := pattern.fullmatch(path))
    ]
    return min(candidates)[1] if candidates else None


def _read(folder: Path) -> Iterator[Published]:
    for file in sorted(folder.rglob("*.json")):
        document: dict[str, Any] = json.loads(file.read_text())
        for path, methods in document.get("paths", {}).items():
            for method, operation in methods.items():
                if method.upper() in _METHODS and "operationId" in operation:
                    yield Published(operation["operationId"], method.upper(), normal(path))


def main(folder: Path) -> None:
    """Write the list of what the specifications below a folder name."""
    found = {operation.key: operation for operation in _read(folder)}
    lines = sorted(f"{o.name} {o.method} {o.short_path}" for o in found.values())
    _FILE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
