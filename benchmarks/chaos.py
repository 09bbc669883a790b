"""make chaos: runs are killed at random and started again until they end, and then it is counted.

    python -m benchmarks.chaos [--rounds 200] [--lanes 4] [--seed 0]

Each round is a training of its own, with the real steps and one step of training.
"""

import argparse
import json
import os
import random
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.fleet import Run
from benchmarks.prefect_server import WITHOUT_EVENTS, prefect_server
from benchmarks.rig import Left, Rig, rig

LIFE_SECONDS = 3.0
"""A run is killed after a random part of this; the next one gets as much more, and so on."""
MOST_KILLS = 2
RESULTS = Path(".local/chaos/chaos.json")


@dataclass
class Figures:
    """What is counted. All but the first two have one right value."""

    rounds: int
    kills: int
    most_jobs_per_run_key: int
    endpoints_left: int
    models_lost: int
    models_twice: int
    runs_that_did_not_end: int
    seconds: float

    @property
    def are_right(self) -> bool:
        """One job a training, nothing left, nothing lost, everything ended."""
        faults = self.endpoints_left + self.models_lost + self.models_twice
        return self.most_jobs_per_run_key == 1 and not faults and not self.runs_that_did_not_end


@dataclass
class Round:
    """How one training went. `run_key`: "" for one that did not end well."""

    kills: int
    run_key: str = ""
    said: str = ""


def one_round(cloud: Rig, number: int, seed: int, stop: threading.Event) -> Round:
    """Start the training, kill it, start it again, until it ends by itself."""
    dice = random.Random(f"{seed}/{number}")
    config = cloud.config(number)
    most = dice.randint(1, MOST_KILLS)
    for kills in range(most + 1):
        run = cloud.start(config)
        # The last one may live, or a slow machine would never see an end.
        life = LIFE_SECONDS * (1 + kills) * dice.random() if kills < most else 300.0
        if not _ends(run, life, stop):
            run.kill()
            if stop.is_set():
                break
            continue
        if run.end() != 0:
            return Round(kills, said=run.text[-2000:])
        return Round(kills, run.run_key)
    return Round(most, said="it was never left alone")


def _ends(run: Run, seconds: float, stop: threading.Event) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not stop.is_set():
        if not run.is_alive:
            return True
        time.sleep(0.02)
    return False


def chaos(cloud: Rig, rounds: int, lanes: int, seed: int, console: Console) -> Figures:
    """Play all rounds, sweep, and count."""
    started, stop = time.monotonic(), threading.Event()
    columns = (TextColumn("rounds"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(lanes) as pool:
        bar = progress.add_task("rounds", total=rounds)

        def play(number: int) -> Round:
            done = one_round(cloud, number, seed, stop)
            progress.advance(bar)
            return done

        try:
            played = list(pool.map(play, range(rounds)))
        finally:
            stop.set()
    for index, played_round in enumerate(played):
        if not played_round.run_key:
            console.print(f"round {index} did not end well: {played_round.said}", markup=False)
    sweep = cloud.start({"workspace": "default", "dry_run": False}, flow="sweep")
    if sweep.end(300) != 0:
        console.print(f"the sweep failed: {sweep.text[-2000:]}", markup=False)
    return _count(played, cloud.left(), time.monotonic() - started)


def _count(played: Sequence[Round], left: dict[str, Left], seconds: float) -> Figures:
    ended = [each.run_key for each in played if each.run_key]
    return Figures(
        rounds=len(played),
        kills=sum(each.kills for each in played),
        most_jobs_per_run_key=max((len(each.jobs) for each in left.values()), default=0),
        endpoints_left=sum(each.endpoints for each in left.values()),
        models_lost=sum(left.get(key, Left()).models == 0 for key in ended),
        models_twice=sum(each.models > 1 for each in left.values()),
        runs_that_did_not_end=len(played) - len(ended),
        seconds=round(seconds, 1),
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--lanes", type=int, default=2 * (os.cpu_count() or 1))
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same kills")
    options = parser.parse_args()
    console = Console()
    with (
        tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as folder,
        prefect_server(Path(folder) / "prefect", **WITHOUT_EVENTS) as api,
        rig(Path(folder), api) as cloud,
    ):
        figures = chaos(cloud, options.rounds, options.lanes, options.seed, console)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(asdict(figures), indent=2) + "\n", encoding="utf-8")
    table = Table("", "", title="chaos", show_header=False)
    for name, value in asdict(figures).items():
        table.add_row(name.replace("_", " "), str(value))
    console.print(table)
    return 0 if figures.are_right else 1


if __name__ == "__main__":
    raise SystemExit(main())
