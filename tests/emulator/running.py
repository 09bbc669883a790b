"""Starting the emulator as its users do: as a process, by its command."""

import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from emulator.compute.unwatched import AT_ONCE, SWITCH

ROOT = Path(__file__).parents[2]


@dataclass
class RunningEmulator:
    """An emulator process and the environment that leads a client to it."""

    state: Path
    environment: dict[str, str]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `azureml-emulator ARGUMENTS` for this emulator's state folder."""
        return emulator_command(*arguments, state=self.state)


def emulator_command(*arguments: str, state: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "emulator", *arguments],
        cwd=ROOT,
        env={**os.environ, "AZUREML_EMULATOR_STATE": str(state)},
        capture_output=True,
        text=True,
        timeout=300,
    )


class StartedEmulator:
    """An emulator started for a state folder; a context manager that stops it."""

    def __init__(self, state: Path, *options: str, **variables: str) -> None:
        self._state = state
        self._options = options
        self._variables = {SWITCH: AT_ONCE, **variables}

    def __enter__(self) -> RunningEmulator:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AZUREML_")}
        environment |= self._variables
        self._state.mkdir(parents=True, exist_ok=True)
        # One that was killed leaves its file behind.
        (self._state / "ready").unlink(missing_ok=True)
        with (self._state / "stderr.log").open("w") as errors:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "emulator",
                    "start",
                    "--state",
                    str(self._state),
                    *self._options,
                ],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        deadline = time.monotonic() + 60
        while not (self._state / "ready").exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail((self._state / "stderr.log").read_text() or "emulator did not start")
            time.sleep(0.05)
        lines = emulator_command("env", state=self._state).stdout.splitlines()
        pairs = (line.partition("=") for line in lines)
        return RunningEmulator(
            self._state, {name: shlex.split(value)[0] for name, _, value in pairs}
        )

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
