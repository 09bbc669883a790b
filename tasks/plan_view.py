"""The plan as a person reads it: one screen of text for a log, Markdown for an artifact."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tasks.config import ParameterOrigin
from tasks.errors import UserError
from tasks.plan import split_files
from tasks.values import Draft, Parameter, Price

if TYPE_CHECKING:
    from rich.console import Group

_Rows = list[tuple[str, str]]
_LONGEST_CELL = 72
"""Characters: Prefect's UI cuts a longer cell off, so a longer fact stands below the table."""
_SPLIT_HEADS = ("split", "used for", "rows", "left out", "size")
_MOST_CHANGES = 12
"""In the text; the artifact has them all."""


def plan_markdown(draft: Draft, problems: Sequence[UserError] = ()) -> str:
    """The plan, or what is known of it, as a Markdown document."""
    facts = _facts(draft)
    parts = [f"# {title(draft, problems)}"]
    if problems:
        numbered = (f"{number}. {problem}" for number, problem in enumerate(problems, start=1))
        parts += ["## What stands against it", "\n".join(numbered)]
    if draft.changes:
        heads = ("what", "before", "now")
        rows = [(change.what, change.before, change.after) for change in draft.changes]
        parts += [f"## {_changed_title(draft)}", _markdown_table(heads, rows)]
    if draft.warnings:
        parts += ["## Warnings", "\n".join(f"- {warning}" for warning in draft.warnings)]
    parts += [
        "## Facts",
        _markdown_table(("what", "value"), [row for row in facts if len(row[1]) <= _LONGEST_CELL]),
        *(f"{what}: {value}" for what, value in facts if len(value) > _LONGEST_CELL),
    ]
    if draft.data:
        parts += ["## Data", _markdown_table(_SPLIT_HEADS, _split_rows(draft))]
    if draft.parameters:
        heads = ("parameter", "value", "origin")
        rows = [(p.name, _shown(p), p.origin) for p in _decided(draft)]
        parts += ["## Training parameters", _markdown_table(heads, rows)]
        parts.append(f"Component defaults: {_listed(draft, 'component default') or 'none'}.")
    if draft.ignored:
        unknown = ", ".join(f"{item.name}={_shown(item)}" for item in draft.ignored)
        parts.append(f"Defaults of the model that the component does not take: {unknown}.")
    return "\n\n".join(parts) + "\n"


