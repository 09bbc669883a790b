"""Claims: which living runs work on a training, so that none ends what another one still uses.

Two runs with the same content share one job and one endpoint. Each says so in two places: a file
below the home folder, locked for as long as its process lives, and a tag of its flow run, which
runs on other machines see as long as they share the Prefect server.
"""

import fcntl
import json
import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound, TerminationSignal
from pydantic import BaseModel, ConfigDict

from tasks.ownership import home
from tasks.values import Plan

_log = logging.getLogger(__name__)
_locks: dict[str, IO[str]] = {}
"""Open files of the claims that this process holds; the lock goes with the process."""


class Claim(BaseModel):
    """What a run works on in the cloud; enough to cancel and delete it when the run is lost."""

    model_config = ConfigDict(frozen=True)

    flow_run_id: str
    workspace: str
    run_key: str
    job: str | None = None
    endpoint: str | None = None
    """None for an endpoint that is to stay."""
    minutes: float = 60
    """Deadline for deleting the endpoint."""
    cancel_on_crash: bool = False
    stopped: bool = False
    """Somebody ended the run on purpose: what it has under way is not wanted any more."""


def make_claim(flow_run_id: str, workspace: str, plan: Plan) -> Claim:
    """What the run is about to work on."""
    config = plan.config
    return Claim(
        flow_run_id=flow_run_id,
        workspace=workspace,
        run_key=plan.names.run_key,
        job=plan.names.job,
        endpoint=None if config.serving.keep_endpoint else plan.names.endpoint,
        minutes=config.deadlines.deploy,
        cancel_on_crash=config.cancel_on_crash,
    )


@contextmanager
def claimed(claim: Claim) -> Iterator[None]:
    """Hold the claim, from before anything is created until the run has ended in order.

    A run that ends in an error gives it up as well: its `finally` has undone what had to be. One
    that is interrupted leaves it, marked as stopped, for the hook that undoes the run.
    """
    hold(claim)
    try:
        yield
    except (KeyboardInterrupt, TerminationSignal):
        update(claim.flow_run_id, stopped=True)
        raise
    except Exception:
        try:
            release(claim)
        except httpx.HTTPError as error:  # the run's own error is the one to be told
            _log.warning("Prefect did not take the end of the run: %s", error)
        raise
    else:
        release(claim)
    finally:
        _unlock(claim.flow_run_id)  # also where the process lives on


def hold(claim: Claim) -> None:
    """Write the claim down here, lock it, and tag the flow run with it.

    Claims that killed runs have left on the same training are cleared away: this run goes on
    with what they had under way.
    """
    _clear_dead(claim.run_key)
    path = _path(claim.flow_run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.open("a+", encoding="utf-8")
    fcntl.flock(lock, fcntl.LOCK_EX)
    _locks[claim.flow_run_id] = lock
    _write(lock, claim)
    _set_tags(claim.flow_run_id, add=(_holds(claim.run_key), _home_tag(), f"run:{claim.run_key}"))


def update(flow_run_id: str, **changes: object) -> None:
    """Change the claim that this process holds; nothing happens when it holds none."""
    if (lock := _locks.get(flow_run_id)) and (claim := read_claim(flow_run_id)):
        _write(lock, claim.model_copy(update=changes))


def withdraw(claim: Claim) -> None:
    """Stop counting as one of the training's runs; comes before `other_holders` is asked.

    Of two runs that end together at least one then sees no other, and tidies up.
    """
    _set_tags(claim.flow_run_id, remove=(_holds(claim.run_key),))


def release(claim: Claim) -> None:
    """Nothing of the run is left to undo."""
    withdraw(claim)
    _path(claim.flow_run_id).unlink(missing_ok=True)
    _unlock(claim.flow_run_id)


def _unlock(flow_run_id: str) -> None:
    if lock := _locks.pop(flow_run_id, None):
        lock.close()


def read_claim(flow_run_id: str) -> Claim | None:
    """What the run wrote down, or None where it wrote nothing on this machine."""
    try:
        return Claim.model_validate(json.loads(_path(flow_run_id).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def other_holders(run_key: str, flow_run_id: str) -> list[str]:
    """Names of the other living runs that work on this training."""
    with get_client(sync_client=True) as client:
        holders = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[_holds(run_key)]))
        )
    return [run.name for run in holders if str(run.id) != flow_run_id and _lives(run)]


def has_ended(flow_run_id: str) -> bool | None:
    """Whether that flow run is over; None when this Prefect server does not know it."""
    try:
        with get_client(sync_client=True) as client:
            run = client.read_flow_run(uuid.UUID(flow_run_id))
    except (ObjectNotFound, ValueError):
        return None
    return not _lives(run)


def _lives(run: FlowRun) -> bool:
    """Whether the run goes on.

    Of a run below this home folder the lock on its claim tells, whatever Prefect says: it calls a
    killed run Running, and calls one Crashed whose machine has only slept.
    """
    if _home_tag() in run.tags:
        path = _path(str(run.id))
        if path.exists():
            return _is_locked(path)
        if any(tag.startswith("holds:") for tag in run.tags):
            return False  # killed, and a later run has cleared its claim away
    return run.state is not None and not run.state.is_final()


def _clear_dead(run_key: str) -> None:
    for path in (home() / "claims").glob("*.json"):
        left = read_claim(path.stem)
        if left is not None and left.run_key == run_key and not _is_locked(path):
            path.unlink(missing_ok=True)


def _is_locked(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def _holds(run_key: str) -> str:
    return f"holds:{run_key}"


def _home_tag() -> str:
    """A tag that stands for this home folder, made at its first use."""
    path = home() / "claims" / "home"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        name = file.read()
        if not name:
            name = uuid.uuid4().hex[:12]
            file.write(name)
    return f"home:{name}"


def _set_tags(flow_run_id: str, add: tuple[str, ...] = (), remove: tuple[str, ...] = ()) -> None:
    with get_client(sync_client=True) as client:
        identifier = uuid.UUID(flow_run_id)
        before = client.read_flow_run(identifier).tags
        after = [tag for tag in before if tag not in remove]
        after += [tag for tag in add if tag not in after]
        if after != before:
            client.update_flow_run(identifier, tags=after)


def _path(flow_run_id: str) -> Path:
    return home() / "claims" / f"{flow_run_id}.json"


def _write(file: IO[str], claim: Claim) -> None:
    # In place: the lock belongs to this file, and a replaced one would not have it.
    file.seek(0)
    file.truncate()
    file.write(claim.model_dump_json())
    file.flush()
    os.fsync(file.fileno())
