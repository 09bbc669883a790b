"""Threads that share a client read the same answer in the same way, from the first one on."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_first_use_may_be_by_several_threads() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.blocks.first_use"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
