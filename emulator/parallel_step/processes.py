"""One worker process from the side of the step."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulator.parallel_step.report import Report

if TYPE_CHECKING:
    from emulator.parallel_step.dispatch import Settings

_INIT_SECONDS = 600.0
"""How long init() may take, as Azure ML's default for the start of the first task."""

_END_SECONDS = 60.0


class TimedOut(Exception):
    """A call of run() took longer than retry_settings.timeout."""


class WorkerLost(Exception):
    """A worker ended while it worked."""


class Worker:
    """A process with the entry script loaded, which takes one mini-batch at a time."""

    def __init__(
        self, process: subprocess.Popen[bytes], answers: int, copies: list[threading.Thread]
    ) -> None:
        self._process = process
        self._answers = answers
        self._copies = copies
        self._rest = b""

    @classmethod
    def start(cls, settings: Settings, number: int, report: Report) -> Worker:
        """Start a process and wait for its init(). Raises RuntimeError when that fails."""
        answers, other = os.pipe()
        script = str(Path(__file__).with_name("worker.py"))
        process = subprocess.Popen(
            [
                sys.executable,
                script,
                str(other),
                settings.entry_script,
                settings.logging_level,
                *settings.arguments,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(other,),
        )
        os.close(other)
        assert process.stdout is not None
        assert process.stderr is not None
        name = f"process{number:03}"
        copies = [
            report.copy(process.stdout, "stdout", name),
            report.copy(process.stderr, "stderr", name),
        ]
        worker = cls(process, answers, copies)
        try:
            answer = worker._answer(_INIT_SECONDS)
        except (TimedOut, WorkerLost) as error:
            worker.kill()
            raise RuntimeError(f"The entry script did not finish init(): {error}") from error
        if "error" in answer:
            worker.kill()
            report.error(answer["error"])
            last = answer["error"].rstrip().rpartition("\n")[2]
            raise RuntimeError(f"The entry script failed in init(): {last}")
        return worker

    def run(self, request: dict[str, Any], seconds: float) -> tuple[int | None, str]:
        """Give it one mini-batch: the number of items that run() returned, or its error."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerLost("The worker process ended.") from None
        answer = self._answer(seconds)
        return answer.get("returned"), str(answer.get("error", ""))

    def close(self) -> None:
        """Let it call shutdown() and end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for thread in self._copies:
            thread.join(1.0)
        if self._answers >= 0:
            os.close(self._answers)
            self._answers = -1

    def _answer(self, seconds: float) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise TimedOut(f"It took longer than {seconds:g} seconds.")
            content = os.read(self._answers, 1 << 16)
            if not content:
                raise WorkerLost("The worker process ended.")
            self._rest += content
        line, _, self._rest = self._rest.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found
