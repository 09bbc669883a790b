"""The specs of components as the service keeps and answers them."""

import re
from collections.abc import Callable
from typing import Any

from emulator.http import AzureError
from emulator.store import Resource

Spec = dict[str, Any]

ANONYMOUS = "azureml_anonymous"
"""The name of every component that was given none; its spec keeps the client's own."""

_CHANGEABLE = frozenset(
    {"display_name", "description", "tags", "$schema", "version", "name", "_source"}
)
"""`_source` is how a client came to write a spec: early ones send one spec from many."""
_SCHEMA = "https://azuremlschemas.azureedge.net/latest/{type}Component.schema.json"
_CURATED = re.compile(r"(?:azureml:)?(AzureML-[\w.-]+):([\w.-]+)")
"""The service's own environments by their short names."""
_TEXTS = ("optional", "default", "min", "max", "early_available")
_PARENT_OUTPUT = re.compile(r"\$\{\{\s*parent\.outputs\.([\w.-]+)\s*\}\}")


def normalise(spec: Spec, name: str, version: str) -> None:
    """Fill in and rewrite a client's spec as the service does: booleans and numbers are text."""
    kind = str(spec.get("type") or "command")
    if kind.startswith("promptflow"):
        raise AzureError(
            501,
            "OperationNotSupported",
            f"Component {name} is a flow (type {kind}). The local Azure ML holds no flows.",
        )
    spec["type"] = kind
    if name == ANONYMOUS:
        spec.setdefault("name", name)
        spec.setdefault("version", version)
    else:
        spec.update(name=name, version=version)
    spec.setdefault("display_name", name)
    spec.setdefault("$schema", _SCHEMA.format(type=kind))
    spec["is_deterministic"] = _text(spec.get("is_deterministic", kind != "pipeline"))
    for declared in _declarations(spec, "inputs"):
        declared.setdefault("optional", False)
        declared.update({key: _text(declared[key]) for key in _TEXTS if key in declared})
    for declared in _declarations(spec, "outputs"):
        declared.update({key: _text(declared[key]) for key in _TEXTS if key in declared})
    if kind == "spark":  # its data is always read and written in place
        for declared in (*_declarations(spec, "inputs"), *_declarations(spec, "outputs")):
            declared.pop("mode", None)
    for section in (spec, spec.get("task")):
        if isinstance(section, dict) and "environment" in section:
            section["environment"] = _environment(section["environment"])
    distribution = spec.get("distribution")
    if isinstance(distribution, dict):
        spec["distribution"] = {key: _text(value) for key, value in distribution.items()}
    if kind == "command":
        resources = spec.get("resources")
        spec["resources"] = dict(resources) if isinstance(resources, dict) else {}
        spec["resources"].setdefault("instance_count", 1)
        spec["resources"]["instance_count"] = _text(spec["resources"]["instance_count"])


def inherit_outputs(spec: Spec, find: Callable[[str], Resource | None]) -> None:
    """Have a pipeline component's outputs be early available where the step's behind them are.

    `find` gives a component's version by its id.
    """
    own = _section(spec, "outputs")
    for node in _section(spec, "jobs").values():
        bound = _section(node, "outputs")
        inner = find(str(node.get("componentId"))) if bound else None
        behind = _section(_section(_section(inner, "properties"), "componentSpec"), "outputs")
        for name, raw in bound.items():
            early = _section(behind, name).get("early_available")
            text = raw.get("value") if isinstance(raw, dict) else raw
            match = _PARENT_OUTPUT.fullmatch(str(text))
            if early and match and isinstance(declared := own.get(match[1]), dict):
                declared["early_available"] = early


def changed_field(old: Spec, new: Spec) -> str | None:
    """The first field that differs and may not; None when the specs say the same."""
    fields = [key for key in (*old, *new) if key not in _CHANGEABLE]
    return next((key for key in fields if _same(old.get(key)) != _same(new.get(key))), None)


def _environment(reference: Any) -> Any:
    """A curated environment's short name as the service writes it: one of the system registry."""
    short = _CURATED.fullmatch(reference) if isinstance(reference, str) else None
    if short is None:
        return reference
    return f"azureml://registries/azureml/environments/{short[1]}/versions/{short[2]}"


def _section(of: Any, name: str) -> Spec:
    """An object inside of another; an empty one where there is none."""
    found = of.get(name) if isinstance(of, dict) else None
    return found if isinstance(found, dict) else {}


def _declarations(spec: Spec, ports: str) -> list[Spec]:
    declared = spec.get(ports)
    values = declared.values() if isinstance(declared, dict) else ()
    return [value for value in values if isinstance(value, dict)]


def _text(value: Any) -> Any:
    """A boolean or number as the service writes it; anything else as it is."""
    return str(value) if isinstance(value, bool | int | float) else value


def _same(value: Any) -> Any:
    """A value to compare: no section and an empty one say the same, and so do all ids of one."""
    if value in ({}, [], ""):
        return None
    if isinstance(value, str):
        return value.removeprefix("azureml:").lower() if "/subscriptions/" in value else value
    return value
