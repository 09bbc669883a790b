"""What the plan is made from, looked up as tasks, and the plan itself, shown before any cost."""

from prefect import task

from tasks.artifacts import markdown, run_logger, table
from tasks.clients import REMOTE, explained, registry_client
from tasks.component import resolve_component
from tasks.config import ComponentChoice, ModelChoice
from tasks.data import sample_frame
from tasks.model import resolve_model
from tasks.plan import plan_markdown, plan_text
from tasks.values import DataSnapshot, FoundationModel, PipelineComponent, Plan

_SAMPLE_ROWS = 3
_LONGEST_CELL = 300


@task(name="look up the model", task_run_name="look up {choice.name}", tags=["azureml"], **REMOTE)
def look_up_model(workspace: str, choice: ModelChoice) -> FoundationModel:
    """The foundation model, by version or the latest one."""
    with explained(f"Looking up model {choice.name}"):
        model = resolve_model(registry_client(workspace), choice.name, choice.version)
    run_logger().info("Model %s", model.id)
    return model


@task(
    name="look up the component",
    task_run_name="look up {choice.name}",
    tags=["azureml"],
    **REMOTE,
)
def look_up_component(workspace: str, choice: ComponentChoice) -> PipelineComponent:
    """The pipeline component, by version or the latest one."""
    with explained(f"Looking up component {choice.name}"):
        component = resolve_component(registry_client(workspace), choice.name, choice.version)
    run_logger().info("Component %s", component.id)
    return component


def show_sample(data: DataSnapshot) -> None:
    """Keep the first rows of the training data with the run."""
    rows = [
        {name: str(value)[:_LONGEST_CELL] for name, value in row.items()}
        for row in sample_frame(data, _SAMPLE_ROWS).to_dict("records")
    ]
    table("sample", rows, f"First rows of {data.dataset}, {data.train.split}")
    run_logger().info(
        "Data %s at %s: %d rows to train on, %d to test, %d to ask from",
        data.dataset,
        data.revision,
        data.train.rows,
        data.test.rows,
        data.sample.rows,
    )


def show_plan(plan: Plan) -> None:
    """Keep the plan with the run, and write it with its warnings to the log."""
    logger = run_logger()
    markdown("plan", plan_markdown(plan), "What will be done")
    logger.info("What will be done:\n%s", plan_text(plan))
    for warning in plan.warnings:
        logger.warning("%s", warning)
