"""What the flow itself costs: its import, its own work in a run, its start by a worker.

    python -m benchmarks.overhead [--rounds 5]

- Importing `flows.finetune` against importing `prefect`: processor seconds of fresh interpreters,
  taking turns.
- A run that finds its training done: the seconds of its stages, of which job, deploy, ask and tear
  down wait for Azure and the rest is the flow's own. Prefect's server runs already.
- A run that a worker starts: from the request to the first log line, against a trivial flow.

Results go to .local/bench/overhead.json too.
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.prefect_server import prefect_server
from emulator.cli import running_emulator

RESULTS = Path(".local/bench/overhead.json")
ROOT = Path(__file__).parents[1]
OF_AZURE = ("job", "deploy", "ask", "tear down")
"""Stages that wait for Azure."""
_POOL = "overhead"
_SETTINGS = ["dataset.percent=5", "parameters.num_train_epochs=1"]


@dataclass(frozen=True)
class Figures:
    """Seconds; the import's are of the processor, medians of all rounds."""

    import_prefect: float
    import_flow: float
    import_ratio: float
    own_seconds: float
    stages: dict[str, float]
    first_log_trivial: float
    first_log_flow: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    prefect, flow = imports(options.rounds)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, _clouds(Path(name)) as to:
        stages = repeated_run(to)
        trivial, real = starts(to, options.rounds)
    own = sum(seconds for stage, seconds in stages.items() if stage not in OF_AZURE)
    figures = Figures(
        import_prefect=round(prefect, 2),
        import_flow=round(flow, 2),
        import_ratio=round(flow / prefect, 2),
        own_seconds=round(own, 1),
        stages=stages,
        first_log_trivial=round(trivial, 1),
        first_log_flow=round(real, 1),
    )
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(asdict(figures), indent=2) + "\n")
    show(figures)


def imports(rounds: int) -> tuple[float, float]:
    """Processor seconds to import prefect, and the flow."""
    spent: dict[str, list[float]] = {"prefect": [], "flows.finetune": []}
    for _ in range(rounds + 1):
        for module, seconds in spent.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, "-c", f"import {module}"], cwd=ROOT, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            seconds.append(used)
    # The first round reads files that the others find in memory.
    return (statistics.median(spent["prefect"][1:]), statistics.median(spent["flows.finetune"][1:]))


@contextmanager
def _clouds(folder: Path) -> Iterator[dict[str, str]]:
    """The environment that leads to a local Azure ML and a Prefect server of their own."""
    with running_emulator(folder / "azure") as config, prefect_server(folder / "prefect") as api:
        yield {
            **os.environ,
            **config.client_environment(),
            "PREFECT_API_URL": api,
            "PREFECT_WORKER_QUERY_SECONDS": "0.5",
            "FINETUNE_HOME": str(folder / "home"),
            "PYTHONPATH": str(ROOT),
        }


def repeated_run(environment: dict[str, str]) -> dict[str, float]:
    """The stages of a run whose training is done already."""
    arguments = ["--config", str(ROOT / "deployments" / "local.yaml")]
    for setting in _SETTINGS:
        arguments += ["--set", setting]
    for _ in range(2):
        command = [sys.executable, "-m", "flows.finetune", *arguments]
        subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True)
    report = Path(environment["FINETUNE_HOME"]) / "runs" / "latest" / "report.json"
    stages: dict[str, float] = json.loads(report.read_text())["seconds"]
    return stages


_TRIVIAL = """
from prefect import flow
from prefect.logging import get_run_logger

@flow(name="trivial")
def trivial() -> None:
    get_run_logger().info("here")
"""


def starts(environment: dict[str, str], rounds: int) -> tuple[float, float]:
    """Seconds from the request of a run to its first log line: of a trivial flow, of finetune."""
    folder = Path(environment["FINETUNE_HOME"])
    (folder / "trivial_flow.py").write_text(_TRIVIAL)
    os.environ.update({"PREFECT_API_URL": environment["PREFECT_API_URL"]})
    prefect = [sys.executable, "-m", "prefect"]
    subprocess.run(
        [*prefect, "work-pool", "create", _POOL, "--type", "process"],
        env=environment,
        check=True,
        capture_output=True,
    )
    worker = subprocess.Popen(
        [*prefect, "worker", "start", "--pool", _POOL],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        return asyncio.run(_starts(folder, rounds))
    finally:
        worker.kill()  # asked to end, it sometimes goes on waiting
        worker.wait()


async def _starts(folder: Path, rounds: int) -> tuple[float, float]:
    from prefect import flow
    from prefect.client.orchestration import get_client

    seconds: dict[str, list[float]] = {"trivial": [], "finetune": []}
    entries = {"trivial": (folder, "trivial_flow.py"), "finetune": (ROOT, "flows/finetune.py")}
    parameters: dict[str, dict[str, Any]] = {
        "trivial": {},
        "finetune": {"config": {"plan_only": True}},
    }
    async with get_client() as client:
        ids = {}
        for name, (source, file) in entries.items():
            loading: Any = flow.from_source(source=str(source), entrypoint=f"{file}:{name}")
            loaded = await loading
            ids[name] = await loaded.deploy(
                "overhead", work_pool_name=_POOL, build=False, push=False, print_next_steps=False
            )
        for _ in range(rounds + 1):
            for name, found in seconds.items():
                began = time.monotonic()
                run = await client.create_flow_run_from_deployment(
                    ids[name], parameters=parameters[name]
                )
                found.append(await _first_log(client, run.id) - began)
                await _until_over(client, run.id)
    return statistics.median(seconds["trivial"][1:]), statistics.median(seconds["finetune"][1:])


async def _first_log(client: Any, run_id: Any) -> float:
    """When the first line of the flow itself is there; the worker's own lines do not count."""
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

    wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id]))
    while True:
        lines = await client.read_logs(wanted)
        if any(line.name == "prefect.flow_runs" for line in lines):
            return time.monotonic()
        await asyncio.sleep(0.1)


async def _until_over(client: Any, run_id: Any) -> None:
    while not (await client.read_flow_run(run_id)).state.is_final():
        await asyncio.sleep(0.2)


def show(figures: Figures) -> None:
    table = Table("what", "measured", "asked for", title="What the flow itself costs")
    table.add_row(
        "import flows.finetune",
        f"{figures.import_flow} s, {figures.import_ratio} of import prefect",
        "under 1.5",
    )
    table.add_row("its own work in a run", f"{figures.own_seconds} s", "under 5 s")
    later = figures.first_log_flow - figures.first_log_trivial
    table.add_row(
        "from a request to the first log line",
        f"{figures.first_log_flow} s, a trivial flow {figures.first_log_trivial} s: {later:+.1f} s",
        "at most +2 s",
    )
    console = Console()
    console.print(table)
    told = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in figures.stages.items())
    console.print(f"Stages of a run whose training is done, in seconds: {told}.")


if __name__ == "__main__":
    main()
