"""Child processes that live as long as `make up` does."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

TERM_SECONDS = 20.0


class ChildDied(RuntimeError):
    """A child ended by itself; the text names it and shows the end of its log."""


class Child:
    """One process in a session of its own, with everything that it prints in one log file."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started = time.monotonic()
        self._family: list[psutil.Process] = []

    @property
    def pid(self) -> int:
        return self._process.pid

    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._started

    def family(self) -> list[psutil.Process]:
        """The process and all that it started; remembered, for the day when it is killed."""
        if family := _family(self.pid):
            self._family = family
        return family

    def left_behind(self) -> list[psutil.Process]:
        """What it had started when it was last looked at, and still runs after its end."""
        return [
            process for process in self._family if process.pid != self.pid and process.is_running()
        ]

    def ended(self) -> str | None:
        """How the process ended, as "exit code 3" or "signal SIGKILL"; None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"

    def check(self) -> None:
        """Raise ChildDied when the process has ended."""
        if reason := self.ended():
            raise ChildDied(
                f"{self.name} ended with {reason}. The end of {self.log}:\n{tail(self.log)}"
            )

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait for `ready`; raises ChildDied, or TimeoutError with the end of the log."""
        deadline = time.monotonic() + seconds
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{self.name} was not ready after {seconds:.0f} s. "
                    f"The end of {self.log}:\n{tail(self.log)}"
                )
            time.sleep(0.3)

    def stop(self, seconds: float = TERM_SECONDS) -> None:
        """End the process and all that it started: politely, then, after `seconds`, by force."""
        family = _family(self.pid)
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        end(family)


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log file, indented."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])


def _family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def end(processes: Sequence[psutil.Process], seconds: float = 5.0) -> None:
    """Terminate what still runs of `processes`; kill what does not end within `seconds`."""
    for process in processes:
        if process.is_running():
            _signal(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    for process in alive:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=seconds)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


class Ledger:
    """Which processes were started, on disk: what a killed `make up` left behind can be ended."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def write(self, children: Sequence[Child], others: Sequence[psutil.Process] = ()) -> None:
        families = [process for child in children for process in child.family()]
        entries = []
        for process in (*families, *others):
            with suppress(psutil.NoSuchProcess):
                entries.append([process.pid, process.create_time()])
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(entries))
        os.replace(part, self._file)

    def end_leftovers(self, seconds: float = TERM_SECONDS) -> int:
        """End what the ledger names and still runs; returns how many processes those were."""
        if not self._file.exists():
            return 0
        left = []
        for pid, started in json.loads(self._file.read_text()):
            try:
                process = psutil.Process(pid)
            except psutil.NoSuchProcess:
                continue
            # A process number is used again: the start time tells another process from ours.
            if abs(process.create_time() - started) < 0.01:
                left += [process, *process.children(recursive=True)]
        left = list(dict.fromkeys(left))
        end(left, seconds)
        self._file.unlink()
        return len(left)
