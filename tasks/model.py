"""The foundation model: what the registry says of it and whether it may be fine-tuned."""

import ast
import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from difflib import get_close_matches
from itertools import islice
from typing import Any

from tasks.config import ParameterValue
from tasks.errors import ModelRetired, NotFound, UserError
from tasks.explaining import explain, is_transient
from tasks.values import FoundationModel

CHAT_TASK = "chat-completion"
# As of July 2026: the chat models with a fine-tuning component and no retirement date.
SUCCESSORS = ("Phi-4",)
_NAMES_TO_COMPARE = 500


def resolve_model(registry_client: Any, name: str, version: str | None) -> FoundationModel:
    """The model of the registry, by version or the latest one.

    `registry_client` is an azure.ai.ml.MLClient of a registry. Raises NotFound (with near names),
    PermissionProblem; lets transient errors through, for a retry.
    """
    try:
        if version is None:
            entity = registry_client.models.get(name, label="latest")
        else:
            entity = registry_client.models.get(name, version=version)
        system_metadata = _system_metadata(registry_client, entity)
    except Exception as error:
        if is_transient(error):
            raise
        explained = explain(error, f"Looking up model {name}")
        if isinstance(explained, NotFound):
            raise _unknown_model(registry_client, name, version) from error
        if explained is None or explained is error:
            raise
        raise explained from error
    return read_model(entity, system_metadata)


def read_model(entity: Any, system_metadata: Mapping[str, Any] | None = None) -> FoundationModel:
    """A Model of the SDK as a plain value.

    The registry has said the same things in two places: tags (until mid-2026) and system metadata.
    Both are read; system metadata wins.
    """
    tags = {str(name): value for name, value in (entity.tags or {}).items()}
    properties: Mapping[str, Any] = entity.properties or {}
    system = system_metadata or {}
    computes = _section(system, "supportedComputes")
    dates = _section(system, "deprecation")
    tasks = _words(_section(system, "tasks").get("fineTuningTasks"))
    tasks = tasks or _words(properties.get("finetuning-tasks")) or _words(tags.get("task"))
    allowed = _words(computes.get("finetuneComputes"))
    served = _words(computes.get("inferenceComputes"))
    skus = _section(system, "SKU")
    return FoundationModel(
        id=entity.id,
        name=entity.name,
        version=str(entity.version),
        registry=_registry_of(entity.id),
        finetune_sizes=allowed or _words(tags.get("finetune_compute_allow_list")),
        inference_sizes=served or _words(tags.get("inference_compute_allow_list")),
        defaults=_defaults(tags.get("model_specific_defaults")),
        finetune_retirement=_moment(
            dates.get("finetuneRetirementDate") or tags.get("FinetuneRetirementDate")
        ),
        inference_retirement=_moment(
            dates.get("inferenceRetirementDate") or tags.get("InferenceRetirementDate")
        ),
        finetune_min_spec=skus.get("finetuneMinSkuSpec") or properties.get("finetune-min-sku-spec"),
        inference_min_spec=skus.get("inferenceMinSkuSpec")
        or properties.get("inference-min-sku-spec"),
        task=(CHAT_TASK if CHAT_TASK in tasks else ", ".join(tasks)) if tasks else None,
        tags={name: str(value) for name, value in tags.items()},
    )


def check_model(model: FoundationModel, today: date, accept_retired: bool) -> tuple[str, ...]:
    """Warnings about a model that may be used; raises ModelRetired or UserError for another one."""
    if model.task is not None and model.task != CHAT_TASK:
        raise UserError(
            f"Model {model.name} is made for {model.task}, not for {CHAT_TASK}.",
            f"Choose a chat model, for example {SUCCESSORS[0]}.",
        )
    warnings = []
    if model.task is None:
        warnings.append(f"The registry does not say for which task {model.name} is made.")
    dates = {
        "fine-tuning": model.finetune_retirement,
        "inference": model.inference_retirement,
    }
    over = {use: day for use, day in dates.items() if day and day.date() <= today}
    if over:
        told = " and ".join(f"for {use} on {day:%Y-%m-%d}" for use, day in over.items())
        if not accept_retired:
            raise ModelRetired(
                f"Model {model.name} (version {model.version}) was retired {told}.",
                f"Choose {_successor(model)}, or set model.accept_retired to go on nevertheless.",
            )
        warnings.append(
            f"{model.name} was retired {told}: Azure may refuse it. "
            f"Its successor is {_successor(model)}."
        )
    for use, day in dates.items():
        if day and day.date() > today:
            warnings.append(f"{model.name} will be retired for {use} on {day:%Y-%m-%d}.")
    return tuple(warnings)


