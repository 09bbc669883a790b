"""Which attempt a training goes on with, by jobs that really ran."""

import uuid
from typing import Any

import pytest

from tasks.errors import ErrorKind, JobFailed
from tasks.job import cancel_job
from tasks.job_failure import JobFailure
from tasks.submission import check_may_repeat, choose_attempt, submit_job
from tasks.values import Plan
from tests.tasks.job_support import end_of, submit, with_key
from tests.tasks.test_job import plan

NODE_LOST = "echo 'The compute node was preempted.' >&2; exit 1"
NO_MEMORY = "echo 'torch.cuda.OutOfMemoryError: CUDA out of memory.' >&2; exit 1"


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex[:12]


def chosen(workspace: str, key: str, **settings: Any) -> Plan:
    return choose_attempt.fn(workspace, with_key(plan(**settings), key))


def test_the_first_attempt_is_the_configured_one(workspace: str, key: str) -> None:
    assert chosen(workspace, key).names.job == f"ft-{key}-1"
    later = chosen(workspace, key, attempt=3).names
    assert (later.job, later.model_version, later.endpoint) == (
        f"ft-{key}-3",
        f"{key}-3",
        f"ft-{key}-3",
    )


def test_a_completed_job_is_gone_on_with(workspace: str, key: str) -> None:
    submit(workspace, f"ft-{key}-1", "true")
    end_of(workspace, f"ft-{key}-1")
    again = chosen(workspace, key)
    assert again.names.job == f"ft-{key}-1"
    reference = submit_job.fn(workspace, again, {})
    assert reference.adopted
    assert reference.studio_url is not None
    assert reference.studio_url.count("&tid=") == 1


def test_a_cancelled_job_is_passed_over(workspace: str, key: str) -> None:
    submit(workspace, f"ft-{key}-1", "sleep 60")
    assert cancel_job(workspace, f"ft-{key}-1")
    end_of(workspace, f"ft-{key}-1")
    assert chosen(workspace, key).names.job == f"ft-{key}-2"


def test_a_failure_that_may_pass_is_repeated_within_the_limit(workspace: str, key: str) -> None:
    submit(workspace, f"ft-{key}-1", NODE_LOST)
    end_of(workspace, f"ft-{key}-1")
    assert chosen(workspace, key).names.job == f"ft-{key}-2"
    submit(workspace, f"ft-{key}-2", NODE_LOST)
    end_of(workspace, f"ft-{key}-2")
    with pytest.raises(JobFailed, match=r"attempt 2 of at most 2: .*preempted"):
        chosen(workspace, key)
    assert chosen(workspace, key, max_attempts=3).names.job == f"ft-{key}-3"


def test_a_job_without_memory_is_never_repeated_unchanged(workspace: str, key: str) -> None:
    submit(workspace, f"ft-{key}-1", NO_MEMORY)
    end_of(workspace, f"ft-{key}-1")
    with pytest.raises(JobFailed, match="CUDA out of memory") as raised:
        chosen(workspace, key, max_attempts=10)
    assert raised.value.kind is ErrorKind.OUT_OF_MEMORY
    assert "per_device_train_batch_size" in raised.value.advice
    assert "`attempt` to 2" in raised.value.advice
    assert chosen(workspace, key, attempt=2).names.job == f"ft-{key}-2"


@pytest.mark.parametrize("kind", [kind for kind in ErrorKind if kind is not ErrorKind.TRANSIENT])
def test_only_what_may_pass_is_repeated(kind: ErrorKind) -> None:
    texts = {
        ErrorKind.OUT_OF_MEMORY: "CUDA out of memory",
        ErrorKind.BAD_INPUT: "KeyError: 'messages'",
    }
    failure = JobFailure(texts.get(kind, "something else"))
    with pytest.raises(JobFailed):
        check_may_repeat("ft-1", failure, attempt=1, failed=1, most=10)
