"""From the hub to checked JSON Lines: the flow's way against the notebook's.

    python -m benchmarks.data_path [--rows 26000] [--growth 25000 50000 100000 200000]

The notebook's way is `load_dataset(split="x[0%:5%]")` for every split, then `to_json`; the flow's
is `tasks.data.prepare_data`, with its checks and hashes, for the three splits that it uses. Each in
a fresh process with an empty cache, taking turns, against a local hub on the same machine; imports
are not counted. The flow's process imports `flows` first, as every run of it does: garbage is then
collected less often. Results go to .local/bench/data_path.json too.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.chat_dataset import NAME, make_dataset
from deployments.surroundings import free_port

RESULTS = Path(".local/bench/data_path.json")
DATASETS = Path(".local/bench/hub")
ROOT = Path(__file__).parents[1]

_NOTEBOOK = f"""
import json, resource, sys, time
from pathlib import Path
from datasets import get_dataset_split_names, load_dataset
folder, percent = Path(sys.argv[1]), float(sys.argv[2])
began, rows = time.monotonic(), 0
for split in get_dataset_split_names({NAME!r}):
    part = load_dataset({NAME!r}, split=f"{{split}}[0%:{{percent:g}}%]")
    part.to_json(folder / f"{{split}}.jsonl")
    rows += part.num_rows
seconds = time.monotonic() - began
print(json.dumps([seconds, rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""
_FLOW = f"""
import json, resource, sys, time
from pathlib import Path
import flows
import pyarrow.parquet
from huggingface_hub import HfApi, get_session, hf_hub_url, try_to_load_from_cache
from tasks.config import DatasetChoice
from tasks.data import prepare_data
folder, percent = Path(sys.argv[1]), float(sys.argv[2])
began = time.monotonic()
made = prepare_data(DatasetChoice(name={NAME!r}, percent=percent), folder)
seconds = time.monotonic() - began
rows = sum(each.rows_read for each in (made.train, made.test, made.sample))
print(json.dumps([seconds, rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""
WAYS = {"notebook": _NOTEBOOK, "flow": _FLOW}


@dataclass(frozen=True)
class Figures:
    """What one way took; medians of the rounds."""

    rows_of_dataset: int
    percent: float
    way: str
    seconds: float
    rows_per_second: float
    megabytes_fetched: float
    peak_megabytes: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=26_000, help="of the dataset, all splits")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--growth", type=int, nargs="*", default=[])
    options = parser.parse_args()
    found = []
    for percent in (5.0, 100.0):
        found += measure(options.rows, percent, options.rounds, list(WAYS))
    grown = [measure(rows, 100.0, 1, ["flow"])[0] for rows in options.growth]
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    result = {"ways": [asdict(each) for each in found], "growth": [asdict(each) for each in grown]}
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    show(found, grown)


@contextmanager
def _hub(rows: int) -> Iterator[str]:
    """A hub with a dataset of that many rows; gives its address."""
    folder, port = make_dataset(DATASETS, rows), free_port(0)
    command = [sys.executable, "-m", "benchmarks.hub_server", str(folder), str(port)]
    hub = subprocess.Popen(command, cwd=ROOT)
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                # Its first look at a dataset hashes the files.
                httpx.get(f"{address}/api/datasets/{NAME}", trust_env=False, timeout=60)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield address
    finally:
        hub.terminate()
        hub.wait()


def measure(rows: int, percent: float, rounds: int, ways: list[str]) -> list[Figures]:
    """Each way, in turns, from an empty cache."""
    runs: dict[str, list[tuple[float, float, float, float]]] = {way: [] for way in ways}
    with _hub(rows) as address:
        for _ in range(rounds):
            for way, found in runs.items():
                found.append(_run(way, address, percent))
    return [
        Figures(
            rows_of_dataset=rows,
            percent=percent,
            way=way,
            seconds=round(statistics.median(run[0] for run in found), 2),
            rows_per_second=round(statistics.median(run[1] / run[0] for run in found)),
            megabytes_fetched=round(statistics.median(run[2] for run in found) / 1e6, 1),
            peak_megabytes=round(statistics.median(run[3] for run in found) / 1024, 1),
        )
        for way, found in runs.items()
    ]


def _run(way: str, address: str, percent: float) -> tuple[float, float, float, float]:
    """Seconds, rows, bytes fetched, peak kB."""
    folder = Path(tempfile.mkdtemp(prefix="data-path-"))
    environment = {
        **os.environ,
        "HF_HOME": str(folder / "cache"),
        "HF_ENDPOINT": address,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": str(ROOT),
    }
    before = int(httpx.get(f"{address}/bench/bytes", trust_env=False).text)
    try:
        done = subprocess.run(
            [sys.executable, "-c", WAYS[way], str(folder), str(percent)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds, rows, peak = json.loads(done.stdout.splitlines()[-1])
    fetched = int(httpx.get(f"{address}/bench/bytes", trust_env=False).text) - before
    return seconds, rows, fetched, peak


def show(found: list[Figures], grown: list[Figures]) -> None:
    console = Console()
    columns = ("share", "way", "seconds", "rows/s", "MB fetched", "peak MB")
    title = f"Hub to JSON Lines, a dataset of {found[0].rows_of_dataset:,} rows"
    table = Table(*columns, title=title)
    for each in found:
        table.add_row(
            f"{each.percent:g} %",
            each.way,
            str(each.seconds),
            f"{each.rows_per_second:,.0f}",
            str(each.megabytes_fetched),
            str(each.peak_megabytes),
        )
    console.print(table)
    few, all_rows = found[:2], found[2:]
    console.print(
        f"At 5 %: {few[0].seconds / few[1].seconds:.1f} times as fast, "
        f"{few[1].megabytes_fetched / few[0].megabytes_fetched:.2f} of the bytes. At 100 %: "
        f"{all_rows[1].rows_per_second / all_rows[0].rows_per_second:.1f} times the rows a second."
    )
    for each in grown:
        console.print(
            f"{each.rows_of_dataset:,} rows: {each.seconds} s, {each.rows_per_second:,.0f} rows/s, "
            f"peak {each.peak_megabytes} MB"
        )


if __name__ == "__main__":
    main()
