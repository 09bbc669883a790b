"""The plan: everything that will be done, checked before anything is created or billed."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING, TypeVar

from tasks.config import FinetuneConfig
from tasks.errors import ParameterError, SizeNotAllowed, UserError
from tasks.model import check_model
from tasks.naming import names, run_key
from tasks.parameters import merge_parameters, range_warnings
from tasks.sizes import Purpose, check_size, find_size
from tasks.values import (
    ClusterSize,
    DataSnapshot,
    FoundationModel,
    Parameter,
    PipelineComponent,
    Plan,
    SplitFile,
)

if TYPE_CHECKING:
    from rich.console import Group

_Checked = TypeVar("_Checked")
_Rows = list[tuple[str, str]]
_LONGEST_CELL = 72
"""Characters: Prefect's UI cuts a longer cell off, so a longer fact stands below the table."""


class PlanError(UserError):
    """The plan cannot be carried out. `problems` holds every reason, each with its next step."""

    def __init__(self, problems: Sequence[UserError]) -> None:
        self.problems = tuple(problems)
        if len(problems) == 1:
            super().__init__(problems[0].message, problems[0].advice)
        else:
            listed = "".join(f"\n  {n}. {problem}" for n, problem in enumerate(problems, start=1))
            super().__init__(f"{len(problems)} things stand against the plan:{listed}")


class _Findings:
    """Runs checks and keeps what each one objects to."""

    def __init__(self) -> None:
        self.problems: list[UserError] = []

    def of(self, check: Callable[[], _Checked]) -> _Checked | None:
        try:
            return check()
        except UserError as problem:
            self.problems.append(problem)
            return None


def make_plan(
    config: FinetuneConfig,
    model: FoundationModel,
    component: PipelineComponent,
    data: DataSnapshot,
    sizes: Sequence[ClusterSize],
    cluster_size_name: str,
    today: date,
) -> Plan:
    """Check everything and name everything; raise one PlanError with all that is wrong.

    `sizes` is what the workspace's region offers; `cluster_size_name` is the size of the cluster
    that exists already, or the configured one. Calls no service.
    """
    findings = _Findings()
    warnings = [
        *(findings.of(lambda: check_model(model, today, config.model.accept_retired)) or ()),
        *_data_warnings(data),
    ]
    cluster_size = findings.of(
        lambda: _size(cluster_size_name, model.finetune_sizes, sizes, "fine-tuning", model)
    )
    serving_size = findings.of(
        lambda: _size(config.serving.size, model.inference_sizes, sizes, "serving", model)
    )
    merged = findings.of(lambda: _parameters(config, model, component, cluster_size))
    used, ignored = merged or ([], [])
    findings.of(lambda: _check_nodes(config, used))
    values = {parameter.name: parameter.value for parameter in used}
    key = run_key(model.id, component.id, data.fingerprint, values)
    named = findings.of(lambda: names(config, model, component, key, used))
    if findings.problems or not (cluster_size and named):
        raise PlanError(findings.problems)
    return Plan(
        config=config,
        model=model,
        component=component,
        parameters=tuple(used),
        ignored=tuple(ignored),
        data=data,
        cluster_size=cluster_size,
        serving_size=serving_size,
        names=named,
        warnings=(*warnings, *range_warnings(used, model.defaults)),
    )


def _size(
    name: str,
    allowed: tuple[str, ...] | None,
    offered: Sequence[ClusterSize],
    purpose: Purpose,
    model: FoundationModel,
) -> ClusterSize:
    check_size(name, allowed, purpose, model.name)
    size = find_size(name, offered, allowed)
    if purpose == "fine-tuning" and size.gpus < 1:
        with_gpus = [other.name for other in offered if other.gpus > 0]
        raise SizeNotAllowed(
            f"{size.name} has no GPU, and fine-tuning {model.name} needs one.",
            f"Offered with GPUs: {', '.join(with_gpus) or 'none'}.",
        )
    return size


def _parameters(
    config: FinetuneConfig,
    model: FoundationModel,
    component: PipelineComponent,
    size: ClusterSize | None,
) -> tuple[list[Parameter], list[Parameter]]:
    gpus = "number_of_gpu_to_use_finetuning"
    # Without a usable size there is no plan, but its parameters are checked all the same.
    run_values = {gpus: size.gpus if size else 1} if gpus in component.inputs else {}
    return merge_parameters(config.parameters, model.defaults, component, run_values)


def _check_nodes(config: FinetuneConfig, used: Sequence[Parameter]) -> None:
    name = "num_nodes_finetune"
    nodes = next((item.value for item in used if item.name == name), config.parameters.get(name))
    if isinstance(nodes, int) and nodes > config.compute.max_nodes:
        raise ParameterError(
            f"num_nodes_finetune = {nodes} is more than compute.max_nodes = "
            f"{config.compute.max_nodes}: the job would wait for ever.",
            "Raise compute.max_nodes or lower num_nodes_finetune.",
        )


def _data_warnings(data: DataSnapshot) -> list[str]:
    return [
        f"{file.rows_read - file.rows} of {file.rows_read} rows of {file.split} are left out: "
        + ", ".join(f"{count} with {reason}" for reason, count in file.dropped.items())
        + "."
        for file in _split_files(data)
        if file.dropped
    ]