def _successor(model: FoundationModel) -> str:
    return next((name for name in SUCCESSORS if name != model.name), "a model without such a date")


def _unknown_model(registry_client: Any, name: str, version: str | None) -> NotFound:
    wanted = f"model {name}" + (f" version {version}" if version else "")
    known: Iterable[str] = ()
    try:
        listed = islice(registry_client.models.list(), _NAMES_TO_COMPARE)
        known = sorted({str(model.name) for model in listed})
    except Exception:  # the list is a courtesy: without it the error is still right
        known = ()
    by_lower = {other.lower(): other for other in known}
    near = [by_lower[match] for match in get_close_matches(name.lower(), list(by_lower), n=5)]
    if name in near:
        advice = "Check model.version, or leave it empty for the latest one."
    elif near:
        advice = f"Near names: {', '.join(near)}."
    else:
        advice = f"Check model.name; {SUCCESSORS[0]} is a chat model of the registry azureml."
    return NotFound(f"The registry has no {wanted}.", advice)


def _system_metadata(registry_client: Any, entity: Any) -> Mapping[str, Any]:
    """The model's system metadata; {} when the registry gives none.

    The registry answers with it, but azure-ai-ml 1.35 loses it on the way to its Model entity: it
    looks for an attribute where its REST value has only a key. So the REST value is asked too.
    """
    kept = getattr(entity, "_system_metadata", None)
    if isinstance(kept, Mapping) and kept:
        return kept
    get = getattr(registry_client.models, "_get", None)
    if get is None:
        return {}
    properties: Any = get(entity.name, entity.version).properties
    extra = getattr(properties, "additional_properties", None)
    for source in (properties, extra):
        if isinstance(source, Mapping):
            found = source.get("systemMetadata") or source.get("system_metadata")
            if isinstance(found, Mapping):
                return found
    return {}


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of the system metadata, whose names are spelt in camelCase or snake_case."""
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    found = values.get(name) or values.get(snake) or {}
    found = _parse(found)
    return found if isinstance(found, Mapping) else {}


def _parse(value: Any) -> Any:
    """A tag's text as the value it stands for: JSON, or a Python literal, or the text itself."""
    if not isinstance(value, str):
        return value
    for read in (json.loads, ast.literal_eval):
        try:
            return read(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return value


def _words(value: Any) -> tuple[str, ...] | None:
    """A list in any of its spellings; None when there is none."""
    value = _parse(value)
    if isinstance(value, str):
        value = value.strip("[] ").split(",")
    if not isinstance(value, list | tuple):
        return None
    words = tuple(word for item in value if (word := str(item).strip(" '\"")))
    return words or None


def _defaults(value: Any) -> dict[str, ParameterValue]:
    parsed = _parse(value)
    if not isinstance(parsed, Mapping):
        return {}
    return {
        str(name): _default(default)
        for name, default in parsed.items()
        if isinstance(default, str | int | float | bool)
    }


def _default(value: ParameterValue) -> ParameterValue:
    # YAML reads 5e-6 as text, and so it is published.
    if not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    is_exponent = "e" in value.lower() or "." in value
    return number if is_exponent and math.isfinite(number) else value


def _moment(value: Any) -> datetime | None:
    if not value:
        return None
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _registry_of(model_id: str) -> str:
    parts = model_id.split("/")
    return parts[parts.index("registries") + 1] if "registries" in parts else ""
