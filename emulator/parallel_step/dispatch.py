"""Handing mini-batches to worker processes: retries, timeouts, and what may fail."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from emulator.parallel_step.batches import Batch
from emulator.parallel_step.processes import TimedOut, Worker, WorkerLost
from emulator.parallel_step.report import Report


class StepFailed(Exception):
    """Why the step has failed as a whole."""


@dataclass(frozen=True)
class Settings:
    """What a parallel step is told. Limits of -1 let everything fail."""

    entry_script: str
    arguments: list[str]
    dataset: str
    processes: int
    tries: int
    timeout: float
    """Seconds of one call of run()."""
    failed_batches: int
    failed_items: int
    failed_percent: float
    logging_level: str


def dispatch(settings: Settings, batches: list[Batch], report: Report, scratch: Path) -> None:
    """Run all mini-batches. Raises StepFailed when more went wrong than the settings let."""
    count = min(settings.processes, len(batches))
    work = _Work(settings, batches, report, scratch)
    threads = [threading.Thread(target=work.serve, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    work.judge()


class _Work:
    """The mini-batches that are left, and what became of the others."""

    def __init__(
        self, settings: Settings, batches: list[Batch], report: Report, scratch: Path
    ) -> None:
        self._settings = settings
        self._total = len(batches)
        self._report = report
        self._scratch = scratch
        self._queue: queue.SimpleQueue[Batch] = queue.SimpleQueue()
        for batch in batches:
            self._queue.put(batch)
        self._lock = threading.Lock()
        self._processed = self._failed = self._failed_items = 0
        self._broken: str | None = None

    def serve(self, number: int) -> None:
        """One worker's mini-batches, one after the other; a lost worker is replaced."""
        worker: Worker | None = None
        try:
            while self._broken is None:
                try:
                    batch = self._queue.get_nowait()
                except queue.Empty:
                    break
                worker = self._tried(worker, number, batch)
            if worker is not None and self._broken is None:
                worker.close()
                worker = None
        except Exception as error:  # a thread's exception would be lost
            self._broken = self._broken or str(error)
        finally:
            if worker is not None:
                worker.kill()

    def _tried(self, worker: Worker | None, number: int, batch: Batch) -> Worker | None:
        request = {
            **asdict(batch),
            "dataset": self._settings.dataset,
            "rows": str(self._scratch / f"{batch.index}.rows"),
        }
        start = time.monotonic()
        tries = 0
        while tries < self._settings.tries and self._broken is None:
            if worker is None:
                worker = Worker.start(self._settings, number, self._report)
            tries += 1
            try:
                returned, error = worker.run(request, self._settings.timeout)
            except (TimedOut, WorkerLost) as lost:
                returned, error = None, f"{lost}\n"
                worker.kill()
                worker = None
            if returned is not None:
                self._ended(batch, returned, tries, time.monotonic() - start)
                return worker
            self._report.error(f"Mini-batch {batch.index}, try {tries}: {error}")
        if self._broken is None:
            self._ended(batch, None, tries, time.monotonic() - start)
        return worker

    def _ended(self, batch: Batch, returned: int | None, tries: int, seconds: float) -> None:
        """Count a mini-batch; `returned` is None where no try succeeded."""
        lacking = max(0, batch.size - (returned or 0))
        # Without a limit on items a script may return nothing for what it has done.
        short = returned is not None and lacking > 0 and self._settings.failed_items >= 0
        failed = returned is None or short
        row = (batch.index, batch.size, batch.size - lacking, tries, f"{seconds:.3f}")
        self._report.batch("failed" if failed else "processed", row)
        with self._lock:
            self._processed += 1
            self._failed += failed
            self._failed_items += lacking if failed else 0
            word = "failed" if failed else "processed"
            self._report.say(
                f"Mini-batch {batch.index} {word}: {batch.size - lacking} of {batch.size} item(s) "
                f"returned, {tries} tr{'y' if tries == 1 else 'ies'}, {seconds:.2f} s. "
                f"{self._processed} of {self._total} mini-batch(es) done, {self._failed} failed."
            )
            self._broken = self._broken or self._too_many()

    def _too_many(self) -> str | None:
        settings = self._settings
        if 0 <= settings.failed_batches < self._failed:
            return (
                f"{self._failed} mini-batch(es) failed; mini_batch_error_threshold lets "
                f"{settings.failed_batches} fail. See logs/user/error.txt."
            )
        if 0 <= settings.failed_items < self._failed_items:
            return (
                f"{self._failed_items} item(s) failed; error_threshold lets "
                f"{settings.failed_items} fail. See logs/user/error.txt."
            )
        if self._failed * 100 > settings.failed_percent * self._total:
            return (
                f"{self._failed} of {self._total} mini-batch(es) failed; allowed_failed_percent "
                f"lets {settings.failed_percent:g} % fail. See logs/user/error.txt."
            )
        return None

    def judge(self) -> None:
        """Tell what became of all; raise StepFailed if that is too little."""
        self._report.result(
            f"Mini-batches: {self._total}, processed {self._processed - self._failed}, "
            f"failed {self._failed}, not begun {self._total - self._processed}. "
            f"Failed items: {self._failed_items}."
        )
        if self._broken is not None:
            raise StepFailed(self._broken)
