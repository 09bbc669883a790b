"""Names that follow from what is asked, so that asking again finds what is there already."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping

from tasks.config import FinetuneConfig, ParameterValue
from tasks.errors import NameInvalid
from tasks.values import FoundationModel, Names, Parameter, PipelineComponent

_KEY_LENGTH = 12


def run_key(
    model_id: str,
    component_id: str,
    data_fingerprint: str,
    parameters: Mapping[str, ParameterValue],
) -> str:
    """12 hex digits that stand for one piece of training. The order of parameters is irrelevant."""
    identity = {
        "model": model_id,
        "component": component_id,
        "data": data_fingerprint,
        "parameters": dict(parameters),
    }
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:_KEY_LENGTH]


def names(
    config: FinetuneConfig,
    model: FoundationModel,
    component: PipelineComponent,
    key: str,
    parameters: Iterable[Parameter],
) -> Names:
    """Every name of the run, whether Azure takes it or not: `name_problems` says."""
    first = Names(
        run_key=key,
        job="",
        display_name=display_name(config, model, component, parameters),
        experiment=config.experiment or f"chat_completion_{clean(model.name, '.')}",
        model=model_name(model.name, config.dataset.name),
        model_version="",
        endpoint="",
        deployment=config.serving.deployment,
        cluster=config.compute.cluster,
    )
    return for_attempt(first, config.attempt)


def model_name(model: str, dataset: str) -> str:
    """Name of the fine-tuned model: the foundation model's and the dataset's."""
    return f"{clean(model)}-{clean(dataset.rsplit('/', 1)[-1], '_')}"


def for_attempt(names: Names, attempt: int) -> Names:
    """The names of another attempt at the same training.

    The first attempt's model version is the run key itself; later ones carry their number, so
    that a model of a repeated job never hides behind its predecessor's version.
    """
    key, later = names.run_key, "" if attempt == 1 else f"-{attempt}"
    return names.model_copy(
        update={
            "job": f"ft-{key}-{attempt}",
            "model_version": f"{key}{later}",
            "endpoint": f"ft-{key}{later}",
        }
    )


def display_name(
    config: FinetuneConfig,
    model: FoundationModel,
    component: PipelineComponent,
    parameters: Iterable[Parameter],
) -> str:
    """For people: model, data, whole batch size, schedule, DeepSpeed, LoRA, limits."""
    values = {name: known.default for name, known in component.inputs.items()}
    values |= {parameter.name: parameter.value for parameter in parameters}

    def number(name: str) -> int:
        return int(values.get(name) or 1)

    def is_on(name: str) -> bool:
        return str(values.get(name)).lower() == "true"

    batch = (
        number("per_device_train_batch_size")
        * number("gradient_accumulation_steps")
        * number("number_of_gpu_to_use_finetuning")
        * number("num_nodes_finetune")
    )
    dataset = re.split(r"[-_]", config.dataset.name.rsplit("/", 1)[-1])[0]
    return "-".join(
        [
            clean(model.name),
            dataset,
            f"bs{batch}",
            str(values.get("lr_scheduler_type") or "linear"),
            f"ds{values.get('deepspeed_stage') or 2}" if is_on("apply_deepspeed") else "nods",
            "lora" if is_on("apply_lora") else "nolora",
            f"save_limit{values.get('save_total_limit', -1)}",
            f"seqlen{values.get('max_seq_length', -1)}",
        ]
    )


def clean(name: str, extra: str = "") -> str:
    """`name` with everything but letters, digits, '.', '_' and '-' made '-'; so is `extra`."""
    for character in extra:
        name = name.replace(character, "-")
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "x"


_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_LETTER_FIRST = r"[A-Za-z][A-Za-z0-9-]*[A-Za-z0-9]"
_RULES = {  # name -> (shortest, longest, pattern, the pattern in words)
    "job": (1, 255, _WORD, "letters, digits, '-', '_' and '.'"),
    "display_name": (1, 255, r"[^\x00-\x1f]+", "printable characters"),
    "experiment": (1, 255, r"[A-Za-z0-9][A-Za-z0-9_-]*", "letters, digits, '-' and '_'"),
    "model": (1, 255, _WORD, "letters, digits, '-', '_' and '.'"),
    "model_version": (1, 30, _WORD, "letters, digits, '-', '_' and '.'"),
    "endpoint": (3, 32, _LETTER_FIRST, "letters, digits and '-', a letter first, no '-' last"),
    "deployment": (3, 32, _LETTER_FIRST, "letters, digits and '-', a letter first, no '-' last"),
    "cluster": (2, 32, _LETTER_FIRST, "letters, digits and '-', a letter first, no '-' last"),
}
_SETTING = {
    "experiment": "experiment",
    "deployment": "serving.deployment",
    "cluster": "compute.cluster",
    "endpoint": "attempt",
    "model_version": "attempt",
    "job": "attempt",
    "model": "dataset.name",
    "display_name": "dataset.name",
}


def check_names(names: Names) -> None:
    """Raise NameInvalid for the first name that Azure would refuse."""
    for problem in name_problems(dict(names)):
        raise problem


def name_problems(names: Mapping[str, str]) -> list[NameInvalid]:
    """Every name, by its kind, that is too short, too long or has a wrong character."""
    problems = []
    for kind, name in names.items():
        if kind not in _RULES:
            continue
        shortest, longest, pattern, words = _RULES[kind]
        reason = None
        if not shortest <= len(name) <= longest:
            reason = f"it has {len(name)} characters; {shortest} to {longest} are allowed"
        elif not re.fullmatch(pattern, name):
            reason = f"it may hold only {words}"
        if reason:
            problems.append(
                NameInvalid(
                    f"The {kind.replace('_', ' ')} name {name!r} is not valid: {reason}.",
                    f"Change the setting {_SETTING[kind]}.",
                )
            )
    return problems


def chosen_names(config: FinetuneConfig) -> dict[str, str]:
    """The names that the configuration gives itself, by their kind."""
    chosen = {"deployment": config.serving.deployment, "cluster": config.compute.cluster}
    return chosen | ({"experiment": config.experiment} if config.experiment else {})
