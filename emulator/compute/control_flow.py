"""Nodes that direct others: whether they run (if_else), and how often (do_while, parallel_for)."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emulator.compute.scope import user_error
from emulator.compute.values import literal_text

CONTROL_TYPES = frozenset({"if_else", "do_while", "parallel_for"})
MOST_ITERATIONS = 1000

_PORT = re.compile(r"\$\{\{\s*parent\.jobs\.([\w-]+)\.(?:inputs|outputs)\.([\w.-]+)\s*\}\}")
_BLOCK = re.compile(r"\$\{\{\s*parent\.jobs\.([\w-]+)\s*\}\}")


@dataclass(frozen=True)
class Branch:
    """A condition as written, and the value with which a node runs."""

    condition: str
    wanted: bool


@dataclass(frozen=True)
class Loop:
    """A node that is repeated as long as a condition says so."""

    name: str
    body: str
    condition: str
    """`True`, `False`, or a binding; the body's own outputs are those of the last iteration."""
    mapping: tuple[tuple[str, str], ...]
    """(output, input): what an iteration gives to the next one."""
    most: int


@dataclass(frozen=True)
class Each:
    """A node that runs once for each of some items, all at the same time."""

    name: str
    body: str
    items: str
    """JSON, or a binding to a text that is."""
    node: Mapping[str, Any]


class Flow:
    """The nodes of one pipeline, and what directs them. Raises AzureError 400 for what cannot."""

    def __init__(self, jobs: Mapping[str, Any]) -> None:
        self.nodes: dict[str, Mapping[str, Any]] = {}
        self._branches: dict[str, list[Branch]] = {}
        self._bodies: dict[str, str] = {}
        self._loops: dict[str, Loop] = {}
        self._each: dict[str, Each] = {}
        control: dict[str, Mapping[str, Any]] = {}
        for name, node in jobs.items():
            if not isinstance(node, Mapping):
                raise user_error(f"Job {name} of the pipeline must be an object.")
            (control if str(node.get("type")) in CONTROL_TYPES else self.nodes)[name] = node
        for name, node in control.items():
            if node["type"] == "parallel_for":
                body = self._target(name, "body", node.get("body"))
                self._each[body] = Each(name, body, _items(name, node.get("items")), node)
            elif node["type"] == "do_while":
                loop = self._loop(name, node)
                self._loops[loop.body] = loop
        if twice := sorted(self._loops.keys() & self._each.keys()):
            raise user_error(f"Job {twice[0]} is the body of more than one loop.")
        repeated: list[Loop | Each] = [*self._loops.values(), *self._each.values()]
        self._bodies = {loop.name: loop.body for loop in repeated}
        for name, node in control.items():
            if node["type"] == "if_else":
                self._add_branches(name, node)

    def branches(self, node: str) -> list[Branch]:
        """The conditions under which a node runs; all of them must hold."""
        return self._branches.get(node, [])

    def loop(self, node: str) -> Loop | None:
        """The loop whose body a node is."""
        return self._loops.get(node)

    def each(self, node: str) -> Each | None:
        """The parallel_for whose body a node is."""
        return self._each.get(node)

    def loops_of(self, body: str) -> list[str]:
        """The names under which other nodes may refer to a body's outputs, besides its own."""
        return [name for name, known in self._bodies.items() if known == body]

    def node_behind(self, name: str) -> str:
        """The node that writes the outputs of `name`, which may be a loop."""
        return self._bodies.get(name, name)

    def conditions_text(self, node: str) -> list[str]:
        """What of others, as written, is read before a node can start: conditions and items."""
        each = self.each(node)
        items = [each.items] if each else []
        return [*(branch.condition for branch in self.branches(node)), *items]

    def _add_branches(self, name: str, node: Mapping[str, Any]) -> None:
        condition = _condition(name, node)
        found = False
        for block, wanted in (("true_block", True), ("false_block", False)):
            for reference in _listed(node.get(block)):
                found = True
                target = self._target(name, block, reference)
                self._branches.setdefault(target, []).append(Branch(condition, wanted))
        if not found:
            raise user_error(f"Job {name} of type if_else has neither a true nor a false block.")

    def _loop(self, name: str, node: Mapping[str, Any]) -> Loop:
        body = self._target(name, "body", node.get("body"))
        condition = _condition(name, node)
        if condition.lower() not in ("true", "false") and "${{" not in condition:
            condition = f"${{{{parent.jobs.{body}.outputs.{condition}}}}}"
        mapping = [
            (_port(name, body, output), _port(name, body, given))
            for output, inputs in _object(name, "mapping", node).items()
            for given in _listed(inputs)
        ]
        most = _object(name, "limits", node).get("max_iteration_count") or MOST_ITERATIONS
        if not str(most).isdecimal() or not 1 <= int(most) <= MOST_ITERATIONS:
            raise user_error(
                f"The max_iteration_count of job {name} is {most}; it must be 1 to "
                f"{MOST_ITERATIONS}."
            )
        return Loop(name, body, condition, tuple(mapping), int(most))

    def _target(self, name: str, what: str, reference: Any) -> str:
        match = _BLOCK.fullmatch(str(reference or "").strip())
        if match is None or (target := self.node_behind(match[1])) not in self.nodes:
            raise user_error(
                f"The {what} of job {name} must name another job of the pipeline as "
                f"${{{{parent.jobs.<name>}}}}, not {reference or 'nothing'}."
            )
        return target


def next_inputs(loop: Loop, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The inputs of an iteration after the first: those that the one before it has written."""
    inputs = dict(given or {})
    for output, name in loop.mapping:
        old = inputs.get(name)
        mode = old.get("mode") if isinstance(old, Mapping) else None
        binding = f"${{{{parent.jobs.{loop.body}.outputs.{output}}}}}"
        inputs[name] = {"job_input_type": "literal", "value": binding} | (
            {"mode": mode} if mode else {}
        )
    return inputs


def _object(name: str, what: str, node: Mapping[str, Any]) -> Mapping[str, Any]:
    """A section of a node, which may be left out."""
    found = node.get(what) or {}
    if not isinstance(found, Mapping):
        raise user_error(f"The {what} of job {name} must be an object.")
    return found


def _items(name: str, items: Any) -> str:
    if items is None:
        raise user_error(f"Job {name} of type parallel_for has no items.")
    return items if isinstance(items, str) else json.dumps(items)


def _condition(name: str, node: Mapping[str, Any]) -> str:
    condition = node.get("condition")
    if condition is None or condition == "":
        raise user_error(f"Job {name} of type {node['type']} has no condition.")
    return literal_text(condition)


def _port(loop: str, body: str, reference: Any) -> str:
    """The name of an input or output of a loop's body, which may be written as a binding."""
    text = str(reference)
    if "${{" not in text:
        return text
    match = _PORT.fullmatch(text.strip())
    if match is None or match[1] != body:
        raise user_error(f"The mapping of job {loop} names {text}, which is not of job {body}.")
    return match[2]


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
