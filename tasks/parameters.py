"""Training parameters: the user's over the model's over the component's, checked by its spec."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from tasks.config import ParameterOrigin, ParameterValue
from tasks.errors import ParameterError
from tasks.values import ComponentInput, Parameter, PipelineComponent

_LITERALS = ("string", "integer", "number", "boolean")
# Inputs that the flow fills in itself, from other settings; all that are no literals are too.
_RESERVED = {
    "compute_": "compute.cluster",
    "instance_type_": "compute.size",
    "task_name": "the component",
    "number_of_gpu_to_use_finetuning": "compute.size",
    "huggingface_id": "model.name",
}


def merge_parameters(
    user: Mapping[str, ParameterValue],
    model_defaults: Mapping[str, ParameterValue],
    component: PipelineComponent,
    run_values: Mapping[str, ParameterValue],
) -> tuple[list[Parameter], list[Parameter]]:
    """Merge and check every training parameter.

    `run_values` are what the flow itself decides, such as number_of_gpu_to_use_finetuning; they
    win over everything. Gives (used, ignored), both by name: `used` holds one parameter for each
    literal input that has a value, with its origin, in the type that the component declares;
    `ignored` holds the model's defaults that the component does not declare. Raises one
    ParameterError that lists everything wrong.
    """
    problems: list[str] = []
    ignored: list[Parameter] = []
    chosen: dict[str, Parameter] = {}
    sources: list[tuple[ParameterOrigin, Mapping[str, ParameterValue]]] = [
        ("component default", _component_defaults(component)),
        ("model default", model_defaults),
        ("user", user),
        ("run", run_values),
    ]
    for origin, values in sources:
        for name, value in values.items():
            problem = _why_not_settable(name, component, origin)
            if problem and origin == "model default":
                ignored.append(Parameter(name=name, value=value, origin=origin))
            elif problem:
                problems.append(problem)
            else:
                chosen[name] = Parameter(name=name, value=value, origin=origin)
    used = []
    for name in sorted(chosen):
        parameter, problem = _typed(chosen[name], component.inputs[name])
        used.append(parameter)
        if problem:
            problems.append(problem)
    problems += _contradictions({parameter.name: parameter for parameter in used})
    if problems:
        raise ParameterError(
            f"Training parameters of {component.name} {component.version}: " + " ".join(problems),
            "Correct them under `parameters`.",
        )
    return used, sorted(ignored, key=lambda parameter: parameter.name)


def range_warnings(
    used: Sequence[Parameter], model_defaults: Mapping[str, ParameterValue]
) -> list[str]:
    """Values outside of the range that the model's publisher recommends by NAME_min, NAME_max."""
    warnings = []
    for parameter in used:
        low = _as_number(model_defaults.get(f"{parameter.name}_min"))
        high = _as_number(model_defaults.get(f"{parameter.name}_max"))
        value = _as_number(parameter.value)
        if value is None:
            continue
        if (low is not None and value < low) or (high is not None and value > high):
            limits = " to ".join("..." if edge is None else f"{edge:g}" for edge in (low, high))
            warnings.append(
                f"{parameter.name} = {value:g} is outside of {limits}, which the model's publisher "
                "recommends."
            )
    return warnings


def _component_defaults(component: PipelineComponent) -> dict[str, ParameterValue]:
    return {
        name: declared.default
        for name, declared in component.inputs.items()
        if declared.default is not None and not _reserved(name, declared)
    }


def _reserved(name: str, declared: ComponentInput) -> str | None:
    """The setting that decides a reserved input; None for one that a person may set."""
    for start, setting in _RESERVED.items():
        if name == start or (start.endswith("_") and name.startswith(start)):
            return setting
    if declared.type not in _LITERALS:
        return "the flow (model, data)"
    return None


def _why_not_settable(
    name: str, component: PipelineComponent, origin: ParameterOrigin
) -> str | None:
    declared = component.inputs.get(name)
    if declared is None:
        settable = [
            known for known, other in component.inputs.items() if not _reserved(known, other)
        ]
        near = get_close_matches(name, settable, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else "."
        return f"{name} is no input of the component{hint}"
    if origin != "run" and (setting := _reserved(name, declared)):
        return f"{name} is decided by {setting} and cannot be set here."
    return None


def _typed(parameter: Parameter, declared: ComponentInput) -> tuple[Parameter, str | None]:
    """The parameter in its declared type, or the reason why that cannot be."""
    whose = "" if parameter.origin == "user" else f" ({parameter.origin})"
    shown = f"{parameter.name} = {parameter.value!r}{whose}"
    value = _convert(parameter.value, declared)
    if value is None:
        article = "an" if declared.type == "integer" else "a"
        return parameter, f"{shown} is not {article} {declared.type}."
    typed = parameter.model_copy(update={"value": value})
    if declared.choices and str(value) not in declared.choices:
        return typed, f"{shown} is not one of {', '.join(declared.choices)}."
    if isinstance(value, int | float) and not isinstance(value, bool):
        if declared.minimum is not None and value < declared.minimum:
            return typed, f"{shown} is less than {declared.minimum:g}."
        if declared.maximum is not None and value > declared.maximum:
            return typed, f"{shown} is more than {declared.maximum:g}."
    return typed, None


def _convert(value: ParameterValue, declared: ComponentInput) -> ParameterValue | None:
    if declared.type == "string":
        if isinstance(value, bool):
            value = str(value).lower()
        elif isinstance(value, float) and value.is_integer() and declared.choices:
            value = int(value)
        text = str(value)
        # The component compares text exactly; "True" for "true" is no reason to refuse.
        same = [choice for choice in declared.choices if choice.lower() == text.lower()]
        return same[0] if same else text
    if declared.type == "boolean":
        text = str(value).lower()
        return text == "true" if text in ("true", "false") else None
    number = None if isinstance(value, bool) else _as_number(value)
    if number is None:
        return None
    if declared.type == "number":
        return number
    return int(number) if number.is_integer() else None


def _as_number(value: ParameterValue | None) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None  # neither infinite nor not-a-number


def _contradictions(used: Mapping[str, Parameter]) -> list[str]:
    """What the component's steps refuse only after the GPU has been started and is billed."""

    def text(name: str) -> str:
        return str(used[name].value).lower() if name in used else ""

    problems = []
    rate = _as_number(used["learning_rate"].value) if "learning_rate" in used else None
    if rate is not None and rate <= 0:
        problems.append(f"learning_rate = {rate:g} is not greater than 0.")
    if text("apply_deepspeed") == "true" and text("auto_find_batch_size") == "true":
        problems.append("auto_find_batch_size does not work with apply_deepspeed: switch one off.")
    if (
        text("apply_deepspeed") == "true"
        and text("deepspeed_stage") == "3"
        and text("apply_ort") == "true"
    ):
        problems.append("apply_ort does not work with deepspeed_stage 3: switch it off.")
    if text("apply_early_stopping") == "true" and text("evaluation_strategy") not in (
        "epoch",
        "steps",
    ):
        problems.append(
            "apply_early_stopping needs evaluation_strategy epoch or steps, not "
            f"{text('evaluation_strategy') or 'none'}."
        )
    return problems
