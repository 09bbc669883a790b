"""Flow runs as processes of their own that start in a moment and may be killed at any time.

Every run is forked from one process that has all packages loaded. It is the real flow, in a real
process, with the real engine: only its imports are not repeated.
"""

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["benchmarks.preload"])

_REPORT = "its report: "

FAST: dict[str, Any] = {
    "model": {"accept_retired": True},
    "dataset": {"percent": 1.0},
    "parameters": {
        "max_steps": 1,
        "num_train_epochs": 1,
        "per_device_train_batch_size": 2,
        "per_device_eval_batch_size": 2,
        "max_seq_length": 32,
        "precision": "32",
    },
    "serving": {"max_new_tokens": 4},
    "poll_seconds": 0.2,
}
"""The real steps, one step of training."""


def fast(learning_rate: float, **settings: Any) -> dict[str, Any]:
    """A configuration of one training step. Every learning rate is a training of its own."""
    parameters = FAST["parameters"] | {"learning_rate": learning_rate}
    return {**FAST, "parameters": parameters, **settings}


@dataclass
class Fleet:
    """Starts runs. `environment` leads to Azure, `home` is theirs, `api` is Prefect's address."""

    environment: Mapping[str, str]
    home: Path
    api: str
    runs: list["Run"] = field(default_factory=list)

    def start(
        self, config: Mapping[str, Any], *, flow: str = "finetune", home: Path | None = None
    ) -> "Run":
        """Start a run of the flow with this configuration; `flow`: one of `_FLOWS`.

        The configuration of a release names its `model` too.
        """
        folder = home or self.home
        log = folder / "logs" / f"{len(self.runs):04d}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {
            **self.environment,
            "FINETUNE_HOME": str(folder),
            "PREFECT_API_URL": self.api,
        }
        process = _context.Process(target=_run, args=(flow, environment, dict(config), str(log)))
        process.start()
        run = Run(process, log)
        self.runs.append(run)
        return run

    def stop(self) -> None:
        """Kill what still runs."""
        for run in self.runs:
            run.kill()


@dataclass
class Run:
    """One run: its process and the file with what it printed."""

    process: ForkServerProcess
    log: Path

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self.process.is_alive() and self.process.pid:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()

    def send(self, number: int) -> None:
        if self.process.is_alive() and self.process.pid:
            os.kill(self.process.pid, number)

    def end(self, seconds: float = 120) -> int:
        """The exit code; a run that takes longer is killed and raises TimeoutError."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.kill()
            raise TimeoutError(f"a run did not end within {seconds:g} s:\n{self.text[-4000:]}")
        return self.process.exitcode or 0

    @property
    def is_alive(self) -> bool:
        return self.process.is_alive()

    @property
    def report(self) -> dict[str, Any]:
        """The report of a run that has completed."""
        path = self.text.rsplit(_REPORT, 1)[1].splitlines()[0]
        report: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        return report

    @property
    def run_key(self) -> str:
        """The run key of a run that has completed."""
        return str(self.report["plan"]["names"]["run_key"])

    @property
    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""


def _run(flow: str, environment: dict[str, str], config: dict[str, Any], log: str) -> None:
    """Runs in the forked process."""
    os.setsid()
    with open(log, "ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: environment["PREFECT_API_URL"]}):
        sys.exit(_run_flow(flow, config))


def _run_flow(flow: str, config: dict[str, Any]) -> int:
    from flows.command_line import ensure_default_block
    from tasks.errors import UserError

    ensure_default_block()
    try:
        print(_FLOWS[flow](config))
    except UserError as error:
        print(f"error: {error}")
        return 1
    return 0


def _finetune(config: dict[str, Any]) -> str:
    from flows.finetune import finetune
    from tasks.config import FinetuneConfig

    return f"{_REPORT}{finetune(FinetuneConfig.model_validate(config)).folder / 'report.json'}"


def _retrain(config: dict[str, Any]) -> str:
    from flows.retrain import retrain
    from tasks.retrain_config import RetrainConfig

    return f"{_REPORT}{retrain(RetrainConfig.model_validate(config)).folder / 'report.json'}"


def _release(config: dict[str, Any]) -> str:
    from flows.release import release
    from tasks.release_config import ReleaseConfig

    model = config.pop("model")
    return release(model, ReleaseConfig.model_validate(config)).model_dump_json()


def _sweep(config: dict[str, Any]) -> str:
    from flows.sweep import sweep

    report: Any = sweep(**config)
    return str(report.model_dump_json())


_FLOWS: dict[str, Callable[[dict[str, Any]], str]] = {
    "finetune": _finetune,
    "retrain": _retrain,
    "release": _release,
    "sweep": _sweep,
}
"""Each runs a flow with its settings and gives what is to be printed of it."""
