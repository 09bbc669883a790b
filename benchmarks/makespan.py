"""From the first line to the last: the flow against the notebook's cells, one after another.

    python -m benchmarks.makespan [--scale 100] [--rounds 2]

Both train the same model on the same rows with the same parameters, on a local Azure ML whose
clusters, jobs, endpoints and deployments take a hundredth of what Azure usually takes (`DURATIONS`,
in seconds, assumed). Prefect's server runs already, as it does for scheduled runs. The two take
turns, each on an empty workspace. Results go to .local/bench/makespan.json too.
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
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.prefect_server import prefect_server
from emulator.cli import running_emulator
from emulator.config import Config
from emulator.control_client import Control

RESULTS = Path(".local/bench/makespan.json")
ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "tests" / "emulator" / "notebook"
DURATIONS = {
    "computes": {"Creating": 60.0},
    "jobs": {"Queued": 300.0, "Preparing": 240.0, "Finalizing": 60.0},
    "endpoints": {"Creating": 90.0, "Updating": 30.0, "Deleting": 60.0},
    "deployments": {"Creating": 600.0, "Deleting": 120.0},
}
"""Seconds that Azure usually takes; a step's own work is real and not scaled."""
NOTEBOOK_SETTINGS = [
    "parameters.num_train_epochs=1",
    "parameters.per_device_train_batch_size=4",
    "parameters.per_device_eval_batch_size=8",
    "parameters.max_seq_length=128",
    "dataset.percent=5",
]
"""What the notebook trains with."""


@dataclass(frozen=True)
class Rig:
    config: Config
    folder: Path
    environment: dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=100)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with running_emulator(folder / "azure") as config, prefect_server(folder / "p") as api:
            environment = {**os.environ, **config.client_environment(), "PREFECT_API_URL": api}
            rig = Rig(config, folder, environment)
            control = Control(config)
            seconds: dict[str, list[float]] = {"notebook": [], "flow": []}
            stages: dict[str, float] = {}
            for number in range(options.rounds):
                for kind in seconds:
                    prepare(control, options.scale)
                    began = time.monotonic()
                    if kind == "notebook":
                        run_notebook(rig, number)
                    else:
                        stages = run_flow(rig, number)
                    seconds[kind].append(time.monotonic() - began)
    medians = {kind: statistics.median(each) for kind, each in seconds.items()}
    result = {
        "scale": options.scale,
        "durations": DURATIONS,
        "seconds": seconds,
        "ratio": round(medians["flow"] / medians["notebook"], 2),
        "stages": stages,
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    show(medians, stages)


def prepare(control: Control, scale: float) -> None:
    """An empty workspace on which everything takes its time."""
    control.reset()
    for kind, states in DURATIONS.items():
        seconds = {state: each / scale for state, each in states.items()}
        control.transition(kind, mode="timed", seconds=seconds, states=list(states))


def run_notebook(rig: Rig, number: int) -> None:
    """The published cells, in their order, in one process."""
    folder = rig.folder / f"notebook-{number}"
    folder.mkdir()
    for file in NOTEBOOK.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    workspace = {
        "subscription_id": rig.config.subscription,
        "resource_group": rig.config.resource_group,
        "workspace_name": rig.config.workspace,
    }
    (folder / "config.json").write_text(json.dumps(workspace))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    _run(["finetune_notebook.py"], rig.environment | {"PATH": path}, folder)


def run_flow(rig: Rig, number: int) -> dict[str, float]:
    """The flow by its command; the seconds of its stages."""
    home = rig.folder / f"flow-{number}"
    arguments = ["-m", "flows.finetune", "--config", str(ROOT / "deployments" / "local.yaml")]
    for setting in NOTEBOOK_SETTINGS:
        arguments += ["--set", setting]
    _run(arguments, rig.environment | {"FINETUNE_HOME": str(home)}, ROOT)
    report = json.loads((home / "runs" / "latest" / "report.json").read_text())
    stages: dict[str, float] = report["seconds"]
    return stages


def _run(arguments: list[str], environment: dict[str, str], folder: Path) -> None:
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=900
    )
    if done.returncode:
        raise RuntimeError(f"{arguments} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


def show(medians: dict[str, float], stages: dict[str, float]) -> None:
    table = Table("who", "seconds", "ratio", title="One model, from the first line to the last")
    table.add_row("the notebook's cells", f"{medians['notebook']:.1f}", "1")
    ratio = medians["flow"] / medians["notebook"]
    table.add_row("the flow", f"{medians['flow']:.1f}", f"{ratio:.2f}")
    console = Console()
    console.print(table)
    told = ", ".join(f"{name} {each:.1f}" for name, each in stages.items())
    console.print(f"The flow's stages, in seconds: {told}.")


if __name__ == "__main__":
    main()
