import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from emulator.control_client import Control
from tasks.clients import workspace_client
from tasks.job_board import FEW, JobBoard, job_board
from tasks.values import Phase
from tests.azure import local_azure

MANY = FEW + 5


@pytest.fixture
def control() -> Iterator[Control]:
    control = Control.of(local_azure().state)
    yield control
    control.clear()


@pytest.fixture
def jobs(workspace: str, control: Control) -> list[str]:
    """More jobs than are asked for one by one, all of them queued."""
    return submit(workspace, control, MANY)


def submit(workspace: str, control: Control, count: int) -> list[str]:
    from azure.ai.ml import command
    from azure.ai.ml.entities import Environment

    control.transition("jobs", mode="manual", states=["Queued"])
    client = workspace_client(workspace)
    image = Environment(image="docker.io/library/python:3.11")
    job: Any = command(command="true", environment=image, compute="local")
    names = [f"many-{time.monotonic_ns()}-{number}" for number in range(count)]
    for job.name in names:
        client.jobs.create_or_update(job)
    return names


def looks(control: Control, before: int) -> list[str]:
    events = control.events(after=before)
    return [event.operation for event in events if event.operation.startswith("Jobs_")]


def test_many_are_listed_and_a_change_wakes_its_wait(
    workspace: str, control: Control, jobs: list[str]
) -> None:
    board = job_board(workspace)
    with ExitStack() as stack:
        waits = [stack.enter_context(board.waiting(job, 0.4)) for job in jobs]
        before = control.last_event()
        assert {wait.look().status for wait in waits} == {"Queued"}
        assert looks(control, before) == ["Jobs_List"]

        control.advance_resource("jobs", jobs[3])
        ended = threading.Event()

        def others() -> None:
            while not ended.is_set():
                waits[0].look()
                waits[0].sleep(0.4)

        thread = threading.Thread(target=others)
        thread.start()
        deadline = time.monotonic() + 30
        while not (seen := waits[3].look()).phase.ended:
            assert time.monotonic() < deadline, seen
            waits[3].sleep(20)  # woken long before
        ended.set()
        thread.join()
        assert seen.phase is Phase.SUCCEEDED
        assert "Jobs_Get" not in looks(control, before)


def test_few_are_asked_for_one_by_one(workspace: str, control: Control, jobs: list[str]) -> None:
    board = job_board(workspace)
    with ExitStack() as stack:
        waits = [stack.enter_context(board.waiting(job, 5)) for job in jobs[:FEW]]
        before = control.last_event()
        assert waits[0].look().resource.name == jobs[0]
        assert looks(control, before) == ["Jobs_Get"]


def test_a_job_that_the_list_does_not_show_is_asked_for(
    workspace: str, control: Control, jobs: list[str]
) -> None:
    workspace_client(workspace).jobs.archive(jobs[0])
    board = job_board(workspace)
    with ExitStack() as stack:
        waits = [stack.enter_context(board.waiting(job, 5)) for job in jobs]
        before = control.last_event()
        assert [wait.look().status for wait in waits[:2]] == ["Queued", "Queued"]
        assert looks(control, before) == ["Jobs_List", "Jobs_Get"]


def test_a_list_that_fails_is_an_error_of_all_until_it_is_due_again(
    workspace: str, control: Control, jobs: list[str]
) -> None:
    board: JobBoard = job_board(workspace)
    with ExitStack() as stack:
        waits = [stack.enter_context(board.waiting(job, 0.5)) for job in jobs]
        with control.fault("Jobs_List", status=500, times=None):
            before = control.last_event()
            for wait in waits[:3]:
                with pytest.raises(HttpResponseError):
                    wait.look()
            asked = len(looks(control, before))
        assert asked <= 3, "one listing, with its own repetitions"
        waits[0].sleep(1)
        assert waits[0].look().status == "Queued"
