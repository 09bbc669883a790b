"""Undoing a stopped run: what was its own is ended, what others use is left."""

import uuid
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.states import Completed, Running

from tasks.claims import Claim, hold, read_claim
from tasks.clients import workspace_client
from tasks.endpoint import ensure_endpoint, find_endpoint
from tasks.job import find_job
from tasks.polling import status_word
from tasks.undoing import find_by_tags, undo_run
from tests.tasks.job_support import end_of, submit

LONG = "sleep 120"


@flow
def training() -> None:
    """Only its runs are needed."""


def start_run() -> str:
    with get_client(sync_client=True) as client:
        return str(client.create_flow_run(training, state=Running()).id)


def end_run(run: str) -> None:
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(run), Completed(), force=True)


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex[:12]


def work(workspace: str, key: str, owner: str) -> Claim:
    """A running job and an endpoint, made by `owner`; the claim on them."""
    tags = {"run_key": key, "flow_run_id": owner}
    submit(workspace, f"ft-{key}-1", LONG, tags)
    ensure_endpoint(workspace_client(workspace), f"ft-{key}", "test", tags, minutes=1)
    return Claim(
        flow_run_id=owner, workspace=workspace, run_key=key, job=f"ft-{key}-1", endpoint=f"ft-{key}"
    )


def is_left(workspace: str, key: str) -> bool:
    client = workspace_client(workspace)
    job = find_job(client, f"ft-{key}-1")
    is_running = job is not None and status_word(job.status) not in ("Canceled", "CancelRequested")
    has_endpoint = find_endpoint(client, f"ft-{key}") is not None
    assert is_running == has_endpoint
    return is_running


def test_what_the_run_wrote_down_is_ended(workspace: str, key: str) -> None:
    run = start_run()
    hold(work(workspace, key, run))
    told = undo_run(run, workspace)
    assert told == [f"Job ft-{key}-1 is cancelled.", f"Endpoint ft-{key} is deleted."]
    assert end_of(workspace, f"ft-{key}-1").phase == "cancelled"
    assert not is_left(workspace, key)
    assert read_claim(run) is None
    assert undo_run(run, workspace) == []


def test_on_another_machine_the_tags_say_what_it_was(
    workspace: str, key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    run = start_run()
    claim = work(workspace, key, run)
    monkeypatch.setenv("FINETUNE_HOME", f"{tmp_path}/elsewhere")
    (found,) = find_by_tags(run, workspace)
    assert (found.job, found.endpoint, found.run_key) == (claim.job, claim.endpoint, key)
    undo_run(run, workspace)
    assert not is_left(workspace, key)


def test_what_another_living_run_works_on_is_left_to_it(workspace: str, key: str) -> None:
    first, second = start_run(), start_run()
    claim = work(workspace, key, first)
    hold(claim)
    hold(claim.model_copy(update={"flow_run_id": second}))
    (told,) = undo_run(first, workspace)
    assert "left to" in told
    assert is_left(workspace, key)
    undo_run(second, workspace)
    assert is_left(workspace, key)  # the first one, still Running for Prefect, made them
    end_run(first)
    hold(claim.model_copy(update={"flow_run_id": second}))
    undo_run(second, workspace)
    assert not is_left(workspace, key)


def test_adopted_work_of_a_run_unknown_here_goes_on(workspace: str, key: str) -> None:
    stranger, run = str(uuid.uuid4()), start_run()
    claim = work(workspace, key, stranger)
    hold(claim.model_copy(update={"flow_run_id": run}))
    told = undo_run(run, workspace)
    assert all("does not know" in sentence for sentence in told)
    assert is_left(workspace, key)
    client = workspace_client(workspace)
    client.jobs.begin_cancel(f"ft-{key}-1").wait(10)
    client.online_endpoints.begin_delete(f"ft-{key}").wait(10)


def test_a_run_without_any_work_has_nothing_to_undo(workspace: str) -> None:
    assert undo_run(start_run(), workspace) == []
