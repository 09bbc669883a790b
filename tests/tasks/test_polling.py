import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import DeadlineExceeded, UserError
from tasks.polling import (
    Observation,
    Patience,
    provisioning_phase,
    status_word,
    wait,
    wait_for_resource,
)
from tasks.values import Phase

LIMITS = {Phase.QUEUED: 100.0, Phase.RUNNING: 1000.0}


@dataclass
class Time:
    """A clock that only sleeping moves."""

    now: float = 0.0
    pauses: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def follow(
    looks: Iterator[Phase | Exception], patience: Patience, **more: Any
) -> tuple[Observation, Time]:
    time: Time = more.pop("time", Time())

    def look() -> Observation:
        seen = next(looks)
        if isinstance(seen, Exception):
            raise seen
        return Observation(seen, str(seen))

    settings: dict[str, Any] = {"clock": lambda: time.now, "sleep": time.sleep}
    settings["random"] = lambda: 1.0
    return wait("Job j", look, patience, **(settings | more)), time


def forever(value: Phase | Exception) -> Iterator[Phase | Exception]:
    while True:
        yield value


def test_waits_until_the_end_and_reports_every_look() -> None:
    seen: list[str] = []
    path = [Phase.QUEUED, Phase.RUNNING, Phase.RUNNING, Phase.SUCCEEDED]
    end, time = follow(iter(path), Patience(LIMITS), on_progress=lambda o: seen.append(o.status))
    assert end.phase is Phase.SUCCEEDED
    assert seen == ["queued", "running", "running", "succeeded"]
    assert len(time.pauses) == 3


@pytest.mark.parametrize("end", [Phase.FAILED, Phase.CANCELLED])
def test_an_unhappy_end_is_returned_too(end: Phase) -> None:
    assert follow(iter([end]), Patience(LIMITS))[0].phase is end


def test_pauses_grow_to_the_interval() -> None:
    patience = Patience({}, interval=10, first_interval=1)
    _, time = follow(iter([Phase.RUNNING] * 30 + [Phase.SUCCEEDED]), patience)
    assert time.pauses[0] == 1
    assert time.pauses == sorted(time.pauses)
    assert time.pauses[-1] == 10


@given(random=st.floats(0, 1), looks=st.integers(1, 60), interval=st.floats(0.1, 600))
def test_jitter_only_shortens_a_pause(random: float, looks: int, interval: float) -> None:
    patience = Patience({}, interval=interval)
    path: list[Phase | Exception] = [*([Phase.RUNNING] * looks), Phase.SUCCEEDED]
    _, time = follow(iter(path), patience, random=lambda: random)
    for number, pause in enumerate(time.pauses):
        assert 0.74 * patience.pause(number) <= pause <= patience.pause(number)


@pytest.mark.parametrize(
    ("phase", "limit", "words"),
    [(Phase.QUEUED, 100, "waiting to start"), (Phase.RUNNING, 1000, "still running")],
)
def test_past_its_deadline_the_work_is_cancelled(phase: Phase, limit: float, words: str) -> None:
    cancelled: list[bool] = []
    time = Time()
    with pytest.raises(DeadlineExceeded, match=f"Job j was {words}|Job j was .*{words}") as caught:
        follow(forever(phase), Patience(LIMITS), cancel=lambda: cancelled.append(True), time=time)
    assert cancelled == [True]
    assert time.now == pytest.approx(limit)
    assert "was cancelled" in str(caught.value)


def test_a_cancel_that_fails_is_told_beside_the_deadline() -> None:
    def cancel() -> None:
        raise HttpResponseError("the service is down")

    with pytest.raises(DeadlineExceeded, match="cancelling it failed: the service is down"):
        follow(forever(Phase.RUNNING), Patience(LIMITS), cancel=cancel)


def test_going_back_to_the_queue_does_not_renew_its_deadline() -> None:
    path: list[Phase | Exception] = [Phase.QUEUED, Phase.RUNNING] * 1000
    time = Time()
    with pytest.raises(DeadlineExceeded, match="waiting to start"):
        follow(iter(path), Patience(LIMITS), time=time)
    assert time.now == pytest.approx(200, rel=0.2)


def test_passing_errors_are_tolerated() -> None:
    down = ServiceRequestError("no connection")
    path: list[Phase | Exception] = [Phase.RUNNING, down, down, Phase.SUCCEEDED]
    told: list[Exception] = []
    end, _ = follow(iter(path), Patience(LIMITS), on_error=told.append)
    assert end.phase is Phase.SUCCEEDED
    assert told == [down, down]


def test_errors_without_end_are_given_up() -> None:
    time = Time()
    patience = Patience({}, error_limit=300)
    with pytest.raises(UserError, match="could not be looked at for 5 min: no connection"):
        follow(forever(ServiceRequestError("no connection")), patience, time=time)
    assert 300 < time.now < 340


def test_the_deadline_also_runs_while_looks_fail() -> None:
    def looks() -> Iterator[Phase | Exception]:
        yield Phase.RUNNING
        yield from forever(ServiceRequestError("no connection"))

    with pytest.raises(DeadlineExceeded):
        follow(looks(), Patience({Phase.RUNNING: 60.0}))


def test_a_lasting_error_is_raised_at_once() -> None:
    class Refused(HttpResponseError):
        status_code = 403

    with pytest.raises(Refused):
        follow(iter([Phase.RUNNING, Refused("no")]), Patience(LIMITS))


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        ("Succeeded", Phase.SUCCEEDED),
        ("Failed", Phase.FAILED),
        ("Canceled", Phase.CANCELLED),
        ("Creating", Phase.RUNNING),
        (None, Phase.RUNNING),
    ],
)
def test_provisioning_states(state: str | None, phase: Phase) -> None:
    assert provisioning_phase(state) is phase


def test_the_word_of_an_sdk_enum_is_its_value() -> None:
    from azure.ai.ml._restclient.arm_ml_service.models import JobStatus

    assert status_word(JobStatus.COMPLETED) == "Completed"


def test_the_end_of_the_operation_ends_the_pause() -> None:
    from azure.core.polling import LROPoller, PollingMethod

    class Method(PollingMethod[None]):
        """An operation that ends after a moment."""

        ended = False

        def initialize(self, *_: Any) -> None: ...

        def run(self) -> None:
            time.sleep(0.2)
            self.ended = True

        def status(self) -> str:
            return "Succeeded" if self.ended else "InProgress"

        def finished(self) -> bool:
            return self.ended

        def resource(self) -> None: ...

    method = Method()
    operation: LROPoller[None] = LROPoller(None, None, lambda _: None, method)

    def get() -> SimpleNamespace:
        return SimpleNamespace(provisioning_state="Succeeded" if method.ended else "Creating")

    began = time.monotonic()
    patience = Patience({}, interval=60, first_interval=60)
    seen = wait_for_resource("Endpoint e", get, patience, operation)
    assert seen.phase is Phase.SUCCEEDED
    assert time.monotonic() - began < 5
