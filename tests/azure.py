"""One local Azure for the tests of tasks and flows, started when the first of them asks."""

import atexit
import functools
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.emulator.running import RunningEmulator, StartedEmulator


@functools.cache
def local_azure() -> RunningEmulator:
    """A running emulator with an empty workspace; it stops when the tests have ended."""
    stack = ExitStack()
    folder = stack.enter_context(
        tempfile.TemporaryDirectory(prefix="finetune-azure-", ignore_cleanup_errors=True)
    )
    running = stack.enter_context(StartedEmulator(Path(folder), "--exit-with-parent"))
    atexit.register(stack.close)
    return running
