"""The child processes of `make up`: seen when they die, gone when it ends."""

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from deployments.processes import Child, ChildDied, Ledger


def child(code: str, folder: Path, name: str = "server") -> Child:
    return Child(name, [sys.executable, "-c", code], os.environ, folder / "server.log")


def wait_for(file: Path, seconds: float = 10) -> str:
    deadline = time.monotonic() + seconds
    while not (file.exists() and file.read_text().endswith("\n")):
        assert time.monotonic() < deadline, f"{file} did not appear"
        time.sleep(0.02)
    return file.read_text().strip()


def gone(pid: int) -> bool:
    """Ended; who should take note of it may not have done so yet."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def with_grandchild(folder: Path) -> tuple[Child, int]:
    """A child that ignores polite signals and has a child of its own that does too."""
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); "
    code = (
        "import signal, subprocess, sys, time\n"
        f"inner = subprocess.Popen([sys.executable, '-c', {stubborn + 'time.sleep(60)'!r}],"
        " stdout=subprocess.PIPE)\n"
        "inner.stdout.readline()\n"
        f"open({str(folder / 'pid')!r}, 'w').write(str(inner.pid) + '\\n')\n"
        "time.sleep(60)"
    )
    started = child(code, folder)
    return started, int(wait_for(folder / "pid"))


def test_a_child_that_dies_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    broken = child("print('port 4200 is taken'); raise SystemExit(3)", tmp_path)
    with pytest.raises(ChildDied, match="server ended with exit code 3") as caught:
        broken.wait_until(lambda: False, seconds=10)
    assert "port 4200 is taken" in str(caught.value)


def test_a_killed_child_is_named_with_its_signal(tmp_path: Path) -> None:
    killed = child("import os; os.kill(os.getpid(), 9)", tmp_path)
    with pytest.raises(ChildDied, match="signal SIGKILL"):
        killed.wait_until(lambda: False, seconds=10)


def test_a_child_that_is_never_ready_is_named_with_its_log(tmp_path: Path) -> None:
    slow = child("import time; print('loading', flush=True); time.sleep(60)", tmp_path)
    wait_for(slow.log)
    try:
        with pytest.raises(TimeoutError, match="server was not ready") as caught:
            slow.wait_until(lambda: False, seconds=0.1)
    finally:
        slow.stop()
    assert "loading" in str(caught.value)


def test_stopping_ends_stubborn_grandchildren_too(tmp_path: Path) -> None:
    started, grandchild = with_grandchild(tmp_path)
    started.stop(seconds=5)
    assert gone(grandchild)
    assert gone(started.pid)


def test_the_ledger_ends_what_a_killed_parent_left_behind(tmp_path: Path) -> None:
    started, grandchild = with_grandchild(tmp_path)
    Ledger(tmp_path / "ledger.json").write([started])
    assert Ledger(tmp_path / "ledger.json").end_leftovers(seconds=1) == 2
    started.stop()
    assert gone(grandchild)
    assert Ledger(tmp_path / "ledger.json").end_leftovers() == 0


def test_the_ledger_spares_a_process_that_reuses_a_number(tmp_path: Path) -> None:
    other = child("import time; time.sleep(60)", tmp_path)
    ledger = tmp_path / "ledger.json"
    ledger.write_text(f"[[{other.pid}, 1.0]]")
    try:
        assert Ledger(ledger).end_leftovers() == 0
        other.check()
    finally:
        other.stop()
