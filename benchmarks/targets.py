"""What is asked of the figures, and whether they reach it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Results = Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """One thing that is asked of the results of one benchmark."""

    part: str
    what: str
    asked: str
    value: Callable[[Any], float]
    is_reached: Callable[[float], bool]
    shown: str = "{:.2f}"


@dataclass(frozen=True)
class Outcome:
    """A target with what was measured."""

    part: str
    what: str
    asked: str
    measured: str
    reached: bool


def _way(result: Any, percent: float, way: str) -> Any:
    return next(e for e in result["ways"] if (e["percent"], e["way"]) == (percent, way))


def _ratio(percent: float, figure: str, *, flow_first: bool = True) -> Callable[[Any], float]:
    def value(result: Any) -> float:
        flow, notebook = (float(_way(result, percent, w)[figure]) for w in ("flow", "notebook"))
        return flow / notebook if flow_first else notebook / flow

    return value


def _grown(result: Any) -> float:
    """Megabytes more for the most rows than for the fewest."""
    peaks = [each["peak_megabytes"] for each in result["growth"]]
    return float(peaks[-1] - peaks[0])


def _waits(figure: str) -> Callable[[Any], float]:
    """The figure of a thousand waits."""
    return lambda r: float(next(each for each in r["waits"] if each["jobs"] == 1000)[figure])


def _each(result: Any) -> float:
    """Processor time per configuration, of a hundred against ten."""
    found = {e["configurations"]: e["processor_seconds"] for e in result["configurations"]}
    return float((found[100] / 100) / (found[10] / 10))


TARGETS = (
    Target(
        "data_path",
        "5 % of a dataset, times as fast as the notebook",
        "at least 8",
        _ratio(5.0, "seconds", flow_first=False),
        lambda value: value >= 8,
    ),
    Target(
        "data_path",
        "5 %: share of the bytes",
        "at most 0.20",
        _ratio(5.0, "megabytes_fetched"),
        lambda value: value <= 0.2,
    ),
    Target(
        "data_path",
        "100 %, rows a second against the notebook's",
        "at least 2.5",
        _ratio(100.0, "rows_per_second"),
        lambda value: value >= 2.5,
    ),
    Target(
        "data_path",
        "peak memory, MB",
        "below 300",
        lambda result: float(_way(result, 100.0, "flow")["peak_megabytes"]),
        lambda value: value < 300,
        "{:.0f}",
    ),
    Target(
        "data_path",
        "MB more for 200,000 rows than for 25,000",
        "flat",
        _grown,
        lambda value: value < 60,
        "{:.0f}",
    ),
    Target(
        "rehearsal",
        "make run, seconds",
        "at most 60",
        lambda result: float(result["seconds"]),
        lambda value: value <= 60,
        "{:.0f}",
    ),
    Target(
        "rehearsal",
        "fall of the evaluation loss",
        "at least 0.5",
        lambda result: min(r["loss_before"] - r["loss_after"] for r in result["runs"]),
        lambda value: value >= 0.5,
    ),
    Target(
        "makespan",
        "Azure's times at 1:100, against the notebook's cells",
        "at most 0.8",
        lambda result: float(result["ratio"]),
        lambda value: value <= 0.8,
    ),
    Target(
        "waiting",
        "1,000 jobs awaited, percent of one core",
        "at most 10",
        _waits("core_percent"),
        lambda value: value <= 10,
        "{:.1f}",
    ),
    Target(
        "waiting",
        "1,000 jobs awaited, MB",
        "at most 400",
        _waits("megabytes"),
        lambda value: value <= 400,
        "{:.0f}",
    ),
    Target(
        "waiting",
        "1,000 jobs awaited, requests a minute",
        "at most 20",
        _waits("requests_a_minute"),
        lambda value: value <= 20,
        "{:.1f}",
    ),
    Target(
        "waiting",
        "slowest reaction, in intervals",
        "at most 1",
        lambda r: max(each["slowest_reaction"] for each in r["waits"]) / float(r["interval"]),
        lambda value: value <= 1,
    ),
    Target(
        "waiting",
        "a day's wait, MB more at its end",
        "none",
        lambda r: float(r["day"]["megabytes_at_the_end"] - r["day"]["megabytes_after_an_hour"]),
        lambda value: value < 5,
        "{:.1f}",
    ),
    Target(
        "overhead",
        "import flows.finetune against import prefect",
        "below 1.5",
        lambda result: float(result["import_ratio"]),
        lambda value: value < 1.5,
    ),
    Target(
        "overhead",
        "the flow's own work, seconds",
        "below 5",
        lambda result: float(result["own_seconds"]),
        lambda value: value < 5,
        "{:.1f}",
    ),
    Target(
        "overhead",
        "first log line by a worker, seconds after a trivial flow's",
        "at most 2",
        lambda result: float(result["first_log_flow"] - result["first_log_trivial"]),
        lambda value: value <= 2,
        "{:.1f}",
    ),
    Target(
        "trainer",
        "tokens a second against a plain Trainer loop",
        "at least 1",
        lambda result: float(result["ratio"]),
        lambda value: value >= 1,
    ),
    Target(
        "trainer",
        "the same loss, apart",
        "at most 0.001",
        lambda result: float(result["losses_apart"]),
        lambda value: value <= 1e-3,
        "{:.1e}",
    ),
    Target(
        "configurations",
        "processor time per configuration, of 100 against 10",
        "at most 1.1",
        _each,
        lambda value: value <= 1.1,
    ),
)


def outcomes(results: Results) -> list[Outcome]:
    """The targets of the benchmarks that have results; those without their figures are left out."""
    found = []
    for target in TARGETS:
        try:
            value = target.value(results[target.part])
        except (KeyError, IndexError, StopIteration):
            continue
        found.append(
            Outcome(
                part=target.part,
                what=target.what,
                asked=target.asked,
                measured=target.shown.format(value),
                reached=target.is_reached(value),
            )
        )
    return found
