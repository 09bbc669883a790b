"""Asking a person, in Prefect's UI, whether a release may begin."""

import uuid
from dataclasses import dataclass

from prefect.client.orchestration import get_client
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.settings import PREFECT_API_URL
from prefect.states import Running
from prefect.utilities.urls import url_for
from pydantic import Field

from tasks.artifacts import run_logger
from tasks.errors import UserError

_POLL_SECONDS = 3


class Approval(RunInput):
    """The form that a person fills in."""

    approve: bool = Field(
        default=False,
        title="Release it",
        description="On: the model is released. Off: nothing is made and the run ends.",
    )
    comment: str = Field(
        default="", title="Comment", description="Why. It stands in the log and in the report."
    )


@dataclass(frozen=True)
class Refusal:
    """Why a release is not approved, and whether somebody has said so."""

    reason: str
    by_a_person: bool


def approval_page(flow_run_id: str) -> str:
    """Where a person can answer. Raises UserError where nobody can."""
    page = url_for("flow-run", obj_id=flow_run_id)
    if not PREFECT_API_URL.value() or page is None:
        raise UserError(
            "Nobody can approve this release: the run has a Prefect server to itself, which ends "
            "with it.",
            "Start a server (`make up`, or `prefect server start`) and set PREFECT_API_URL to it, "
            "or switch `approval` off.",
        )
    return page


def ask_approval(flow_run_id: str, question: str, hours: float) -> Refusal | None:
    """Pause this flow run until a person has answered: None for yes.

    `question` is Markdown and is shown above the form. Call it in a flow, never in a task. Raises
    UserError where nobody can answer.
    """
    page = approval_page(flow_run_id)
    run_logger().warning("Waiting, %g hours at most, for approval: %s (Resume)", hours, page)
    form = Approval.with_initial_data(description=question)
    timeout = max(1, round(hours * 3600))
    try:
        answer = pause_flow_run(
            wait_for_input=form, timeout=timeout, poll_interval=_POLL_SECONDS, key="approval"
        )
    except FlowPauseTimeout:
        _run_again(flow_run_id)
        return Refusal(f"Nobody has approved it within {hours:g} hours.", by_a_person=False)
    comment = f": {answer.comment}" if answer.comment else "."
    run_logger().info("The release was %sapproved%s", "" if answer.approve else "not ", comment)
    return None if answer.approve else Refusal(f"It was refused{comment}", by_a_person=True)


def _run_again(flow_run_id: str) -> None:
    # Prefect would call a run whose pause has timed out Failed, however it ends.
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(uuid.UUID(flow_run_id), Running(), force=True)
