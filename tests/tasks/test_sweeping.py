from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.sweeping import Owned, decide

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
LATER, BEFORE = NOW + timedelta(minutes=1), NOW - timedelta(minutes=1)


def owned(**changes: Any) -> Owned:
    given: dict[str, Any] = {
        "kind": "job",
        "name": "ft-0123456789ab-1",
        "state": "Running",
        "run_key": "0123456789ab",
        "flow_run_id": "owner",
        "expires": LATER,
    }
    return Owned.model_validate(given | changes)


def test_what_an_ended_run_has_left_is_ended() -> None:
    decision = decide(owned(), NOW, lambda key: [], lambda run: True)
    assert decision.end
    assert decision.reason == "its run is over"


def test_what_a_living_run_owns_is_left() -> None:
    assert not decide(owned(), NOW, lambda key: [], lambda run: False).end


def test_what_another_living_run_has_adopted_is_left() -> None:
    decision = decide(owned(), NOW, lambda key: ["busy-bee"], lambda run: True)
    assert not decision.end
    assert decision.reason == "in use by busy-bee"


def test_what_a_run_unknown_here_owns_is_left_until_it_expires() -> None:
    decision = decide(owned(), NOW, lambda key: [], lambda run: None)
    assert not decision.end
    assert "2026-11-01 12:01" in decision.reason
    assert decide(owned(expires=BEFORE), NOW, lambda key: [], lambda run: None).end


def test_an_endpoint_that_is_to_stay_is_left_though_expired() -> None:
    kept = owned(kind="endpoint", keep=True, expires=BEFORE)
    assert not decide(kept, NOW, lambda key: [], lambda run: True).end


def test_a_job_does_not_outlive_its_run_because_an_endpoint_is_kept() -> None:
    assert decide(owned(keep=True), NOW, lambda key: [], lambda run: True).end


def test_a_deployment_of_a_living_release_is_left_though_expired() -> None:
    late = owned(kind="deployment", name="chat/m-2", expires=BEFORE)
    assert not decide(late, NOW, lambda key: ["busy-bee"], lambda run: True).end
    assert decide(late, NOW, lambda key: [], lambda run: None).end


@given(
    ended=st.sampled_from([None, False]),
    keep=st.booleans(),
    kind=st.sampled_from(["job", "endpoint", "deployment"]),
    expires=st.sampled_from([None, LATER]),
)
def test_nothing_is_ended_without_proof(
    ended: bool | None, keep: bool, kind: str, expires: datetime | None
) -> None:
    thing = owned(kind=kind, keep=keep, expires=expires)
    assert not decide(thing, NOW, lambda key: [], lambda run: ended).end


@pytest.mark.parametrize("holders", [[], ["one"], ["one", "two"]])
@pytest.mark.parametrize("ended", [None, False, True])
def test_the_reason_is_always_told(holders: list[str], ended: bool | None) -> None:
    assert decide(owned(), NOW, lambda key: holders, lambda run: ended).reason
