"""What a run created, where that is written down, and how it is undone when the run is lost."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tasks.values import Plan

RUN_KEY, FLOW_RUN, EXPIRES = "run_key", "flow_run_id", "expires"


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
    }


class Handles(BaseModel):
    """Names of the work that a run has in the cloud; enough to cancel and delete it."""

    model_config = ConfigDict(frozen=True)

    workspace: str
    job: str | None = None
    endpoint: str | None = None


def _path(flow_run_id: str) -> Path:
    return home() / "handles" / f"{flow_run_id}.json"


def write_handles(flow_run_id: str, handles: Handles) -> None:
    """Record what has to be undone should this run be lost. Written before the work begins."""
    path = _path(flow_run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(handles.model_dump_json(), encoding="utf-8")
    partial.replace(path)


def read_handles(flow_run_id: str) -> Handles | None:
    """What the run wrote down, or None where it wrote nothing on this machine."""
    try:
        return Handles.model_validate(json.loads(_path(flow_run_id).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def forget_handles(flow_run_id: str) -> None:
    """Nothing of the run is left to undo."""
    _path(flow_run_id).unlink(missing_ok=True)
