"""From a job's body to a plan: components looked up, pipelines flattened, bindings followed."""

import os
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from emulator.compute.commands import check_references, read_command
from emulator.compute.components import Component, find_component
from emulator.compute.data_imports import import_component
from emulator.compute.default_artifacts import placed
from emulator.compute.expressions import (
    ExpressionError,
    ParentOutput,
    SiblingOutput,
    bindings,
    fill_path,
)
from emulator.compute.parallel import read_parallel
from emulator.compute.plan import ROOT, Group, Plan, Step, Target
from emulator.compute.scope import Scope, component_inputs, job_inputs, user_error
from emulator.compute.values import RawOutput, StepOutput, literal_text, read_output
from emulator.http import AzureError

if TYPE_CHECKING:
    from emulator.core import Emulator

NODE_TYPES = frozenset({"command", "parallel", "pipeline"})
MOST_LEVELS = 20


def make_plan(
    emulator: "Emulator", properties: Mapping[str, Any], workspace: str | None = None
) -> Plan:
    """The plan of a job by its resource's properties. `workspace`: its path; none: the usual one.

    Raises AzureError: 400 for a job that cannot run as written, 404 for an unknown component,
    501 for a kind of job that the local Azure ML does not run.
    """
    kind = str(properties.get("jobType", ""))
    if kind.lower() == "command":
        return _command_plan(properties)
    if kind.lower() == "pipeline":
        return _Flattening(emulator, properties, workspace).plan
    raise AzureError(
        501,
        "OperationNotSupported",
        f"The local Azure ML runs jobs of type Command and Pipeline, not {kind or 'none'}.",
    )


def _command_plan(properties: Mapping[str, Any]) -> Plan:
    inputs = job_inputs(properties.get("inputs"))
    outputs = _job_outputs(properties.get("outputs"))
    command = read_command(Scope({}), properties, {}, properties.get("codeId"))
    check_references("the job", command.text, inputs, outputs, declared=False)
    compute = _compute_name(literal_text(properties.get("computeId") or ""))
    step = Step(ROOT, "", ROOT, command, compute, inputs, outputs, properties.get("componentId"))
    return Plan(False, {ROOT: step}, outputs=outputs)


def _job_outputs(raw: Mapping[str, Any] | None) -> dict[str, Target]:
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


