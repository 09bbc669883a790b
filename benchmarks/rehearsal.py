"""A whole rehearsal, from the command to its end, and where the time goes.

    python -m benchmarks.rehearsal [--rounds 2]

What `make run` does after installation: the local Azure ML, Prefect's server and the flow are
started, the model is fine-tuned, deployed, asked and torn down, and all is stopped. Every round has
empty folders, so that nothing is adopted. Results go to .local/bench/rehearsal.json too.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

RESULTS = Path(".local/bench/rehearsal.json")
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Figures:
    """One rehearsal, in seconds."""

    seconds: float
    stages: dict[str, float]
    """Of the flow; the rest is starting and stopping."""
    loss_before: float
    loss_after: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    runs = [measure() for _ in range(options.rounds)]
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    median = statistics.median(run.seconds for run in runs)
    result = {"seconds": round(median, 1), "runs": [asdict(run) for run in runs]}
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    show(runs)


def measure() -> Figures:
    """One rehearsal with folders of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")} | {
            "AZUREML_EMULATOR_STATE": str(folder / "azure"),
            "FINETUNE_HOME": str(folder / "home"),
            "HF_HOME": str(folder / "huggingface"),
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }
        emulator = Path(sys.executable).with_name("azureml-emulator")
        flow = [sys.executable, "-m", "flows.finetune", "--config", "deployments/local.yaml"]
        began = time.monotonic()
        done = subprocess.run(
            [emulator, "exec", "--", *flow],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        seconds = time.monotonic() - began
        if done.returncode:
            sys.exit(f"The rehearsal failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        report = json.loads((folder / "home" / "runs" / "latest" / "report.json").read_text())
    losses = [point["value"] for point in report["metrics"]["curves"]["eval_loss"]]
    return Figures(round(seconds, 1), report["seconds"], losses[0], min(losses))


def show(runs: list[Figures]) -> None:
    console = Console()
    for run in runs:
        inside = sum(run.stages.values())
        stages = ", ".join(f"{name} {each:.1f}" for name, each in run.stages.items())
        console.print(
            f"{run.seconds:.1f} s: starting and stopping {run.seconds - inside:.1f}, {stages}; "
            f"evaluation loss {run.loss_before:.3f} to {run.loss_after:.3f}"
        )


if __name__ == "__main__":
    main()
