"""Stopping a flow that runs others inside itself: a hook that undoes them all."""

from typing import Any

from prefect.logging.loggers import flow_run_logger

from tasks.cancelling import confirm_cancelled, was_stopped
from tasks.rollback import undo_release
from tasks.undoing import undo_children, undo_run


def undo_family(flow: Any, flow_run: Any, state: Any) -> None:
    """End what a run that was stopped has under way: its children's work, and its own jobs.

    Of one whose process has died the work goes on, for the next one to adopt.
    """
    run_id, logger = str(flow_run.id), flow_run_logger(flow_run, flow)
    workspace = str(flow_run.parameters.get("workspace", "default"))
    crashed = state.is_crashed() and not was_stopped(run_id)
    told = undo_children(run_id, workspace, crashed, (undo_run, undo_release))
    told += [] if crashed else undo_run(run_id, workspace)
    for sentence in told:
        logger.warning("%s", sentence)
    confirm_cancelled(run_id)
