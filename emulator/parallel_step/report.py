"""What a parallel step tells: lines in its log, and files under logs/ as Azure ML names them."""

from __future__ import annotations

import csv
import os
import threading
import time
from pathlib import Path
from typing import IO, TextIO

_COLUMNS = ("mini_batch_index", "items", "succeeded_items", "tries", "seconds")


class Report:
    """Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._files: dict[str, TextIO] = {}

    def say(self, line: str) -> None:
        """One line in the step's log and in logs/job_progress_overview.txt."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._print(f"[{stamp}] {line}\n".encode())
        self._append("job_progress_overview.txt", f"[{stamp}] {line}\n")

    def fail(self, reason: str) -> None:
        """The reason of the step's failure, as its last words."""
        self.say(reason)
        self._append("job_error.txt", reason + "\n")

    def result(self, text: str) -> None:
        """What became of all mini-batches."""
        self.say(text)
        self._append("job_result.txt", text + "\n")

    def batch(self, ended: str, row: tuple[object, ...]) -> None:
        """A mini-batch that was `processed` or has `failed`, for good."""
        name = f"sys/job_report/{ended}_mini-batches.csv"
        with self._lock:
            new = name not in self._files
            writer = csv.writer(self._open(name))
            if new:
                writer.writerow(_COLUMNS)
            writer.writerow(row)
            self._files[name].flush()

    def error(self, text: str) -> None:
        """An exception of the entry script."""
        self._print(text.encode())
        self._append("user/error.txt", text)

    def copy(self, stream: IO[bytes], kind: str, process: str) -> threading.Thread:
        """Copy what a worker prints, until it ends, to the step's log and to its own file."""
        thread = threading.Thread(target=self._copy, args=(stream, kind, process), daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        with self._lock:
            for file in self._files.values():
                file.close()
            self._files.clear()

    def _copy(self, stream: IO[bytes], kind: str, process: str) -> None:
        path = self._folder / "user" / kind / "0" / f"{process}.{kind}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            for line in stream:
                file.write(line)
                self._print(line)

    @staticmethod
    def _print(content: bytes) -> None:
        os.write(1, content)

    def _append(self, name: str, text: str) -> None:
        with self._lock:
            file = self._open(name)
            file.write(text)
            file.flush()

    def _open(self, name: str) -> TextIO:
        if name not in self._files:
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self._files[name] = path.open("a", encoding="utf-8", newline="")
        return self._files[name]
