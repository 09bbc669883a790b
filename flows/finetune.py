"""Fine-tune a chat model, register it, try it on an endpoint, and leave nothing running."""

from datetime import UTC, datetime
from typing import Any

from prefect import flow

from tasks.artifacts import run_logger
from tasks.asking import ask_model
from tasks.clients import open_workspace
from tasks.compute import ensure_cluster, list_sizes, look_at_cluster
from tasks.config import FinetuneConfig
from tasks.data import download_data, pick_conversation
from tasks.deployment import deploy_model, tear_down
from tasks.following import follow_job
from tasks.job import submit_job
from tasks.metrics import read_metrics
from tasks.ownership import Handles, forget_handles, home, owner_tags, write_handles
from tasks.plan import make_plan
from tasks.planning import look_up_component, look_up_model, show_plan, show_sample
from tasks.registration import register_model
from tasks.report import RunReport, recording
from tasks.undoing import undo_run


def undo(flow: Any, flow_run: Any, state: Any) -> None:
    """Cancel the job and delete the endpoint of a run that was cancelled or has crashed."""
    workspace = str(flow_run.parameters.get("workspace", "default"))
    for name in undo_run(str(flow_run.id), workspace):
        print(f"Undone: {name}")


_DEFAULTS = FinetuneConfig()


@flow(name="finetune", on_cancellation=[undo], on_crashed=[undo])
def finetune(config: FinetuneConfig = _DEFAULTS, workspace: str = "default") -> RunReport:
    """Fine-tune a chat model of the registry, deploy it, ask it once and tear it down.

    Args:
        config: Model, data, training parameters, cluster, endpoint and deadlines.
        workspace: Name of the Azure ML Workspace block.
    """
    with recording(workspace) as run:
        with run.stage("look"):
            open_workspace(workspace)
            model = look_up_model(workspace, config.model)
            component = look_up_component(workspace, config.component)
            sizes = list_sizes(workspace)
            cluster_size = look_at_cluster(workspace, config.compute)

        with run.stage("data"):
            data = download_data(config.dataset, home() / "data")
            show_sample(data)

        with run.stage("plan"):
            today = datetime.now(UTC).date()
            plan = make_plan(config, model, component, data, sizes, cluster_size, today)
            run.add_plan(plan)
            show_plan(plan)
        if config.plan_only:
            run.status = "planned"
            return run

        names, deadlines = plan.names, config.deadlines
        tags = owner_tags(plan, run.flow_run_id)
        keep = config.serving.keep_endpoint
        endpoint = None if keep else names.endpoint
        handles = Handles(workspace=workspace, job=names.job, endpoint=endpoint)
        write_handles(run.flow_run_id, handles)

        with run.stage("compute"):
            ensure_cluster(workspace, config.compute, tags, deadlines.compute)

        with run.stage("job"):
            run.job = submit_job(workspace, plan, tags)
            run.outcome = follow_job(workspace, run.job, deadlines, config.poll_seconds)

        with run.stage("metrics"):
            run.add_metrics(
                read_metrics(workspace, run.job.name, names.experiment, str(run.folder))
            )

        with run.stage("register"):
            run.model = register_model(workspace, plan, run.job.name, tags)

        try:
            with run.stage("deploy"):
                run.endpoint = deploy_model(workspace, plan, run.model, tags)

            with run.stage("ask"):
                conversation = pick_conversation(data, config.dataset.seed)
                run.reply = ask_model(
                    workspace, run.endpoint, conversation, config.serving.max_new_tokens
                )
        finally:
            if keep:
                run_logger().warning("Endpoint %s stays, and is billed.", names.endpoint)
                run.kept.append(f"endpoint {names.endpoint}")
            else:
                with run.stage("tear down"):
                    if tear_down(workspace, names.endpoint, deadlines.deploy):
                        run.deleted.append(f"endpoint {names.endpoint}")
        forget_handles(run.flow_run_id)
        return run


if __name__ == "__main__":
    from flows.command_line import main

    raise SystemExit(main())