class _Flattening:
    """Walks a pipeline job once, depth first, and fills a plan."""

    def __init__(
        self, emulator: "Emulator", properties: Mapping[str, Any], workspace: str | None
    ) -> None:
        self._emulator = emulator
        self._workspace = workspace or emulator.config.workspace_path
        settings = _settings(properties)
        self.plan = Plan(
            True,
            outputs=_job_outputs(properties.get("outputs")),
            continue_on_failure=_flag(settings.get("continue_on_step_failure"), True),
            datastore=_short_name(settings.get("default_datastore")) or "workspaceblobstore",
            force_rerun=_flag(settings.get("force_rerun"), False),
        )
        scope = Scope(
            {name: item.value for name, item in job_inputs(properties.get("inputs")).items()},
            default_compute=settings.get("default_compute") or properties.get("computeId"),
        )
        jobs = properties.get("jobs") or {}
        if not jobs:
            raise user_error("The pipeline job has no jobs. Add at least one node.")
        self._pipeline(ROOT, jobs, scope, self.plan.outputs)

    def _pipeline(
        self, key: str, jobs: Mapping[str, Any], scope: Scope, targets: Mapping[str, Target]
    ) -> dict[str, StepOutput]:
        """Bind all nodes of one pipeline; gives the steps behind the pipeline's own outputs."""
        produced: dict[str, StepOutput] = {}
        for name in node_order(jobs):
            node = jobs[name]
            outputs = self._node(f"{key}/{name}" if key else name, key, name, node, scope, targets)
            scope.produced[name] = outputs
            for own, parent in _output_bindings(name, node).items():
                if parent not in targets:
                    raise user_error(
                        f"Output {own} of job {name} is bound to parent.outputs.{parent}, "
                        "which does not exist."
                    )
                if own not in outputs:
                    raise user_error(
                        f"No job inside of {name} writes its output {own}, which "
                        f"parent.outputs.{parent} is bound to."
                    )
                produced[parent] = outputs[own]
        return produced

    def _node(
        self,
        key: str,
        parent: str,
        name: str,
        node: Mapping[str, Any],
        scope: Scope,
        targets: Mapping[str, Target],
    ) -> dict[str, StepOutput]:
        if key.count("/") > MOST_LEVELS:
            raise user_error(f"The pipeline components at {key} are nested too deep.")
        component = self._component(name, node, scope)
        outputs = _node_outputs(key, name, node, component, targets)
        given = node.get("inputs")
        if component.type != "pipeline":
            inputs = component_inputs(name, scope, given, component.inputs)
            if component.type == "parallel":
                cores = self._emulator.config.cores or os.cpu_count() or 1
                command, inputs = read_parallel(name, scope, component, node, inputs, cores)
            else:
                command = read_command(scope, component.spec, node, component.code)
            check_references(f"component job {name}", command.text, inputs, outputs)
            compute = node.get("computeId") or node.get("compute") or scope.default_compute
            self.plan.steps[key] = Step(
                key,
                name,
                parent,
                command,
                _compute_name(scope.text(compute) or ""),
                inputs,
                outputs,
                component.id,
                _flag(component.spec.get("is_deterministic"), True),
            )
            return {own: StepOutput(key, own, target.type) for own, target in outputs.items()}
        inputs = component_inputs(name, scope, given, component.inputs, open_ended=True)
        group = Group(key, name, parent, inputs, outputs, component.id)
        self.plan.groups[key] = group
        return self._pipeline(
            key, component.spec.get("jobs") or {}, self._inner(component, group, scope), outputs
        )

    def _inner(self, component: Component, group: Group, scope: Scope) -> Scope:
        own = (component.spec.get("settings") or {}).get("default_compute")
        return Scope(
            {name: item.value for name, item in group.inputs.items()},
            component.registry,
            own or scope.default_compute,
        )

    def _component(self, name: str, node: Mapping[str, Any], scope: Scope) -> Component:
        reference = node.get("componentId") or node.get("component")
        kind = node.get("type") or "command"
        if imported := import_component(node):
            return imported
        if kind not in NODE_TYPES:
            raise _unsupported(name, kind)
        if not isinstance(reference, str):
            raise user_error(f"Job {name} of the pipeline names no component.")
        component = find_component(self._emulator, reference, scope.registry, self._workspace)
        if component.type not in NODE_TYPES:
            raise _unsupported(name, component.type)
        return component


def _unsupported(name: str, kind: object) -> AzureError:
    return AzureError(
        501,
        "OperationNotSupported",
        f"Job {name} of the pipeline is of type {kind}. The local Azure ML runs nodes of type "
        f"{', '.join(sorted(NODE_TYPES))}.",
    )


def node_order(jobs: Mapping[str, Any]) -> list[str]:
    """The nodes of one pipeline, each after those whose outputs it reads."""
    needs: dict[str, set[str]] = {}
    for name, node in jobs.items():
        if not isinstance(node, Mapping):
            raise user_error(f"Job {name} of the pipeline must be an object.")
        needs[name] = set()
        for text in _texts(node.get("inputs")):
            try:
                parts = bindings(text)
            except ExpressionError as error:
                raise user_error(str(error), "InvalidExpressionInJob") from error
            needs[name] |= {part.node for part in parts if isinstance(part, SiblingOutput)}
        if missing := sorted(needs[name] - jobs.keys()):
            raise user_error(
                f"Job {name} is bound to an output of job {missing[0]}, which does not exist."
            )
    try:
        return list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise user_error(f"The pipeline has a cycle: {circle}. A graph must not.") from error


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _texts(item)]
    return []


def _output_bindings(name: str, node: Mapping[str, Any]) -> dict[str, str]:
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


def _node_outputs(
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
    bound = _output_bindings(name, node)
    outputs: dict[str, Target] = {}
    for own, declared in component.outputs.items():
        kind = str(declared.get("type", "uri_folder")).lower()
        parent = targets.get(bound.get(own, ""))
        output = placed(own, written.get(own, RawOutput()), component.spec)
        outputs[own] = parent or _target(key, own, output, kind)
    return outputs


def _settings(properties: Mapping[str, Any]) -> dict[str, Any]:
    return dict(properties.get("settings") or {})


def _flag(value: Any, default: bool) -> bool:
    return default if value is None else str(value).lower() == "true"


def _short_name(reference: Any) -> str | None:
    """The last part of an ARM id or of `azureml:name`."""
    if not reference:
        return None
    return str(reference).rstrip("/").rpartition("/")[2].removeprefix("azureml:")


def _compute_name(reference: str) -> str:
    return _short_name(reference) or "serverless"
