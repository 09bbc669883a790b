"""Where runs write, and the tags that say whose a thing in the cloud is."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasks.values import Plan

RUN_KEY, FLOW_RUN, EXPIRES, KEEP = "run_key", "flow_run_id", "expires", "keep"


def home() -> Path:
    """The folder for everything that runs write: FINETUNE_HOME, or .local here."""
    return Path(os.environ.get("FINETUNE_HOME") or ".local")


def owner_tags(plan: Plan, flow_run_id: str, now: datetime | None = None) -> dict[str, str]:
    """Tags for everything that a run creates: whose it is, and from when on nobody needs it.

    The expiry lies behind every deadline of the run.
    """
    deadlines = plan.config.deadlines
    minutes = deadlines.compute + deadlines.queue + deadlines.run + 2 * deadlines.deploy
    expires = (now or datetime.now(UTC)) + timedelta(minutes=minutes)
    return {
        RUN_KEY: plan.names.run_key,
        FLOW_RUN: flow_run_id,
        EXPIRES: expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
    } | ({KEEP: "true"} if plan.config.serving.keep_endpoint else {})


def parse_moment(text: str | None) -> datetime | None:
    """A tag's time; None for one that is missing, or that somebody has changed beyond reading."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
