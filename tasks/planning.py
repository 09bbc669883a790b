"""What the plan is made from, looked up side by side, and the plan, shown before any cost."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar

from prefect import task

from tasks.artifacts import in_run, markdown, run_logger
from tasks.clients import REMOTE, explained, registry_client, workspace_client
from tasks.component import resolve_component
from tasks.compute import find_cluster, list_sizes, list_usage
from tasks.config import ComponentChoice, FinetuneConfig, ModelChoice
from tasks.data import download_data, sample_frame
from tasks.drift import last_run
from tasks.errors import ErrorKind, PermissionProblem, UserError
from tasks.explaining import explain
from tasks.lengths import data_lengths
from tasks.markdown import markdown_table, plain_cell, wrapped_cell
from tasks.model import resolve_model
from tasks.plan import Found, PlanError, check_plan
from tasks.plan_view import plan_markdown, plan_text
from tasks.preflight import look_at_provider, look_at_storage, look_at_workspace, sign_in
from tasks.rows import MESSAGES
from tasks.values import DataSnapshot, FoundationModel, PipelineComponent, Plan

_SAMPLE_ROWS = 3
_LONGEST_CELL = 300
_MOST_MESSAGES = 8
_Answer = TypeVar("_Answer")


@task(name="look up the model", task_run_name="look up {choice.name}", **REMOTE)
def look_up_model(workspace: str, choice: ModelChoice) -> FoundationModel:
    """The foundation model, by version or the latest one."""
    with explained(f"Looking up model {choice.name}"):
        model = resolve_model(registry_client(workspace), choice.name, choice.version)
    run_logger().info("Model %s", model.id)
    return model


@task(
    name="look up the component",
    task_run_name="look up {choice.name}",
    **REMOTE,
)
def look_up_component(workspace: str, choice: ComponentChoice) -> PipelineComponent:
    """The pipeline component, by version or the latest one."""
    with explained(f"Looking up component {choice.name}"):
        component = resolve_component(registry_client(workspace), choice.name, choice.version)
    run_logger().info("Component %s", component.id)
    return component


class _LookUps:
    """Waits for look-ups and keeps what went wrong with each."""

    def __init__(self) -> None:
        self.problems: list[UserError] = []
        self.warnings: list[str] = []
        self.bug: Exception | None = None
        """An error that nobody can act on: raised when all look-ups have ended."""

    def of(
        self, doing: str, answer: Callable[[], _Answer], needed: Callable[[UserError], bool]
    ) -> _Answer | None:
        """The answer, or None; an error of a look-up that is not `needed` is only a warning."""
        try:
            return answer()
        except Exception as error:
            clear = explain(error, doing)
            if clear is None:
                self.bug = self.bug or error
            elif not needed(clear):
                self.warnings.append(str(clear))
            elif str(clear) not in map(str, self.problems):
                self.problems.append(clear)
            return None


def look_around(workspace: str, config: FinetuneConfig, data_folder: Path) -> Found:
    """Look up everything that the plan is made from, side by side; call it inside a flow.

    Failures are collected, to be told together. Without a token nothing of Azure is asked: the
    same refusal would come from every side.
    """
    looks = _LookUps()
    looks.of("Signing in", lambda: sign_in(workspace), _always)
    looks.of("Opening the workspace", lambda: workspace_client(workspace), _always)
    started = {} if looks.problems else _start(workspace, config)
    data = None
    if not any(problem.kind is ErrorKind.TRANSIENT for problem in looks.problems):
        data = looks.of(
            "Preparing the data", lambda: download_data(config.dataset, data_folder), _always
        )
    answers: dict[str, Any] = {}
    for name, (doing, future) in started.items():
        needed = {"usages": _unless_forbidden, "provider": _unless_forbidden}.get(name, _always)
        if name == "past" and not config.pinned:
            needed = _never
        answers[name] = looks.of(doing, future.result, needed)
    if looks.bug is not None:
        raise looks.bug
    if data is not None:
        show_sample(data)
    for checked in ("provider", "storage"):  # their answer is that there was no error
        answers.pop(checked, None)
    return Found(
        data=data, problems=tuple(looks.problems), warnings=tuple(looks.warnings), **answers
    )


def _always(problem: UserError) -> bool:
    return True


def _never(problem: UserError) -> bool:
    return False


def _unless_forbidden(problem: UserError) -> bool:
    # They belong to the subscription: a role on the workspace alone does not reach them.
    return not isinstance(problem, PermissionProblem)


def _start(workspace: str, config: FinetuneConfig) -> dict[str, tuple[str, Any]]:
    """The look-ups under way: name -> (what is being done, its future)."""
    # Made before the threads start: each would make one of its own.
    workspace_client(workspace)
    return {
        "region": ("Opening the workspace", look_at_workspace.submit(workspace)),
        "model": ("Looking up the model", look_up_model.submit(workspace, config.model)),
        "component": (
            "Looking up the component",
            look_up_component.submit(workspace, config.component),
        ),
        "sizes": ("Listing the VM sizes", list_sizes.submit(workspace)),
        "usages": ("Listing the core quotas", list_usage.submit(workspace)),
        "cluster": ("Looking up the cluster", find_cluster.submit(workspace, config.compute)),
        "provider": ("Looking at the resource provider", look_at_provider.submit(workspace)),
        "storage": ("Reading the default datastore", look_at_storage.submit(workspace)),
        "past": ("Looking for the last successful run", last_run.submit(workspace, config)),
    }


def decide_plan(config: FinetuneConfig, found: Found, today: date | None = None) -> Plan:
    """The checked plan, shown; raises one PlanError with all problems after showing what is known.

    Calls no service.
    """
    try:
        plan = check_plan(config, found, today or datetime.now(UTC).date())
    except PlanError as error:
        if error.draft is not None:
            markdown("plan", plan_markdown(error.draft, error.problems), "What is planned")
            run_logger().info("What is planned:\n%s", plan_text(error.draft, error.problems))
        raise
    show_plan(plan)
    return plan


def show_sample(data: DataSnapshot) -> None:
    """Keep the first conversations of the training data with the run."""
    conversations = sample_frame(data, _SAMPLE_ROWS)[MESSAGES].to_list()
    what = f"First conversations of {data.dataset}, {data.train.split}"
    markdown("sample", sample_markdown(conversations), what)
    run_logger().info(
        "Data %s at %s: %d rows to train on, %d to test, %d to ask from",
        data.dataset,
        data.revision,
        data.train.rows,
        data.test.rows,
        data.sample.rows,
    )


def sample_markdown(conversations: Sequence[Sequence[dict[str, Any]]]) -> str:
    """Conversations as tables, one line a message; long messages are cut, and marked as cut."""

    def excerpt(text: str) -> str:
        return text if len(text) <= _LONGEST_CELL else f"{text[:_LONGEST_CELL]} ..."

    parts = []
    for number, conversation in enumerate(conversations, start=1):
        rows = [
            (plain_cell(str(message["role"])), wrapped_cell(excerpt(message["content"]), 72))
            for message in conversation[:_MOST_MESSAGES]
        ]
        if (more := len(conversation) - len(rows)) > 0:
            rows.append(("", f"and {more} more"))
        parts += [f"**Conversation {number}**", markdown_table(("role", "content"), rows)]
    return "\n\n".join(parts)


def show_lengths(plan: Plan) -> None:
    """Keep the lengths of the plan's conversations with the run."""
    if in_run() and (lengths := data_lengths(plan)):
        markdown("lengths", lengths, f"How long the conversations of {plan.data.dataset} are")


def show_plan(plan: Plan) -> None:
    """Keep the plan with the run, and log it."""
    markdown("plan", plan_markdown(plan), "What will be done")
    run_logger().info("What will be done:\n%s", plan_text(plan))
