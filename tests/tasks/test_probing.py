"""What a check makes of the requests that it has sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.probing import Probe, measure, problems, quantile
from tasks.release_config import Checks, ReleaseConfig
from tasks.release_report import Measured, ReleaseStep, step_rows

CHECKS = Checks(most_errors=0.1, slowest_seconds=2, slowdown=2)


def measured(errors: int = 0, p50: float | None = 0.1, p95: float | None = 0.2) -> Measured:
    return Measured(deployment="one", requests=20, errors=errors, p50=p50, p95=p95)


def test_the_requests_to_one_deployment_are_counted() -> None:
    probes = [Probe("one", seconds) for seconds in (0.4, 0.1, 0.3, 0.2)]
    probes += [Probe("one", 9.0, "500 no"), Probe("one", 9.0, "500 no"), Probe("two", 5.0)]
    found = measure("one", probes)
    assert (found.requests, found.errors) == (6, 2)
    assert (found.p50, found.p95) == (0.2, 0.4)
    assert found.reasons == ("500 no",)


def test_a_deployment_that_answers_nothing_has_no_latencies() -> None:
    found = measure("one", [Probe("one", 1.0, "no answer")])
    assert found.p50 is None
    assert "no reply" in str(found)
    assert problems(found, measured(), CHECKS)


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (measured(errors=2), None),
        (measured(errors=3), "3 of 20 requests failed, 10% may"),
        (measured(p95=2.0), None),
        (measured(p95=2.1), "95 of 100 replies came within 2.10 s, 2 s are allowed"),
        (measured(p50=0.34), None),
        (measured(p50=0.36), "half of the replies took longer than 0.36 s"),
    ],
)
def test_a_limit_is_held_or_named(new: Measured, words: str | None) -> None:
    found = problems(new, measured(), CHECKS)
    assert bool(found) == (words is not None)
    assert words is None or words in found[0]


def test_a_slow_old_deployment_allows_as_many_times_its_latency() -> None:
    old = measured(p50=1.0)
    assert not problems(measured(p50=1.9, p95=1.95), old, CHECKS)
    assert problems(measured(p50=2.0001, p95=1.95), old, CHECKS)


def test_without_an_old_deployment_only_the_new_one_counts() -> None:
    assert not problems(measured(p50=1.9, p95=1.95), None, CHECKS)


@given(st.lists(st.floats(0, 100), min_size=1).map(sorted), st.floats(0.01, 1))
def test_a_quantile_is_one_of_the_values_and_large_enough(
    values: list[float], share: float
) -> None:
    found = quantile(values, share)
    assert found in [round(value, 4) for value in values]
    assert sum(value <= found + 1e-4 for value in values) >= share * len(values) - 1e-9


def test_a_step_is_a_row_of_the_table() -> None:
    step = ReleaseStep(share=0, mirrored=10, new=measured(), problems=("too slow",))
    (row,) = step_rows([step])
    assert row["step"] == "mirror 10 %"
    assert row["verdict"] == "too slow"
    assert row["old p50"] is None


@pytest.mark.parametrize("steps", [(), (50,), (50, 10, 100), (10, 10, 100), (0, 100), (100, 101)])
def test_steps_that_do_not_rise_to_100_are_refused(steps: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="steps"):
        ReleaseConfig(steps=steps)


@pytest.mark.parametrize("name", ["ab", "1abc", "under_score", "ends-", "a" * 33])
def test_an_endpoint_name_must_be_a_host_name(name: str) -> None:
    with pytest.raises(ValueError, match="endpoint"):
        ReleaseConfig(endpoint=name)
