"""From a job's body to a plan: components looked up, pipelines flattened, bindings followed."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from emulator.compute.commands import check_references, read_command
from emulator.compute.components import Component, find_component
from emulator.compute.control_flow import CONTROL_TYPES, Branch, Each, Flow, Loop, next_inputs
from emulator.compute.data_imports import import_component
from emulator.compute.fan_out import gathered_type, gathering, read_items
from emulator.compute.order import node_order
from emulator.compute.output_targets import job_outputs, node_outputs, output_bindings
from emulator.compute.parallel import read_parallel
from emulator.compute.plan import ROOT, Condition, Group, Plan, Step, Target
from emulator.compute.scope import Scope, component_inputs, job_inputs, user_error
from emulator.compute.settings import compute_name, flag, settings, short_name
from emulator.compute.values import (
    Literal,
    RawInput,
    StepOutput,
    literal_text,
)
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
    outputs = job_outputs(properties.get("outputs"))
    command = read_command(Scope({}), properties, {}, properties.get("codeId"))
    check_references("the job", command.text, inputs, outputs, declared=False)
    compute = compute_name(literal_text(properties.get("computeId") or ""))
    step = Step(ROOT, "", ROOT, command, compute, inputs, outputs, properties.get("componentId"))
    return Plan(False, {ROOT: step}, outputs=outputs)


class _Flattening:
    """Walks a pipeline job once, depth first, and fills a plan."""

    def __init__(
        self, emulator: "Emulator", properties: Mapping[str, Any], workspace: str | None
    ) -> None:
        self._emulator = emulator
        self._workspace = workspace or emulator.config.workspace_path
        given = settings(properties)
        self.plan = Plan(
            True,
            outputs=job_outputs(properties.get("outputs")),
            continue_on_failure=flag(given.get("continue_on_step_failure"), True),
            datastore=short_name(given.get("default_datastore")) or "workspaceblobstore",
            force_rerun=flag(given.get("force_rerun"), False),
        )
        scope = Scope(
            {name: item.value for name, item in job_inputs(properties.get("inputs")).items()},
            default_compute=given.get("default_compute") or properties.get("computeId"),
        )
        jobs = properties.get("jobs") or {}
        if reference := properties.get("componentId"):
            jobs, scope = self._whole(str(reference), properties, scope)
        if not jobs:
            raise user_error("The pipeline job has no jobs. Add at least one node.")
        self._pipeline(ROOT, jobs, scope, self.plan.outputs)

    def _whole(
        self, reference: str, properties: Mapping[str, Any], scope: Scope
    ) -> tuple[Mapping[str, Any], Scope]:
        """The nodes of a job that is a pipeline component, and what they see.

        The job may repeat the nodes, but not what the component declares.
        """
        component = find_component(self._emulator, reference, None, self._workspace)
        if component.type != "pipeline":
            raise user_error(
                f"The component {reference} of the pipeline job is of type {component.type}; it "
                "must be a pipeline component."
            )
        given = properties.get("inputs")
        inputs = component_inputs("the job", scope, given, component.inputs, open_ended=True)
        self.plan.outputs = node_outputs(ROOT, "the job", properties, component, {})
        group = Group(ROOT, "", ROOT, inputs, self.plan.outputs, component.id)
        return component.spec.get("jobs") or {}, self._inner(component, group, scope)

    def _pipeline(
        self, key: str, jobs: Mapping[str, Any], scope: Scope, targets: Mapping[str, Target]
    ) -> dict[str, StepOutput]:
        """Bind all nodes of one pipeline; gives the steps behind the pipeline's own outputs."""
        produced: dict[str, StepOutput] = {}
        flow = Flow(jobs)
        for name in node_order(jobs):
            node = jobs[name]
            at = f"{key}/{name}" if key else name
            self._limit(at, name, flow.branches(name), scope)
            if each := flow.each(name):
                outputs = self._fan_out(each, at, key, node, scope, targets)
                scope.produced[each.name] = outputs
                self._bind(each.name, each.node, outputs, targets, produced)
                continue
            outputs = self._node(at, key, name, node, scope, targets)
            if loop := flow.loop(name):
                outputs = self._repeat(loop, at, key, node, scope, targets, outputs)
            for known in (name, *flow.loops_of(name)):
                scope.produced[known] = outputs
            self._bind(name, node, outputs, targets, produced)
        return produced

    @staticmethod
    def _bind(
        name: str,
        node: Mapping[str, Any],
        outputs: Mapping[str, StepOutput],
        targets: Mapping[str, Target],
        produced: dict[str, StepOutput],
    ) -> None:
        """Note in `produced` which of the pipeline's own outputs a node's outputs are."""
        for own, parent in output_bindings(name, node).items():
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
            produced[parent] = _either(produced.get(parent), outputs[own])

    def _limit(self, key: str, name: str, branches: list[Branch], scope: Scope) -> None:
        """Have a node run only where its conditions hold."""
        for branch in branches:
            value = scope.value(RawInput(branch.condition, "literal", None))
            if not isinstance(value, Literal | StepOutput):
                raise user_error(
                    f"The condition {branch.condition} of job {name} is no boolean: it must be "
                    "true, false, or a plain value that another job writes."
                )
            self.plan.conditions.setdefault(key, []).append(Condition(value, branch.wanted))

    def _repeat(
        self,
        loop: Loop,
        key: str,
        parent: str,
        node: Mapping[str, Any],
        scope: Scope,
        targets: Mapping[str, Target],
        outputs: dict[str, StepOutput],
    ) -> dict[str, StepOutput]:
        """Bind a loop's further iterations, each under the condition of the one before it.

        Gives what the last iteration that runs will have written.
        """
        own = self.plan.conditions.get(key, [])
        again = {**node, "inputs": next_inputs(loop, node.get("inputs"))}
        for number in range(2, loop.most + 1):
            scope.produced[loop.body] = outputs
            at = f"{key}.{number}"
            self.plan.conditions[at] = list(own)
            self._limit(at, loop.name, [Branch(loop.condition, True)], scope)
            newest = self._node(at, parent, loop.body, again, scope, targets)
            outputs = {name: _either(outputs.get(name), item) for name, item in newest.items()}
        return outputs

    def _fan_out(
        self,
        each: Each,
        key: str,
        parent: str,
        node: Mapping[str, Any],
        scope: Scope,
        targets: Mapping[str, Target],
    ) -> dict[str, StepOutput]:
        """Bind a body once for each item; gives what the step after them gathers."""
        items = scope.text(each.items)
        own = self.plan.conditions.pop(key, [])
        written: dict[str, dict[str, StepOutput]] = {}
        for label, given in read_items(each.name, items or "[]").items():
            at = f"{key}.{label}"
            self.plan.conditions[at] = list(own)
            inputs = {**(node.get("inputs") or {}), **given}
            one = {**node, "inputs": inputs}
            written[label] = self._node(at, parent, each.body, one, scope, targets)
        declared = self._component(each.body, node, scope).outputs
        types = {
            name: str(port.get("type", "uri_folder")).lower() for name, port in declared.items()
        }
        command, ports = gathering(types, written)
        at = f"{parent}/{each.name}" if parent else each.name
        spec = {"outputs": {name: {"type": gathered_type(kind)} for name, kind in types.items()}}
        outputs = node_outputs(at, each.name, each.node, Component("", spec, None, None), targets)
        self.plan.conditions[at] = list(own)
        compute = compute_name(scope.text(scope.default_compute) or "")
        self.plan.steps[at] = Step(at, each.name, parent, command, compute, ports, outputs)
        return {name: StepOutput(at, name, target.type) for name, target in outputs.items()}

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
        outputs = node_outputs(key, name, node, component, targets)
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
                compute_name(scope.text(compute) or ""),
                inputs,
                outputs,
                component.id,
                flag(component.spec.get("is_deterministic"), True),
                component.name,
            )
            return {own: StepOutput(key, own, target.type) for own, target in outputs.items()}
        inputs = component_inputs(name, scope, given, component.inputs, open_ended=True)
        group = Group(key, name, parent, inputs, outputs, component.id, component.name)
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


def _either(before: StepOutput | None, newest: StepOutput) -> StepOutput:
    """An output that one of several steps writes: the newest of those that run."""
    return newest if before is None else replace(newest, earlier=(*before.earlier, before))


def _unsupported(name: str, kind: object) -> AzureError:
    return AzureError(
        501,
        "OperationNotSupported",
        f"Job {name} of the pipeline is of type {kind}. The local Azure ML runs nodes of type "
        f"{', '.join(sorted(NODE_TYPES | CONTROL_TYPES))}.",
    )
