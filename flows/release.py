"""Release a model: approve, deploy beside the live one, test, shift the traffic, watch."""

import time
from typing import Any

from prefect import flow
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import flow_run

from tasks.approval import ask_approval
from tasks.artifacts import markdown, run_logger, table, terminal_progress
from tasks.asking import ask_model
from tasks.cancelling import cancellable, confirm_cancelled
from tasks.claims import claimed, read_claim
from tasks.probing import SMOKE_CONVERSATION, check_deployment
from tasks.release_config import ReleaseConfig
from tasks.release_report import ReleaseReport, ReleaseStep, step_rows
from tasks.releasing import (
    Release,
    deploy_beside,
    deployment_name,
    end_release,
    find_live,
    find_model,
    release_claim,
    shift_traffic,
    take_endpoint,
)
from tasks.rollback import LimitsNotHeld, take_back, undo_release
from tasks.values import RegisteredModel


def undo(flow: Any, flow_run: Any, state: Any) -> None:
    """Roll back a release that was stopped.

    One whose process died has not been stopped: the next one goes on from where Azure is.
    """
    run_id, logger = str(flow_run.id), flow_run_logger(flow_run, flow)
    claim = read_claim(run_id)
    if claim is not None and state.is_crashed() and not claim.stopped:
        logger.warning("The release has died. Start it again: it goes on from where Azure is.")
        return
    if claim is not None or not state.is_crashed():
        workspace = str(flow_run.parameters.get("workspace", "default"))
        for sentence in undo_release(run_id, workspace):
            logger.warning("%s", sentence)
    confirm_cancelled(run_id)


_DEFAULTS = ReleaseConfig()


@flow(name="release", on_cancellation=[undo], on_crashed=[undo])
def release(
    model: str,
    config: ReleaseConfig = _DEFAULTS,
    workspace: str = "default",
    comparison: str = "",
) -> ReleaseReport:
    """Put a registered model in the place of the one that an endpoint serves.

    A new deployment that fails, or does not hold the limits of the checks, is deleted; the old
    one then has all of the traffic again, and the run fails.

    Args:
        model: The registered model, as NAME:VERSION.
        config: The endpoint, the steps of the traffic and the limits of the checks.
        workspace: Name of the Azure ML Workspace block.
        comparison: Markdown that is shown to whoever approves the release.
    """
    started, run_id = time.monotonic(), str(flow_run.get_id())
    with cancellable(run_id):
        report = _release(run_id, model, config, workspace, comparison)
    report = report.model_copy(update={"seconds": round(time.monotonic() - started, 1)})
    markdown("release", report.markdown(), "What the release did")
    run_logger().info("%s: %s", report.model, f"{report.status}. {report.reason}".strip())
    return report


def _release(
    run_id: str, model: str, config: ReleaseConfig, workspace: str, comparison: str
) -> ReleaseReport:
    found = find_model(workspace, model)
    report = ReleaseReport(
        status="released",
        endpoint=config.endpoint,
        deployment=deployment_name(found),
        model=f"{found.name}:{found.version}",
    )
    if live := find_live(workspace, config.endpoint, found):
        reason = f"Deployment {live.deployment} serves it already, with all of the traffic."
        seen = {"deployment": live.deployment, "scoring_uri": live.scoring_uri, "reason": reason}
        return report.model_copy(update={"status": "already live", **seen})
    question = comparison or f"Release {report.model} to the endpoint {config.endpoint}?"
    if config.approval and (no := ask_approval(run_id, question, config.approval_hours)):
        status = "refused" if no.by_a_person else "not approved"
        return report.model_copy(update={"status": status, "reason": no.reason})

    with claimed(release_claim(run_id, workspace, config.endpoint)):
        held = _take(workspace, config, found, run_id)
        steps: list[ReleaseStep] = []
        try:
            _roll_out(workspace, held, config, steps)
        except Exception as error:
            if failed := take_back(workspace, held.lease, config.deploy_minutes, error):
                raise failed from error
            raise
        deleted = end_release(workspace, held, config.deploy_minutes)
    return report.model_copy(
        update={
            "scoring_uri": held.scoring_uri,
            "replaced_deployment": held.lease.old,
            "replaced_model": held.old_model,
            "steps": tuple(steps),
            "deleted": tuple(deleted),
        }
    )


def _take(workspace: str, config: ReleaseConfig, model: RegisteredModel, run_id: str) -> Release:
    """The hold on the endpoint; where that fails, an endpoint that was made for it is deleted."""
    try:
        return take_endpoint(workspace, config, model, run_id)
    except Exception:
        for sentence in undo_release(run_id, workspace):
            run_logger().warning("%s", sentence)
        raise


def _roll_out(
    workspace: str, held: Release, config: ReleaseConfig, steps: list[ReleaseStep]
) -> None:
    """Deploy, test, and shift the traffic step by step; `steps` gets what was measured."""
    old = held.lease.old
    with terminal_progress(f"Release to {config.endpoint}", key="release-progress") as progress:
        progress.update(5, "deploying")
        deploy_beside(workspace, held, config)
        progress.update(30, "asking it")
        ask_model(workspace, held.live, list(SMOKE_CONVERSATION), config.max_new_tokens)
        for number, (share, mirror) in enumerate(stages := held.stages(config)):
            progress.update(40 + 60 * number / len(stages), f"{share} %")
            shift_traffic(workspace, held, share, mirror, config)
            step = check_deployment(
                workspace, held.live, old, share, mirror, config.checks, config.max_new_tokens
            )
            steps.append(step)
            table("release-steps", step_rows(steps), "The steps of the traffic")
            if step.problems:
                raise LimitsNotHeld(step)
        if old is None:
            shift_traffic(workspace, held, 100, 0, config)


if __name__ == "__main__":
    from flows.release_command import main

    raise SystemExit(main())
