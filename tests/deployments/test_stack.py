"""What `make up` does when one of its processes cannot be put right."""

import os
import sys
from pathlib import Path

import pytest
from rich.console import Console

from deployments import stack
from deployments.processes import Child
from deployments.stack import SERVER, WORKER, Stack, UpError


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack in a folder of its own, with nothing started."""
    (tmp_path / "up").mkdir()
    monkeypatch.setattr(stack, "FOLDER", tmp_path / "up")
    monkeypatch.setenv("AZUREML_EMULATOR_STATE", str(tmp_path / "emulator"))
    return Stack(Console(quiet=True))


def killed(name: str, folder: Path) -> Child:
    """A process that kills itself at once."""
    code = "import os; os.kill(os.getpid(), 9)"
    return Child(name, [sys.executable, "-c", code], os.environ, folder / f"{name}.log")


def test_without_prefects_server_everything_ends_with_one_sentence(
    running: Stack, tmp_path: Path
) -> None:
    running.children.append(killed(SERVER, tmp_path))
    with pytest.raises(UpError) as caught:
        running.watch()
    running.stop()
    told = str(caught.value)
    assert told.startswith("Prefect's server ended with signal SIGKILL")
    assert str(tmp_path / f"{SERVER}.log") in told
    assert "run `make up` again" in told
    assert "\n" not in told


def test_a_child_that_ends_again_and_again_is_given_up(running: Stack, tmp_path: Path) -> None:
    running.children.append(killed(WORKER, tmp_path))
    with pytest.raises(UpError, match=r"The worker ended with signal SIGKILL . s after its start"):
        running.watch()
    running.stop()