def plan_text(draft: Draft, problems: Sequence[UserError] = (), width: int = 110) -> str:
    """The plan, or what is known of it, as plain text of at most `width` columns."""
    from io import StringIO

    from rich.console import Console

    console = Console(file=StringIO(), width=width)
    with console.capture() as captured:
        console.print(plan_table(draft, problems))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def plan_table(draft: Draft, problems: Sequence[UserError] = ()) -> "Group":
    """The same for a terminal."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    def table(rows: Sequence[Sequence[str]], bold: bool = False) -> Padding:
        made = Table(show_header=False, box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for number in range(len(rows[0]) if rows else 0):
            made.add_column(style="bold" if bold and number == 0 else "", overflow="fold")
        for row in rows:
            made.add_row(*(Text(cell) for cell in row))
        return Padding(made, (0, 0, 0, 2))

    def head(text: str, style: str = "bold") -> Text:
        return Text(text, style=style)

    parts: list[Text | Padding] = [head(title(draft, problems)), table(_facts(draft), bold=True)]
    if draft.data:
        parts += [head("Data"), table([_SPLIT_HEADS, *_split_rows(draft)])]
    if rows := list(_parameter_lines(draft)):
        parts += [head("Training parameters"), table(rows, bold=True)]
    if draft.changes:
        shown = [(c.what, f"{c.before} -> {c.after}") for c in draft.changes[:_MOST_CHANGES]]
        more = len(draft.changes) - len(shown)
        parts += [head(_changed_title(draft), "bold yellow"), table(shown)]
        parts += [Text(f"  and {more} more: see the artifact `plan`")] if more else []
    if draft.warnings:
        parts += [head("Warnings", "bold yellow"), table([("-", w) for w in draft.warnings])]
    if problems:
        rows = [(f"{number}.", str(problem)) for number, problem in enumerate(problems, start=1)]
        parts += [head("What stands against it", "bold red"), table(rows)]
    return Group(*parts)


def title(draft: Draft, problems: Sequence[UserError] = ()) -> str:
    """The first line: the run key, and whether the plan can be carried out."""
    key = f" {draft.names.run_key}" if draft.names else ""
    count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
    return f"Plan{key}, not possible: {count}" if problems else f"Plan{key}"


def _changed_title(draft: Draft) -> str:
    return f"Changed since the last successful run ({draft.previous})"


def _facts(draft: Draft) -> _Rows:
    model, component, data = draft.model, draft.component, draft.data
    rows: _Rows = []
    rows.append(("model", model.id if model else f"{draft.config.model.name}, not looked up"))
    rows.append(
        (
            "component",
            component.id if component else f"{draft.config.component.name}, not looked up",
        )
    )
    if data:
        rows.append(("data", f"{data.dataset}, commit {data.revision[:12]}"))
    rows += [("cluster", _cluster(draft)), ("endpoint", _endpoint(draft))]
    if names := draft.names:
        rows += [
            ("job", f"{names.job} in experiment {names.experiment}"),
            ("display name", names.display_name),
            ("registered as", f"{names.model}, version {names.model_version}"),
        ]
    rows += [("quota", line) for line in draft.quota]
    rows += _price_rows(draft.price) if draft.price else []
    rows.append(("deadlines", _deadlines(draft)))
    if draft.names and not draft.changes:
        rows.append(("last success", _unchanged(draft)))
    return rows


def _unchanged(draft: Draft) -> str:
    if draft.previous is None:
        return "none of this model, data set and component to compare with"
    return f"{draft.previous}: nothing has changed"


def _cluster(draft: Draft) -> str:
    config, size, exists = draft.config.compute, draft.cluster_size, draft.cluster
    name = size.name if size else (exists.size if exists else config.size)
    gpus = f", {size.gpus} GPU{'s' if size.gpus != 1 else ''} a node" if size else ""
    if exists is None:
        return f"{config.cluster}: to be created, up to {config.max_nodes} x {name}{gpus}"
    tier = ", low priority" if exists.low_priority else ""
    return f"{config.cluster}: exists, up to {exists.max_nodes} x {name}{gpus}{tier}"


def _endpoint(draft: Draft) -> str:
    serving, names = draft.config.serving, draft.names
    if not serving.test:
        return "none: the run ends with the registered model"
    size = draft.serving_size.name if draft.serving_size else serving.size
    end = "kept, and billed, after the run" if serving.keep_endpoint else "deleted after the run"
    name = f"{names.endpoint}/{names.deployment}: " if names else ""
    return f"{name}{serving.instances} x {size}, {end}"


def _price_rows(price: Price) -> _Rows:
    def hourly(amount: float | None) -> str:
        return "unknown" if amount is None else f"{amount:,.2f} USD an hour"

    nodes = f"{price.nodes} node{'s' if price.nodes != 1 else ''}"
    text = f"cluster {hourly(price.cluster_per_hour)} ({nodes}), "
    text += f"endpoint {hourly(price.endpoint_per_hour)}"
    if price.sources:
        text += f"; by {' and '.join(price.sources)}"
    rows = [("price", text)]
    if price.unknown:
        rows.append(("cost", f"unknown: no price for {' and '.join(price.unknown)}"))
    elif price.most is None:
        rows.append(("cost", "without an end: the endpoint is kept"))
    else:
        rows.append(("cost", f"at most {price.most:,.2f} USD for VMs within the deadlines"))
    return rows


def _deadlines(draft: Draft) -> str:
    deadlines = draft.config.deadlines
    return (
        f"cluster {deadlines.compute:g}, queue {deadlines.queue:g}, run {deadlines.run:g}, "
        f"deployment {deadlines.deploy:g} minutes; up to {draft.config.max_attempts} "
        f"attempt{'s' if draft.config.max_attempts != 1 else ''}"
    )


def _split_rows(draft: Draft) -> list[tuple[str, str, str, str, str]]:
    assert draft.data is not None
    uses: dict[str, list[str]] = {}
    for use, file in [
        ("training", draft.data.train),
        ("test", draft.data.test),
        ("conversation for the endpoint", draft.data.sample),
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
        for file in split_files(draft.data)
    ]


_ORDER: tuple[ParameterOrigin, ...] = ("user", "run", "model default")


def _decided(draft: Draft) -> list[Parameter]:
    """What was decided, by origin: everything but the component's own defaults."""
    decided = [item for item in draft.parameters if item.origin in _ORDER]
    return sorted(decided, key=lambda item: (_ORDER.index(item.origin), item.name))


def _parameter_lines(draft: Draft) -> Iterator[tuple[str, str]]:
    for origin in _ORDER:
        if listed := _listed(draft, origin):
            yield origin, listed
    if left := sum(item.origin == "component default" for item in draft.parameters):
        yield "component default", f"{left} inputs, listed in the artifact `plan`"
    if draft.ignored:
        yield "not taken", ", ".join(f"{item.name}={_shown(item)}" for item in draft.ignored)


def _listed(draft: Draft, origin: str) -> str:
    chosen = sorted((p for p in draft.parameters if p.origin == origin), key=lambda p: p.name)
    return ", ".join(f"{item.name}={_shown(item)}" for item in chosen)


def _shown(parameter: Parameter) -> str:
    value = parameter.value
    return f"{value:g}" if isinstance(value, float) else str(value)


def _markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )
