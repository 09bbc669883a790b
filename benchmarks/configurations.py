"""How a comparison's cost grows with its configurations.

    python -m benchmarks.configurations [--counts 1 10 100]

Every configuration is a training of its own with one step, from the plan to the registered model,
some at once, in one process of the compare flow. Its trainings run on the same machine, in other
processes: the seconds are theirs too, the processor time and the memory are the flow's alone.
Results go to .local/bench/configurations.json too.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.fleet import FAST
from benchmarks.prefect_server import prefect_server
from emulator.cli import running_emulator
from emulator.control_client import Control

RESULTS = Path(".local/bench/configurations.json")
AT_ONCE = 8
_MB = 1 << 20


@dataclass(frozen=True)
class Figures:
    """One comparison. Seconds, processor seconds and megabytes (the most) of the flow's process."""

    configurations: int
    seconds: float
    processor_seconds: float
    megabytes: float
    requests: int
    """To Azure, all of them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 10, 100])
    options = parser.parse_args()
    found = [measure(count) for count in options.counts]
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    result = {"at_once": AT_ONCE, "configurations": [asdict(each) for each in found]}
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    show(found)


def measure(count: int) -> Figures:
    """Train that many on an empty workspace."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with running_emulator(folder / "azure") as config, prefect_server(folder / "p") as api:
            environment = {
                **config.client_environment(),
                "FINETUNE_HOME": str(folder / "home"),
                "PREFECT_LOGGING_LEVEL": "ERROR",
                "PREFECT_LOGGING_ROOT_LEVEL": "ERROR",
            }
            ours, theirs = multiprocessing.Pipe()
            process = multiprocessing.get_context("spawn").Process(
                target=_train, args=({**environment, "PREFECT_API_URL": api}, count, theirs)
            )
            process.start()
            theirs.close()
            try:
                figures: Figures = ours.recv()
            except EOFError as error:
                raise RuntimeError("the comparison failed; its log is above") from error
            finally:
                process.join()
    return figures


def _train(environment: dict[str, str], count: int, pipe: Connection) -> None:
    """Runs in the flow's process."""
    os.environ.update(environment)
    from prefect import flow

    from blocks.azureml import AzureMLWorkspace
    from flows.compare import train_all
    from tasks.compare_config import CompareConfig
    from tasks.compare_report import Entry

    AzureMLWorkspace().save("compared", overwrite=True, _sync=True)  # type: ignore[call-arg]
    variants = [
        {"name": f"v{number}", "parameters": {"learning_rate": 1e-3 + number * 1e-6}}
        for number in range(count)
    ]
    config = CompareConfig.model_validate({"base": FAST, "variants": variants, "at_once": AT_ONCE})

    entries: list[Entry] = []

    @flow
    def compared() -> None:
        entries.extend(train_all(config, "compared"))

    process, control = psutil.Process(), Control.of(Path(environment["AZUREML_EMULATOR_STATE"]))
    before, event, began = process.cpu_times(), control.last_event(), time.monotonic()
    compared()
    took, after = time.monotonic() - began, process.cpu_times()
    missing = [entry.name for entry in entries if entry.model is None]
    if missing:
        raise RuntimeError(f"no model of {', '.join(missing)}")
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024 / _MB
    used = after.user + after.system - before.user - before.system
    requests = control.last_event() - event
    pipe.send(Figures(count, round(took, 1), round(used, 1), round(peak, 1), requests))


def show(found: list[Figures]) -> None:
    columns = ("configurations", "seconds", "processor seconds", "peak MB", "requests")
    table = Table(*columns, title=f"A comparison, {AT_ONCE} trainings at once")
    for each in found:
        table.add_row(
            str(each.configurations),
            f"{each.seconds} ({each.seconds / each.configurations:.1f} each)",
            f"{each.processor_seconds} ({each.processor_seconds / each.configurations:.1f} each)",
            str(each.megabytes),
            f"{each.requests} ({each.requests / each.configurations:.0f} each)",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
