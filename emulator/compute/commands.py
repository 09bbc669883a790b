"""What a step runs, read from a component's spec or a command job's body."""

from collections.abc import Mapping
from typing import Any

from emulator.compute.durations import seconds
from emulator.compute.expressions import ExpressionError, command_references
from emulator.compute.plan import Command, StepInput, Target
from emulator.compute.scope import Scope, user_error
from emulator.compute.values import literal_text


def read_command(
    scope: Scope, spec: Mapping[str, Any], node: Mapping[str, Any], code: Any
) -> Command:
    """What a step runs: the component's (or job's) word, the node's settings over it."""
    limits = {**(spec.get("limits") or {}), **(node.get("limits") or {})}
    resources = {**(spec.get("resources") or {}), **(node.get("resources") or {})}
    variables = _first(spec, "environment_variables", "environmentVariables") or {}
    variables = variables | (node.get("environment_variables") or {})
    distribution = {**(spec.get("distribution") or {}), **(node.get("distribution") or {})}
    count = scope.text(_first(resources, "instance_count", "instanceCount")) or "1"
    try:
        timeout = seconds(scope.text(limits.get("timeout")))
        instances = int(count)
    except ValueError as error:
        raise user_error(str(error)) from error
    if not spec.get("command"):
        raise user_error("The job has no command.")
    return Command(
        str(spec["command"]),
        code,
        _first(spec, "environmentId", "environment"),
        {name: literal_text(value) for name, value in variables.items()},
        timeout,
        max(1, instances),
        _first(distribution, "distributionType", "type"),
    )


def check_references(
    what: str,
    command: str,
    inputs: Mapping[str, StepInput],
    outputs: Mapping[str, Target],
    declared: bool = True,
) -> None:
    """Raise AzureError 400 where a command refers to what is not there, or may not be there.

    Without a component nothing is `declared`: a group may name an input that nobody gave.
    """
    try:
        always, optional = command_references(command)
    except ExpressionError as error:
        raise user_error(str(error)) from error
    known = {f"inputs.{name}" for name in inputs} | {f"outputs.{name}" for name in outputs}
    if unknown := sorted((always | (optional if declared else set())) - known):
        raise user_error(f"The command of {what} refers to {unknown[0]}, which does not exist.")
    for name, item in inputs.items():
        if item.value is None and f"inputs.{name}" in always:
            raise user_error(
                f"The command of {what} refers to inputs.{name}, which has no value, outside of "
                "$[[...]]."
            )


def _first(source: Mapping[str, Any], *names: str) -> Any:
    return next((source[name] for name in names if source.get(name) is not None), None)
