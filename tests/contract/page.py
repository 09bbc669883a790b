"""The conformance page: every operation of Azure ML, and whether the local Azure ML has it.

`python -m tests.contract.page` writes docs/conformance.md.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, cast

from emulator import blob
from emulator.application import Application
from emulator.batch import service as batch_service
from emulator.resource_manager import not_emulated
from tests.contract.partly import PARTLY
from tests.contract.published import Published, normal, published_operations
from tests.contract.record import exercised

if TYPE_CHECKING:
    from emulator.core import Emulator

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
_HEAD = """\
# Conformance

<!-- Written by `make conformance`. Do not change it by hand. -->

Every operation that Azure ML's OpenAPI (2024-01-01-preview, run history 2019-09-30) names, and
those of its data plane that the SDK uses besides. Any api-version is accepted.

- **works**: a test has done it, through the SDK or plain HTTP, and it succeeded. Tests in
  `tests/contract` do not know what they talk to: `make verify-azure` runs the same ones against
  a workspace of your own.
- **partly**: it answers; what is missing is said.
- **501**: it is not emulated. The answer names it, and nothing is changed.

In the paths `{workspace}` and `{registry}` are the resource ids of one, `{group}` and
`{provider}` what comes before them, and `{}` is a name.
"""


@dataclass(frozen=True)
class Row:
    """One operation on the page."""

    service: str
    name: str
    request: str
    state: str
    note: str


def covered() -> dict[str, str]:
    """The operations that tests do with success, and one test of each."""
    found = exercised()
    folder = Path(__file__).parent
    for file in sorted(folder.glob("test_*.py")):
        for function in ast.parse(file.read_text()).body:
            if isinstance(function, ast.FunctionDef):
                for name in _marked(function):
                    found[name] = f"tests/contract/{file.name}::{function.name}"
    return found


def _marked(function: ast.FunctionDef) -> Iterator[str]:
    """The operations that a test's markers name."""
    for decorator in function.decorator_list:
        if (
            isinstance(decorator, ast.Call)
            and isinstance(decorator.func, ast.Attribute)
            and decorator.func.attr == "operation"
        ):
            for argument in decorator.args:
                yield str(ast.literal_eval(argument))


@dataclass(frozen=True)
class Registered:
    """An operation that the emulator knows."""

    service: str
    operation: Published
    emulated: bool = True
    """False when its answer is always 501."""


def registered() -> dict[str, Registered]:
    """The operations that the emulator knows, by name."""
    names = {operation.key: operation for operation in published_operations()}
    # The routers are complete as soon as they are made.
    application = Application(cast("Emulator", None))
    found: dict[str, Registered] = {}

    def add(service: str, name: str, method: str, template: str, emulated: bool = True) -> None:
        operation = Published(name, method, normal(template))
        operation = names.get(operation.key, operation)
        found.setdefault(operation.name, Registered(service, operation, emulated))

    for router in (application.management, application.api, application.identity):
        for operation in router.operations:
            service = _service(router.service, operation.template)
            emulated = operation.handler.__module__ != not_emulated.__name__
            add(service, operation.name, operation.method, operation.template, emulated)
    for (is_blob, method, kind, part), each in blob.operations().items():
        query = "&".join(f"{k}={v}" for k, v in (("restype", kind), ("comp", part)) if v)
        path = "/{container}/{blob}" if is_blob else "/{container}"
        add("Blobs", each.name, method, path + (f"?{query}" if query else ""))
    add("Scoring", "Endpoint_Score", "POST", "/score")
    add("Scoring", batch_service.INVOKE, "POST", "/jobs")
    return found


def _service(router: str, template: str) -> str:
    for beginning, service in (
        ("/mlflow/", "MLflow"),
        ("/history/", "Run history"),
        (
            "/mferp/managementfrontend/subscriptions/{subscription}/resourceGroups/{resource_group}"
            "/providers/Microsoft.MachineLearningServices/workspaces/",
            "Scoring",
        ),
        ("/mferp/", "Registries"),
        ("/registrymanagement/", "Registries"),
    ):
        if template.startswith(beginning):
            return service
    return {"resource manager": "Resource manager", "data plane": "Data plane"}.get(
        router, router.capitalize()
    )


def rows() -> list[Row]:
    """All operations, by service and name."""
    tests = covered()
    everything = {
        operation.name: Registered(_published_service(operation), operation, emulated=False)
        for operation in published_operations()
    } | registered()
    found = []
    for name, known in everything.items():
        state, note = "501", ""
        if known.emulated:
            test = tests.get(name)
            state = "works" if test and name not in PARTLY else "partly"
            note = PARTLY.get(name) or (f"`{test}`" if test else "no test has done it")
        request = f"{known.operation.method} {known.operation.short_path}"
        found.append(Row(known.service, name, request, state, note))
    return sorted(found, key=lambda row: (row.service != "Resource manager", row.service, row.name))


def _published_service(operation: Published) -> str:
    if operation.path.startswith("/history/"):
        return "Run history"
    return "Registries" if operation.name.startswith("Registry") else "Resource manager"


def page() -> str:
    """The text of the page."""
    all_rows = rows()
    counts = Counter(row.state for row in all_rows)
    numbers = ", ".join(f"{counts[state]} {state}" for state in ("works", "partly", "501"))
    parts = [_HEAD, f"{len(all_rows)} operations: {numbers}.\n"]
    for service, group in groupby(all_rows, key=lambda row: row.service):
        lines = [f"## {service}\n", "| operation | request | | test, or what is missing |"]
        lines.append("|---|---|---|---|")
        lines += [f"| {r.name} | `{r.request}` | {r.state} | {r.note} |" for r in group]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"{PAGE.relative_to(PAGE.parents[1])} is written.")
