"""Fine-tune a chat model, register it, try it on an endpoint, and leave nothing running."""

from typing import Any

from prefect import flow
from prefect.logging.loggers import flow_run_logger

from tasks.cancelling import cancellable, confirm_cancelled
from tasks.claims import claimed, make_claim
from tasks.compute import ensure_cluster
from tasks.config import FinetuneConfig
from tasks.drift import remember_plan
from tasks.lineage import making_model
from tasks.metrics import read_metrics
from tasks.ownership import home, owner_tags
from tasks.planning import decide_plan, look_around, show_lengths
from tasks.recording import recording
from tasks.registration import register_model
from tasks.report import RunReport
from tasks.training import train
from tasks.trial import trial
from tasks.undoing import is_wanted_undone, undo_run


def undo(flow: Any, flow_run: Any, state: Any) -> None:
    """Cancel the job and delete the endpoint of a run that was stopped.

    A run whose process died has not been stopped: its job goes on for the next run to adopt,
    unless `cancel_on_crash` is set. The sweep ends what nobody comes back for.
    """
    run_id, logger = str(flow_run.id), flow_run_logger(flow_run, flow)
    if state.is_crashed() and not is_wanted_undone(run_id):
        logger.warning("The run has died. Start it again: it goes on from where Azure is.")
        return
    for sentence in undo_run(run_id, str(flow_run.parameters.get("workspace", "default"))):
        logger.warning("%s", sentence)
    confirm_cancelled(run_id)


_DEFAULTS = FinetuneConfig()


@flow(name="finetune", on_cancellation=[undo], on_crashed=[undo])
def finetune(config: FinetuneConfig = _DEFAULTS, workspace: str = "default") -> RunReport:
    """Fine-tune a chat model of the registry, deploy it, ask it once and tear it down.

    Args:
        config: Model, data, training parameters, cluster, endpoint and deadlines.
        workspace: Name of the Azure ML Workspace block.
    """
    with recording(RunReport(workspace=workspace)) as run:
        with run.stage("look"):
            found = look_around(workspace, config, home() / "data")

        with run.stage("plan"):
            plan = decide_plan(config, found)
            run.add_plan(plan)
        if config.plan_only:
            show_lengths(plan)
            run.status = "planned"
            return run

        tags = owner_tags(plan, run.flow_run_id)
        claim = make_claim(run.flow_run_id, workspace, plan)
        with claimed(claim), cancellable(run.flow_run_id):
            with run.stage("compute"):
                ensure_cluster(workspace, config.compute, tags, config.deadlines.compute)

            with trial(run, workspace, tags) as testing:
                with run.stage("job"):
                    plan = train(run, workspace, plan, tags, testing.begin, show_lengths)

                with run.stage("metrics"):
                    job, experiment = plan.names.job, plan.names.experiment
                    metrics = read_metrics(workspace, job, experiment, str(run.folder))
                    run.add_metrics(metrics)

                with run.stage("register"):
                    register = making_model(register_model, workspace, plan, metrics)
                    run.model = register(workspace, plan, job, tags)

                if config.serving.test:
                    testing.of(plan, run.model)
            remember_plan(workspace, plan, job)
        return run


if __name__ == "__main__":
    from flows.finetune_command import main

    raise SystemExit(main())
