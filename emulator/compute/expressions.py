"""Azure ML's expressions: `${{...}}` references, and `$[[...]]` groups in commands.

Two languages share the braces. A command refers to its own `inputs` and `outputs`; the inputs of
a pipeline's node are bound to the pipeline around it (`parent`). Both are pure text here.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_GROUP = re.compile(r"\$\[\[(.*?)\]\]", re.DOTALL)
_OWN = re.compile(r"(inputs|outputs)\.([\w.-]+)")
_PARENT = re.compile(r"parent\.(inputs|outputs)\.([\w.-]+)")
_SIBLING = re.compile(r"parent\.jobs\.([\w-]+)\.outputs\.([\w.-]+)")


class ExpressionError(ValueError):
    """An expression that cannot be read or has no value; the message names it."""


@dataclass(frozen=True)
class ParentInput:
    """`${{parent.inputs.<name>}}`"""

    name: str


@dataclass(frozen=True)
class ParentOutput:
    """`${{parent.outputs.<name>}}`"""

    name: str


@dataclass(frozen=True)
class SiblingOutput:
    """`${{parent.jobs.<node>.outputs.<name>}}`"""

    node: str
    name: str


def _expressions(text: str) -> Iterator[re.Match[str]]:
    # Up to the last end there is: a long text of beginnings alone is not searched from each.
    return _EXPRESSION.finditer(text, 0, _end(text, "}}"))


def _groups(text: str) -> Iterator[re.Match[str]]:
    return _GROUP.finditer(text, 0, _end(text, "]]"))


def _end(text: str, closing: str) -> int:
    return text.rfind(closing) + len(closing) if closing in text else 0


Binding = ParentInput | ParentOutput | SiblingOutput


def bindings(text: str) -> list[str | Binding]:
    """Cut a node's value into plain text and bindings, in order; empty text is left out.

    Raises ExpressionError for anything in braces that is not a binding.
    """
    parts: list[str | Binding] = []
    position = 0
    for match in _expressions(text):
        if match.start() > position:
            parts.append(text[position : match.start()])
        parts.append(_binding(match[1].strip()))
        position = match.end()
    if position < len(text):
        parts.append(text[position:])
    return parts


def _binding(expression: str) -> Binding:
    if match := _PARENT.fullmatch(expression):
        return ParentInput(match[2]) if match[1] == "inputs" else ParentOutput(match[2])
    if match := _SIBLING.fullmatch(expression):
        return SiblingOutput(match[1], match[2])
    raise ExpressionError(
        f"Invalid expression {expression}. Only parent.inputs, "
        "parent.jobs.[source_job_name].outputs or parent.outputs can be used for binding."
    )


def command_references(command: str) -> tuple[set[str], set[str]]:
    """What a command refers to, as `inputs.x` and `outputs.y`: (always, only inside groups)."""
    end = _end(command, "]]")
    outside = _own(_GROUP.sub("", command[:end]) + command[end:])
    inside = {name for group in _groups(command) for name in _own(group[1])}
    return outside, inside - outside


def _own(text: str) -> set[str]:
    return {_own_reference(match[1].strip()) for match in _expressions(text)}


def _own_reference(expression: str) -> str:
    if not _OWN.fullmatch(expression):
        raise ExpressionError(
            f"Invalid expression {expression} in a command. "
            "Only inputs.<name> and outputs.<name> can be used there."
        )
    return expression


def render(command: str, values: Mapping[str, str | None]) -> str:
    """A command with its references replaced by `values` ("inputs.x" -> text).

    A `$[[group]]` is kept, without its brackets, when all that it refers to has a value, and is
    dropped otherwise. Replaced text is not read again: a value may hold `${{` or `$[[`.
    Raises ExpressionError for a reference without a value outside of a group.
    """
    pieces: list[str] = []
    position = 0
    for group in _groups(command):
        pieces.append(_substitute(command[position : group.start()], values))
        if all(values.get(name) is not None for name in _own(group[1])):
            pieces.append(_substitute(group[1], values))
        position = group.end()
    pieces.append(_substitute(command[position:], values))
    return "".join(pieces)


def _substitute(text: str, values: Mapping[str, str | None]) -> str:
    def value(match: re.Match[str]) -> str:
        name = _own_reference(match[1].strip())
        if (found := values.get(name)) is None:
            raise ExpressionError(
                f"The command refers to {name}, which has no value. "
                "Give it one, or put the reference into $[[...]] to make it optional."
            )
        return found

    end = _end(text, "}}")
    return _EXPRESSION.sub(value, text[:end]) + text[end:]


def fill_path(template: str, name: str, output_name: str, datastore: str) -> str:
    """An output's path with the service's own `${{name}}`-style variables filled in."""
    known = {"name": name, "output_name": output_name, "default_datastore": datastore}

    def value(match: re.Match[str]) -> str:
        variable = match[1].strip()
        if variable not in known:
            raise ExpressionError(
                f"Invalid expression {variable} in the path of output {output_name}. "
                "Only name, output_name and default_datastore can be used there."
            )
        return known[variable]

    end = _end(template, "}}")
    return _EXPRESSION.sub(value, template[:end]) + template[end:]