def _split_files(data: DataSnapshot) -> list[SplitFile]:
    return list({file.split: file for file in (data.train, data.test, data.sample)}.values())


def _facts(plan: Plan) -> _Rows:
    config, size, serving = plan.config, plan.cluster_size, plan.serving_size
    endpoint_end = (
        "kept, and billed, after the run"
        if config.serving.keep_endpoint
        else "deleted after the run"
    )
    gpus = f"{size.gpus} GPU{'s' if size.gpus != 1 else ''} a node"
    deadlines = config.deadlines
    return [
        ("Run key", plan.names.run_key),
        ("Model", f"{plan.model.name}, version {plan.model.version}"),
        ("Model id", plan.model.id),
        ("Component", f"{plan.component.name}, version {plan.component.version}"),
        ("Data", f"{plan.data.dataset}, commit {plan.data.revision[:12]}"),
        ("Cluster", f"{plan.names.cluster}: {size.name}, {gpus}"),
        ("Job", plan.names.job),
        ("Display name", plan.names.display_name),
        ("Experiment", plan.names.experiment),
        ("Registered model", f"{plan.names.model}, version {plan.names.model_version}"),
        (
            "Endpoint",
            f"{plan.names.endpoint}/{plan.names.deployment}: {config.serving.instances} x "
            f"{serving.name if serving else config.serving.size}, {endpoint_end}",
        ),
        (
            "Deadlines",
            f"cluster {deadlines.compute:g}, queue {deadlines.queue:g}, run {deadlines.run:g}, "
            f"deployment {deadlines.deploy:g} minutes",
        ),
    ]


def _split_rows(plan: Plan) -> list[tuple[str, str, str, str, str]]:
    uses: dict[str, list[str]] = {}
    for use, file in [
        ("training", plan.data.train),
        ("test", plan.data.test),
        ("conversation for the endpoint", plan.data.sample),
    ]:
        uses.setdefault(file.split, []).append(use)
    return [
        (
            file.split,
            ", ".join(uses[file.split]),
            f"{file.rows:,}",
            ", ".join(f"{count} with {reason}" for reason, count in file.dropped.items()) or "-",
            f"{file.bytes / 1e3:,.0f} kB",
        )
        for file in _split_files(plan.data)
    ]


_SPLIT_HEADS = ("split", "used for", "rows", "left out", "size")


def _parameter_rows(plan: Plan) -> list[tuple[str, str, str]]:
    """What was decided, by origin; then the component's own defaults in one row."""
    order = {"user": 0, "run": 1, "model default": 2}
    decided = [item for item in plan.parameters if item.origin in order]
    decided.sort(key=lambda item: (order[item.origin], item.name))
    return [(item.name, _shown(item), item.origin) for item in decided]


def _shown(parameter: Parameter) -> str:
    value = parameter.value
    return f"{value:g}" if isinstance(value, float) else str(value)


def _left_to_component(plan: Plan) -> str:
    return ", ".join(
        f"{item.name}={_shown(item)}"
        for item in plan.parameters
        if item.origin == "component default"
    )


def plan_markdown(plan: Plan) -> str:
    """The plan as a Markdown document, for an artifact."""
    facts = _facts(plan)
    parts = [f"# Plan {plan.names.run_key}"]
    if plan.warnings:
        parts += ["## Warnings", "\n".join(f"- {warning}" for warning in plan.warnings), "## Facts"]
    parts += [
        _markdown_table(("what", "value"), [row for row in facts if len(row[1]) <= _LONGEST_CELL]),
        *(f"{what}: {value}" for what, value in facts if len(value) > _LONGEST_CELL),
        "## Data",
        _markdown_table(_SPLIT_HEADS, _split_rows(plan)),
        "## Training parameters",
        _markdown_table(("parameter", "value", "origin"), _parameter_rows(plan)),
        f"Component defaults: {_left_to_component(plan) or 'none'}.",
    ]
    if plan.ignored:
        unknown = ", ".join(f"{item.name}={_shown(item)}" for item in plan.ignored)
        parts.append(f"Defaults of the model that the component does not take: {unknown}.")
    return "\n\n".join(parts) + "\n"


def _markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def plan_text(plan: Plan, width: int = 100) -> str:
    """The plan as plain text of at most `width` columns, for a log."""
    from io import StringIO

    from rich.console import Console

    console = Console(file=StringIO(), width=width)
    with console.capture() as captured:
        console.print(plan_table(plan))
    return captured.get()


def plan_table(plan: Plan) -> "Group":
    """The plan for a terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
        made = Table(*heads, title=title, title_justify="left", show_edge=False)
        for row in rows:
            made.add_row(*(Text(cell) for cell in row))
        return made

    title = f"Plan {plan.names.run_key}"
    return Group(
        table(title, ("what", "value"), _facts(plan)),
        Text(),
        table("Data", _SPLIT_HEADS, _split_rows(plan)),
        Text(),
        table("Training parameters", ("parameter", "value", "origin"), _parameter_rows(plan)),
        Text(f"Component defaults: {_left_to_component(plan)}", style="dim"),
    )
