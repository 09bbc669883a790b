"""What is different from the last successful run: found by comparing the two plans.

The plan of a run that has completed is written as one small JSON file beside the data of the
workspace (its default datastore, below `finetune-plans/`), so that the next run finds it on any
machine. Not as tags of the registered model: a tag holds 256 characters and a plan some
thousands, and tags can be edited by anybody in the studio. A copy below the home folder is for
people; nothing reads it.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from prefect import task
from pydantic import ValidationError

from tasks.artifacts import run_logger
from tasks.clients import REMOTE, explained
from tasks.config import FinetuneConfig
from tasks.errors import UserError
from tasks.explaining import explain
from tasks.ownership import home
from tasks.scrubbing import scrub
from tasks.storage import default_container
from tasks.values import Change, ComponentInput, Draft, PastRun, Plan, SplitFile

ABSENT = "-"
_PARSED_TAGS = {  # compared by what they say, not by their spelling
    "finetune_compute_allow_list",
    "inference_compute_allow_list",
    "model_specific_defaults",
}
_LONGEST = 60


class PlanChanged(UserError):
    """The run is pinned, and something is not as it was in the last successful run."""


def diff_plans(before: Draft, after: Draft) -> tuple[Change, ...]:
    """What changed of the model, the component, the sizes and the data; () when nothing did.

    A part that either side does not know is left out.
    """
    found: list[Change] = []
    for what, old, new in _pairs(before, after):
        if old != new:
            found.append(Change(what=what, before=_shown(old), after=_shown(new)))
    return tuple(found)


def check_pinned(config: FinetuneConfig, changes: tuple[Change, ...], previous: str | None) -> None:
    """Raise PlanChanged, listing every change, when the run is pinned and there is one."""
    if not config.pinned:
        return
    if previous is None:
        raise PlanChanged(
            "The run is pinned, but no successful run of this model, data set and component was "
            "found in the workspace to compare with.",
            "Run once with `pinned: false`.",
        )
    if changes:
        listed = "; ".join(str(change) for change in changes)
        raise PlanChanged(
            f"The run is pinned, and it differs from {previous} in {len(changes)}: {listed}.",
            "Set the versions and sizes of that run in the configuration, or run once with "
            "`pinned: false` to accept the changes.",
        )


def _pairs(before: Draft, after: Draft) -> Iterator[tuple[str, Any, Any]]:
    if before.model and after.model:
        old, new = before.model, after.model
        yield "model version", old.version, new.version
        yield from _mapping("model tag", _tags(old.tags), _tags(new.tags))
        yield from _mapping("model default", old.defaults, new.defaults)
        yield (
            "sizes allowed for fine-tuning",
            _names(old.finetune_sizes),
            _names(new.finetune_sizes),
        )
        yield "sizes allowed for serving", _names(old.inference_sizes), _names(new.inference_sizes)
    if before.component and after.component:
        yield "component version", before.component.version, after.component.version
        yield from _inputs(before.component.inputs, after.component.inputs)
    if before.cluster_size and after.cluster_size:
        yield "cluster size", before.cluster_size.name.lower(), after.cluster_size.name.lower()
        yield "GPUs a node", before.cluster_size.gpus, after.cluster_size.gpus
    if before.serving_size and after.serving_size:
        yield "serving size", before.serving_size.name.lower(), after.serving_size.name.lower()
    if before.data and after.data:
        yield "data revision", before.data.revision[:12], after.data.revision[:12]
        rows = (_rows(before), _rows(after))
        yield from _mapping("rows of", *rows)


def _mapping(
    what: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted({*before, *after}):
        yield f"{what} {name}", before.get(name, ABSENT), after.get(name, ABSENT)


def _inputs(
    before: Mapping[str, ComponentInput], after: Mapping[str, ComponentInput]
) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            yield f"component input {name}", _known(old), _known(new)
            continue
        for field in ("type", "default", "choices", "minimum", "maximum", "optional"):
            was, now = getattr(old, field), getattr(new, field)
            yield f"{field} of component input {name}", was, now


def _known(side: ComponentInput | None) -> str:
    return ABSENT if side is None else side.type


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in tags.items() if name not in _PARSED_TAGS}


def _names(sizes: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The list without regard to order and case."""
    return None if sizes is None else tuple(sorted(size.lower() for size in sizes))


def _rows(draft: Draft) -> dict[str, int]:
    data = draft.data
    files: tuple[SplitFile, ...] = (data.train, data.test, data.sample) if data else ()
    return {file.split: file.rows for file in files}


def _shown(value: Any) -> str:
    if value is None or value == ():
        return ABSENT
    text = ", ".join(value) if isinstance(value, tuple) else f"{value}"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 4] + " ..."


def record_path(model: str, dataset: str, component: str) -> str:
    """Where the last successful run of these three is kept, in the default datastore."""
    parts = (re.sub(r"[^A-Za-z0-9._-]+", "--", part) for part in (model, dataset, component))
    return f"finetune-plans/{'/'.join(parts)}.json"


def _path_of(config: FinetuneConfig) -> str:
    return record_path(config.model.name, config.dataset.name, config.component.name)


@task(name="look for the last run", task_run_name="last run of {config.model.name}", **REMOTE)
def last_run(workspace: str, config: FinetuneConfig) -> PastRun | None:
    """The last successful run of the same model, data set and component, on any machine.

    None when there is none; UserError when its record cannot be read.
    """
    from azure.core.exceptions import ResourceNotFoundError

    path = _path_of(config)
    with explained("Looking for the last successful run"):
        try:
            content = default_container(workspace).download_blob(path).readall()
        except ResourceNotFoundError:
            return None
    try:
        return PastRun.model_validate_json(content)
    except ValidationError as error:
        raise UserError(
            f"The record of the last successful run ({path} in the workspace's default datastore) "
            f"cannot be read: {error.error_count()} of its fields are not as this version writes.",
            "The next successful run replaces it.",
        ) from error


@task(name="remember the plan", task_run_name="remember plan {plan.names.run_key}", **REMOTE)
def remember_plan(workspace: str, plan: Plan, job: str) -> bool:
    """Keep the plan as that of the last successful run; False, and a warning, when it failed.

    Call it when everything has succeeded: what it loses is only the next run's comparison.
    """
    past = PastRun(job=job, finished=datetime.now(UTC), plan=plan)
    text = scrub(past.model_dump_json())
    path = _path_of(plan.config)
    copy = home() / path
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(text, encoding="utf-8")
    try:
        with explained("Keeping the plan for the next run"):
            default_container(workspace).upload_blob(path, text.encode(), overwrite=True)
    except Exception as error:
        clear = explain(error, "Keeping the plan for the next run")
        if clear is None:
            raise
        run_logger().warning("The next run cannot compare itself with this one. %s", clear)
        return False
    return True
