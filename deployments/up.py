"""`make up`: Prefect's server and UI, the local Azure ML and a worker, until Ctrl-C.

Every process writes its log to .local/up/. The server's data base, the local Azure ML's state and
the deployments stay in .local/ and are there again at the next start.
"""

import fcntl
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import httpx
from rich.console import Console

from deployments.processes import ChildDied
from deployments.stack import FOLDER, Stack, UpError
from deployments.surroundings import LOCAL, base_environment
from emulator.config import state_folder


class Interrupted(Exception):
    """Ctrl-C, or a signal to end."""


def urls(stack: Stack, registered: str) -> Iterator[tuple[str, str]]:
    """What a person can open and type now: label and text."""
    prefect = f"PREFECT_API_URL={stack.api_url} .venv/bin/prefect"
    yield "Prefect UI", stack.ui_url
    automations: dict[str, str] = {}
    for line in registered.splitlines():
        kind, _, rest = line.partition(" ")
        name, _, value = rest.partition(": ")
        if kind == "deployment":
            yield name, f"{stack.ui_url}/deployments/deployment/{value}"
        elif kind == "block":
            yield f"block {name}", f"{stack.ui_url}/blocks ({value})"
        elif kind == "automation":
            automations[name] = value
    on = sum(state == "on" for state in automations.values())
    yield "automations", f"{stack.ui_url}/automations ({on} of {len(automations)} are on)"
    if any(state.startswith("not there") for state in automations.values()):
        yield "notifications", "none: save a notification block named finetune-notify, start again"
    yield "MLflow UI", stack.tracking_url()
    yield "local Azure ML", f"state in {stack.state}"
    yield "logs", str(FOLDER)
    yield "run locally", f"{prefect} deployment run finetune/local --watch"
    yield "run on Azure", "save a block `azure`, then, where the Azure credentials are:"
    yield "", f"{prefect} worker start --pool finetune-azure"


def require_writable(folder: Path) -> None:
    """Make the folder if need be; raises UpError when files cannot be made in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UpError(
            f"{folder} cannot be written: {error.strerror}. Make it a folder that you may write "
            "to, with free space, then run `make up` again."
        ) from None


@contextmanager
def only_one() -> Iterator[None]:
    """Hold the lock of this folder; raises UpError when another `make up` has it."""
    for folder in (FOLDER, LOCAL / "prefect", state_folder(None, base_environment(os.environ, ""))):
        require_writable(folder)
    address = FOLDER / "address"
    with (FOLDER / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            where = f" at {address.read_text()}" if address.exists() else ""
            raise UpError(
                f"`make up` runs already for this folder{where}: use it, or end it with Ctrl-C."
            ) from None
        address.unlink(missing_ok=True)
        yield


def _interrupt(number: int, frame: FrameType | None) -> None:
    # Only once: a second Ctrl-C must not break off the orderly end.
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    raise Interrupted


def main() -> int:
    console = Console(highlight=False, soft_wrap=True)
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _interrupt)
    try:
        with only_one():
            stack = Stack(console)
            try:
                registered = stack.start()
                for label, text in urls(stack, registered):
                    console.print(f"{label:<16}{text}", markup=False)
                console.print("Ctrl-C stops everything; what was done is kept in .local/.")
                stack.watch()
            finally:
                stack.stop()
    except Interrupted:
        console.print("Stopped.")
    except (ChildDied, OSError, UpError, httpx.HTTPError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
