"""The outputs of jobs and nodes: where each goes, and which of a pipeline's it is."""

from collections.abc import Mapping
from typing import Any

from emulator.compute.components import Component
from emulator.compute.default_artifacts import placed
from emulator.compute.expressions import ExpressionError, ParentOutput, bindings, fill_path
from emulator.compute.plan import ROOT, Target
from emulator.compute.scope import user_error
from emulator.compute.values import RawOutput, read_output


def job_outputs(raw: Mapping[str, Any] | None) -> dict[str, Target]:
    written = {name: read_output(value) for name, value in (raw or {}).items()}
    return {
        name: _target(ROOT, name, output, "uri_folder")
        for name, output in written.items()
        if name != "default"
    }


def _target(owner: str, name: str, output: RawOutput, kind: str) -> Target:
    try:
        fill_path(output.uri or "", "", name, "")
    except ExpressionError as error:
        raise user_error(str(error)) from error
    return Target(
        owner,
        name,
        output.type or kind,
        output.mode,
        output.uri,
        output.asset_name,
        output.asset_version,
    )


def output_bindings(name: str, node: Mapping[str, Any]) -> dict[str, str]:
    """Which of a node's outputs are which of the pipeline's: own name -> pipeline's name."""
    found: dict[str, str] = {}
    for own, raw in (node.get("outputs") or {}).items():
        binding = read_output(raw).binding
        if binding is None:
            continue
        try:
            parts = bindings(binding)
        except ExpressionError as error:
            raise user_error(str(error)) from error
        if len(parts) != 1 or not isinstance(parts[0], ParentOutput):
            raise user_error(
                f"Output {own} of job {name} is bound to {binding}; "
                "it can be bound to ${{parent.outputs.<name>}} only."
            )
        found[own] = parts[0].name
    return found


def node_outputs(
    key: str,
    name: str,
    node: Mapping[str, Any],
    component: Component,
    targets: Mapping[str, Target],
) -> dict[str, Target]:
    written = {own: read_output(raw) for own, raw in (node.get("outputs") or {}).items()}
    if unknown := sorted(written.keys() - component.outputs.keys()):
        raise user_error(
            f"Invalid component job since output {unknown[0]} for component job {name} "
            "does not exist."
        )
    bound = output_bindings(name, node)
    outputs: dict[str, Target] = {}
    for own, declared in component.outputs.items():
        kind = str(declared.get("type", "uri_folder")).lower()
        parent = targets.get(bound.get(own, ""))
        output = placed(own, written.get(own, RawOutput()), component.spec)
        outputs[own] = parent or _target(key, own, output, kind)
    return outputs
