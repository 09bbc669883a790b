"""What a node of a pipeline can see: the pipeline's inputs and the outputs of its siblings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from emulator.compute.expressions import (
    Binding,
    ExpressionError,
    ParentInput,
    SiblingOutput,
    bindings,
)
from emulator.compute.plan import StepInput
from emulator.compute.values import (
    DATA_TYPES,
    LITERAL_TYPES,
    Data,
    Literal,
    PathIn,
    RawInput,
    StepOutput,
    Value,
    literal_text,
    read_input,
)
from emulator.http import AzureError


def user_error(message: str, narrower: str | None = None) -> AzureError:
    """`narrower` is the service's own code for what is wrong with a pipeline."""
    inner = ("BadArgument", "ArgumentInvalid", "InvalidPipelineJob", narrower) if narrower else ()
    return AzureError(400, "UserError", message, inner=inner)


@dataclass
class Scope:
    """One pipeline while its nodes are bound."""

    inputs: Mapping[str, Value | None]
    registry: str | None = None
    default_compute: str | None = None
    produced: dict[str, dict[str, StepOutput]] = field(default_factory=dict)
    """Outputs of the nodes that are already bound, by node."""

    def value(self, raw: RawInput) -> Value | None:
        """A written input with its bindings followed; None where they lead to nothing."""
        try:
            parts = bindings(raw.text)
        except ExpressionError as error:
            raise user_error(str(error)) from error
        if len(parts) == 1 and not isinstance(parts[0], str):
            return self._bound(parts[0])
        values = [Literal(part) if isinstance(part, str) else self._bound(part) for part in parts]
        if any(value is None for value in values):
            raise user_error(f"The expression {raw.text} refers to an input that has no value.")
        if all(isinstance(value, Literal) for value in values):
            text = "".join(value.text for value in values if isinstance(value, Literal))
            return Literal(text) if raw.literal else Data(text, raw.type, raw.mode)
        return self._path(raw, values)

    def text(self, raw: Any) -> str | None:
        """A setting of a node (compute, instance count ...) as text; bindings followed."""
        if raw is None:
            return None
        value = self.value(RawInput(literal_text(raw), "literal", None))
        if value is not None and not isinstance(value, Literal):
            raise user_error(f"{raw} is data; a plain value is needed here.")
        return value.text if value else None

    def _bound(self, binding: Binding) -> Value | None:
        if isinstance(binding, ParentInput):
            return self.inputs.get(binding.name)
        if isinstance(binding, SiblingOutput):
            if binding.node not in self.produced:
                raise user_error(f"Job {binding.node} in the binding of an input does not exist.")
            outputs = self.produced[binding.node]
            if binding.name not in outputs:
                raise user_error(
                    f"Output {binding.name} of job {binding.node} does not exist. "
                    f"Outputs of {binding.node}: {', '.join(sorted(outputs)) or 'none'}."
                )
            return outputs[binding.name]
        raise user_error(f"An input cannot be bound to parent.outputs.{binding.name}.")

    @staticmethod
    def _path(raw: RawInput, values: list[Value | None]) -> PathIn:
        base, *rest = values
        plain = isinstance(base, StepOutput) and base.type in LITERAL_TYPES
        if (
            isinstance(base, Data | StepOutput)
            and not plain
            and all(isinstance(v, Literal) for v in rest)
        ):
            suffix = "".join(value.text for value in rest if isinstance(value, Literal))
            kind = raw.type if raw.type in DATA_TYPES else "uri_folder"
            return PathIn(base, suffix, kind)
        raise user_error(
            f"The expression {raw.text} mixes data, or the plain value of another job, with text. "
            "Data can only stand first, followed by a path inside of it; a plain value stands "
            "alone."
        )


def job_inputs(raw: Mapping[str, Any] | None) -> dict[str, StepInput]:
    """The inputs of a job itself; there is nothing around it to bind to."""
    found: dict[str, StepInput] = {}
    scope = Scope({})
    for name, written in (raw or {}).items():
        if (item := read_input(written)) is None:
            continue
        kind = item.type if not item.literal else "string"
        found[name] = StepInput(scope.value(item), kind, item.mode)
    return found


def component_inputs(
    node: str,
    scope: Scope,
    raw: Mapping[str, Any] | None,
    declared: Mapping[str, dict[str, Any]],
    open_ended: bool = False,
) -> dict[str, StepInput]:
    """A node's inputs: what it is given, over the component's defaults, checked.

    `open_ended`: inputs that are not declared are let through (the SDK leaves the untyped
    parameters of a pipeline function out of the component's spec).
    """
    given = {name: read_input(value) for name, value in (raw or {}).items()}
    if not open_ended and (unknown := sorted(given.keys() - declared.keys())):
        raise user_error(
            f"Invalid component job since input {unknown[0]} for component job {node} "
            "does not exist.",
            "InvalidComponentJobInput",
        )
    found: dict[str, StepInput] = {}
    for name in [*declared, *(given.keys() - declared.keys())]:
        declaration = declared.get(name, {"optional": True})
        written = given.get(name)
        kind = str(declaration.get("type", "string")).lower()
        value = scope.value(written) if written else None
        if value is None and declaration.get("default") is not None:
            value = Literal(literal_text(declaration["default"]))
        if value is None and str(declaration.get("optional", False)).lower() != "true":
            raise user_error(
                f"Invalid component job since required input {name} for component job {node} "
                "has no value."
            )
        mode = (written.mode if written else None) or declaration.get("mode")
        found[name] = StepInput(_typed(node, name, value, kind, declaration), kind, mode)
    return found


def _typed(
    node: str, name: str, value: Value | None, kind: str, declaration: Mapping[str, Any]
) -> Value | None:
    if isinstance(value, StepOutput) and value.type in LITERAL_TYPES and kind in DATA_TYPES:
        raise user_error(
            f"Invalid component job since input {name} for component job {node} is of type {kind}, "
            f"and it is bound to a plain value of type {value.type}."
        )
    if not isinstance(value, Literal):
        return value
    if kind in DATA_TYPES:
        return Data(value.text, kind)
    problem = literal_problem(value.text, kind, declaration)
    if problem:
        raise user_error(
            f"Invalid value {value.text!r} of input {name} for component job {node}: {problem}."
        )
    return value


def literal_problem(text: str, kind: str, declaration: Mapping[str, Any]) -> str | None:
    """Why a literal does not suit its declaration; None where it does."""
    if allowed := declaration.get("enum"):
        words = [literal_text(word) for word in allowed]
        if text.lower() not in [word.lower() for word in words]:
            return f"allowed are {', '.join(words)}"
    if kind == "boolean" and text.lower() not in ("true", "false"):
        return "it must be true or false"
    if kind not in ("integer", "number"):
        return None
    try:
        number = float(text)
    except ValueError:
        return f"it must be of type {kind}"
    if (low := declaration.get("min")) is not None and number < float(low):
        return f"the least is {low}"
    if (high := declaration.get("max")) is not None and number > float(high):
        return f"the most is {high}"
    return None
