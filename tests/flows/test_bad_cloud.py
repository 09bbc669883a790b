"""A cloud that fails midway: one clear sentence each, and nothing is left behind."""

from typing import Any

import pytest

from tests.flows.cloud_support import Cloud

SOON = {"x-ms-retry-after-ms": "20"}
"""The SDK repeats some refusals; with this it does so without its own pauses of seconds."""

SCORING = [
    (401, "service", ["answered 401", "Regenerate"]),
    (404, "service", ["answered 404", "studio"]),
    (408, "service", ["answered 408", "Request Timeout", "serving.max_new_tokens"]),
    (424, "service", ["answered 424", "logs"]),
    (429, "transient", ["429", "again"]),
    (500, "service", ["answered 500", "logs"]),
    (503, "transient", ["503", "again"]),
]


@pytest.mark.parametrize(("status", "kind", "words"), SCORING, ids=[str(s[0]) for s in SCORING])
def test_an_endpoint_that_goes_on_refusing(
    cloud: Cloud, status: int, kind: str, words: list[str]
) -> None:
    with cloud.control.fault("Endpoint_Score", status=status, times=None, headers=SOON) as fault:
        said = cloud.runs()
        assert fault.refresh().fired >= 1
    cloud.refuses(said, kind, *words)
    assert said.report["model"]
    assert said.report["reply"] is None


def test_an_endpoint_that_has_too_many_requests_once_is_asked_again(cloud: Cloud) -> None:
    with cloud.control.fault("Endpoint_Score", status=429, headers=SOON) as fault:
        said = cloud.runs()
        assert fault.refresh().fired == 1
    assert said.code == 0
    assert said.report["reply"]["reply"]
    cloud.leaves_nothing(said)


BODIES = [("empty", "empty"), ("broken", "not JSON")]


@pytest.mark.parametrize(("body", "word"), BODIES, ids=[body for body, _ in BODIES])
def test_a_reply_that_cannot_be_read(cloud: Cloud, body: str, word: str) -> None:
    with cloud.control.fault("Endpoint_Score", body=body, times=None):
        said = cloud.runs()
    cloud.refuses(said, "service", "endpoint ft-", word, "logs")


def test_a_deployment_that_fails_shows_its_log_and_the_model_stays(cloud: Cloud) -> None:
    cloud.control.fail_next("deployments", stderr="ModuleNotFoundError: No module named 'vllm'")
    said = cloud.runs()
    cloud.refuses(said, "service", "Deployment demo on ft-", "vllm", "run again", lines=True)
    assert "Its last log lines:" in said.error
    assert said.report["model"]["version"] in cloud.model_versions()
    assert said.report["endpoint"] is None


JOBS = [
    (
        1,
        {"exit_code": 3, "stderr": "ValueError: the chat template is unknown"},
        "bad input",
        ["status code 3", "the chat template is unknown", "Correct what"],
    ),
    (
        2,
        {"stderr": "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"},
        "out of memory",
        ["CUDA out of memory", "per_device_train_batch_size"],
    ),
]


@pytest.mark.parametrize(("number", "failure", "kind", "words"), JOBS, ids=[job[2] for job in JOBS])
def test_a_job_that_fails_in_its_fine_tuning_is_told_and_not_repeated(
    cloud: Cloud, number: int, failure: dict[str, Any], kind: str, words: list[str]
) -> None:
    cloud.control.fail_next("jobs", name="*finetune*", **failure)
    said = cloud.training(number, max_attempts=3)
    cloud.refuses(said, kind, "finetune", "Its last log lines:", *words, lines=True)
    assert said.report["job"]["name"].endswith("-1")
    assert said.report["model"] is None
    submitted = cloud.control.events(operation="Jobs_CreateOrUpdate", kind="write")
    assert len(submitted) == 1


PREEMPTED = "The node was preempted by Azure: low-priority capacity was needed elsewhere."


def test_a_job_that_lost_its_node_is_repeated_once(cloud: Cloud) -> None:
    cloud.control.fail_next("jobs", name="*finetune*", stderr=PREEMPTED)
    said = cloud.training(3, max_attempts=2)
    assert said.code == 0
    assert said.report["job"]["name"].endswith("-2")
    assert said.report["reply"]["reply"]
    cloud.leaves_nothing(said)


def test_a_job_that_loses_its_node_again_is_given_up(cloud: Cloud) -> None:
    cloud.control.fail_next("jobs", times=2, name="*finetune*", stderr=PREEMPTED)
    said = cloud.training(4, max_attempts=2)
    cloud.refuses(said, "transient", "attempt 2 of at most 2", "max_attempts", lines=True)
