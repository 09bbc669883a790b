"""In which order the nodes of one pipeline are bound."""

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from emulator.compute.control_flow import Flow
from emulator.compute.expressions import ExpressionError, SiblingOutput, bindings
from emulator.compute.scope import user_error


def node_order(jobs: Mapping[str, Any]) -> list[str]:
    """The nodes of one pipeline, each after those whose outputs it reads or waits for.

    Nodes that only direct others (`if_else`, `do_while`) are none of them.
    """
    flow = Flow(jobs)
    needs: dict[str, set[str]] = {}
    for name, node in flow.nodes.items():
        needs[name] = set()
        for text in [*_texts(node.get("inputs")), *flow.conditions_text(name)]:
            needs[name] |= {flow.node_behind(source) for source in _sources(text)}
        if missing := sorted(needs[name] - flow.nodes.keys()):
            raise user_error(
                f"Job {name} is bound to an output of job {missing[0]}, which does not exist."
            )
    try:
        return list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise user_error(f"The pipeline has a cycle: {circle}. A graph must not.") from error


def _sources(text: str) -> list[str]:
    try:
        parts = bindings(text)
    except ExpressionError as error:
        raise user_error(str(error), "InvalidExpressionInJob") from error
    return [part.node for part in parts if isinstance(part, SiblingOutput)]


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _texts(item)]
    return []
