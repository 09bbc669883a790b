"""Cancel jobs, delete endpoints and deployments that no living run owns, or that expired."""

from collections.abc import Sequence
from datetime import UTC, datetime

from prefect import flow, task
from pydantic import BaseModel, ConfigDict

from tasks.artifacts import run_logger, table, without_dots
from tasks.claims import has_ended, other_holders
from tasks.clients import REMOTE, workspace_client
from tasks.endpoint import delete_endpoint
from tasks.errors import UserError
from tasks.explaining import azure_code_and_text
from tasks.job import cancel_job
from tasks.rollback import end_dead
from tasks.sweeping import Decision, Owned, decide, find_owned

_DELETE_MINUTES = 20


class SweepReport(BaseModel):
    """What the sweep found and what it ended."""

    model_config = ConfigDict(frozen=True)

    dry_run: bool
    decisions: tuple[Decision, ...]
    ended: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


@flow(name="sweep")
def sweep(workspace: str = "default", dry_run: bool = True) -> SweepReport:
    """Cancel jobs, delete endpoints and deployments that no living run owns, or that expired.

    Only what carries the tags of this project's runs is looked at, and no deployment that answers
    any of its endpoint's traffic. Clusters, data and models are never touched.

    Args:
        workspace: Name of the Azure ML Workspace block.
        dry_run: Only say what would be ended. Switch it off to cancel and delete.
    """
    decisions = look_for_leftovers(workspace)
    table("sweep", sweep_rows(decisions, dry_run), "What the sweep found")
    ended: list[str] = []
    failed: list[str] = []
    for decision in decisions:
        name = f"{decision.owned.kind} {decision.owned.name}"
        if not decision.end or dry_run:
            run_logger().info("%s: %s: %s", name, _verb(decision, dry_run), decision.reason)
            continue
        try:
            if end(workspace, decision.owned):
                ended.append(name)
            run_logger().warning("%s was ended: %s", name, decision.reason)
        except Exception as error:
            failed.append(f"{name}: {azure_code_and_text(error)[1]}")
    report = SweepReport(
        dry_run=dry_run, decisions=tuple(decisions), ended=tuple(ended), failed=tuple(failed)
    )
    if failed:
        raise UserError(
            f"The sweep could not end {'; '.join(failed)}.", "The next sweep tries again."
        )
    return report


@task(name="look for leftovers", **REMOTE)
def look_for_leftovers(workspace: str) -> list[Decision]:
    """Everything with this project's tags that costs money, and what should become of it."""
    now = datetime.now(UTC)
    found = find_owned(workspace_client(workspace))
    return [decide(owned, now, lambda key: other_holders(key, ""), has_ended) for owned in found]


@task(name="end", task_run_name="end {owned.kind} {owned.name}", **REMOTE)
def end(workspace: str, owned: Owned) -> bool:
    """Cancel the job, delete the endpoint or deployment; False when it had ended by itself."""
    if owned.kind == "job":
        return cancel_job(workspace, owned.name)
    if owned.kind == "deployment":
        endpoint, _, _ = owned.name.partition("/")
        return bool(end_dead(workspace_client(workspace), endpoint, _DELETE_MINUTES))
    with without_dots():
        return delete_endpoint(workspace_client(workspace), owned.name, _DELETE_MINUTES)


def _verb(decision: Decision, dry_run: bool) -> str:
    if not decision.end:
        return "left"
    return "would be ended" if dry_run else "ended"


def sweep_rows(decisions: Sequence[Decision], dry_run: bool) -> list[dict[str, str]]:
    """One row for everything that was found: what, name, state, decision, why."""
    return [
        {
            "what": decision.owned.kind,
            "name": decision.owned.name,
            "state": decision.owned.state,
            "decision": _verb(decision, dry_run),
            "why": decision.reason,
        }
        for decision in decisions
    ] or [{"what": "nothing", "name": "", "state": "", "decision": "", "why": "no leftovers"}]


if __name__ == "__main__":
    from flows.sweep_command import main

    raise SystemExit(main())
