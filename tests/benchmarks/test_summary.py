"""What `make bench` makes of the results of its parts."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.pictures import draw
from benchmarks.targets import TARGETS, outcomes


def data_path(speed: float) -> dict[str, Any]:
    def way(percent: float, name: str, seconds: float) -> dict[str, Any]:
        return {
            "percent": percent,
            "way": name,
            "seconds": seconds,
            "rows_per_second": 1000 / seconds,
            "megabytes_fetched": 10 * seconds,
            "peak_megabytes": 200,
        }

    ways = [way(5.0, "notebook", speed), way(5.0, "flow", 1)]
    ways += [way(100.0, "notebook", speed), way(100.0, "flow", 1)]
    growth = [
        {"rows_of_dataset": 10**n, "seconds": n, "peak_megabytes": 200, "megabytes_fetched": n}
        for n in (3, 4)
    ]
    return {"ways": ways, "growth": growth}


@pytest.mark.parametrize(("speed", "reached"), [(9.0, True), (7.0, False)])
def test_a_target_is_reached_or_missed(speed: float, reached: bool) -> None:
    found = {each.what: each for each in outcomes({"data_path": data_path(speed)})}
    fast = found["5 % of a dataset, times as fast as the notebook"]
    assert (fast.measured, fast.reached) == (f"{speed:.2f}", reached)
    assert found["MB more for 200,000 rows than for 25,000"].reached


def test_figures_that_were_not_measured_are_left_out() -> None:
    waits = [{"jobs": 10, "core_percent": 1, "slowest_reaction": 20}]
    found = outcomes({"waiting": {"waits": waits, "interval": 15}, "makespan": {"ratio": 0.9}})
    assert [(each.part, each.reached) for each in found] == [
        ("makespan", False),
        ("waiting", False),
    ]
    assert {target.part for target in TARGETS} > {"trainer", "rehearsal"}


def test_each_growth_is_a_picture(tmp_path: Path) -> None:
    one = {"waits": [{"jobs": 1}]}
    (picture,) = draw({"data_path": data_path(9), "waiting": one, "overhead": {}}, tmp_path)
    assert picture == tmp_path / "data_path.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
