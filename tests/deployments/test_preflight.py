"""What `make install` says before it changes anything."""

import sys
from pathlib import Path

import pytest

from deployments.preflight import problems, starts


def no_program(name: str) -> bool:
    return False


def test_a_good_machine_has_no_problems() -> None:
    assert problems((3, 11), lambda name: True, 50.0, no_program) == []


def test_an_old_python_is_named_with_the_one_needed() -> None:
    (text,) = problems((3, 9), lambda name: True, 50.0, no_program)
    assert "python3 is Python 3.9" in text
    assert "3.11 or newer" in text
    assert "PYTHON=" in text


def test_a_newer_python_on_the_machine_is_offered() -> None:
    there = ("python3.12", "python3.10")
    (text,) = problems((3, 10), lambda name: True, 50.0, there.__contains__)
    assert "PYTHON=python3.12" in text


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_a_python_without_virtual_environments_names_the_package(missing: str) -> None:
    (text,) = problems((3, 13), lambda name: name != missing, 50.0, no_program)
    assert "python3.13-venv" in text


def test_a_full_disk_is_reported_in_gigabytes() -> None:
    (text,) = problems((3, 12), lambda name: True, 1.25, no_program)
    assert "Only 1.2 GB" in text
    assert "needs 4 GB" in text


def test_a_program_that_fails_does_not_count_as_there(tmp_path: Path) -> None:
    broken = tmp_path / "python3.13"
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    assert starts(sys.executable)
    assert not starts(str(broken))
    assert not starts("python3.99")
