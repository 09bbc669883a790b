"""`make up`: Prefect's server and UI, the local Azure ML and a worker, until Ctrl-C.

Every process writes its log to .local/up/. The server's data base, the local Azure ML's state and
the deployments stay in .local/ and are there again at the next start.
"""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from types import FrameType

import httpx
from rich.console import Console

from deployments.processes import Child, ChildDied, Ledger
from deployments.runs import PoolRuns
from deployments.surroundings import LOCAL, ROOT, base_environment, free_port, parse_environment
from emulator.config import load_config, state_folder
from emulator.server import is_running

FOLDER = LOCAL / "up"
POOL = "finetune-local"
PORT = 4200
CANCEL_SECONDS = 120.0
JOIN_SECONDS = 60.0


class Interrupted(Exception):
    """Ctrl-C, or a signal to end."""


class UpError(RuntimeError):
    """`make up` cannot go on; the text says why and what to do."""


class Stack:
    """The processes of `make up`, started one after the other, ended in reverse."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.children: list[Child] = []
        self.ledger = Ledger(FOLDER / "processes.json")
        # First, or they would hold the port.
        if left := self.ledger.end_leftovers():
            self.console.print(f"Ended {left} processes that an earlier `make up` left behind.")
        self.port = free_port(PORT)
        self.ui_url = f"http://127.0.0.1:{self.port}"
        self.api_url = f"{self.ui_url}/api"
        self.environment = base_environment(os.environ, self.api_url)
        self.state = state_folder(None, self.environment)
        self.joined = False
        self.local_environment: dict[str, str] = {}
        self.runs = PoolRuns(self.api_url, POOL)
        self.complete = False

    def start(self) -> str:
        """Start everything; returns what the registration printed."""
        (FOLDER / "address").write_text(self.ui_url)
        if self.port != PORT:
            self.console.print(f"Port {PORT} is taken: Prefect's UI is on port {self.port}.")
        with self._stage("Prefect server"):
            self._start_server()
        with self._stage("local Azure ML"):
            self._start_emulator()
        with self._stage("workspace block, work pools, deployments"):
            registered = self._register()
        with self._stage("worker"):
            self._close_runs("`make up` was killed while this ran.")
            self._start_worker()
            self.complete = True
        return registered

    def watch(self) -> None:
        """Come back only by an exception: Interrupted, or ChildDied."""
        while True:
            for child in self.children:
                child.check()
            self.ledger.write(self.children)
            if self.joined and not is_running(self.state):
                self._replace_emulator()
            threading.Event().wait(1.0)

    def stop(self) -> None:
        if self.complete:
            self._cancel_runs()
        for child in reversed(self.children):
            self.console.print(f"Stopping {child.name} ...")
            child.stop()
        self.children.clear()
        self.ledger.end_leftovers()

    def _replace_emulator(self) -> None:
        """Start a local Azure ML in place of the joined one, which ended with its own command."""
        self.console.print("The local Azure ML that was joined has ended.")
        # The worker goes too: it knows the addresses of the one that ended.
        self.children.pop().stop()
        with self._stage("local Azure ML"):
            self._start_emulator()
        with self._stage("worker"):
            self._close_runs("The local Azure ML ended while this ran.")
            self._start_worker()

    def _close_runs(self, why: str) -> None:
        # A run that nobody runs any more would hold the deployment's only place.
        for name in self.runs.close(why):
            self.console.print(f"Run {name} was left behind and is marked as crashed.")

    def _cancel_runs(self) -> None:
        try:
            if active := self.runs.active():
                names = ", ".join(str(run["name"]) for run in active)
                with self.console.status(f"Cancelling {names}"):
                    left = self.runs.cancel(CANCEL_SECONDS)
                self.console.print(f"Cancelled {names}.")
                if left:
                    self.console.print(f"Not ended in {CANCEL_SECONDS:.0f} s: {', '.join(left)}.")
        except httpx.HTTPError as error:
            self.console.print(f"The server does not answer; its runs were not cancelled: {error}")

    @contextmanager
    def _stage(self, what: str) -> Iterator[None]:
        start = time.monotonic()
        with self.console.status(f"Starting: {what}"):
            yield
        self.console.print(f"[green]ready[/green]  {what} ({time.monotonic() - start:.0f} s)")

    def _run(
        self,
        name: str,
        arguments: list[str],
        environment: Mapping[str, str],
        ready: Callable[[], bool],
        seconds: float,
    ) -> None:
        log = FOLDER / f"{name.replace(' ', '-').lower()}.log"
        child = Child(name, [sys.executable, "-m", *arguments], environment, log)
        self.children.append(child)
        self.ledger.write(self.children)
        child.wait_until(ready, seconds)

    def _start_server(self) -> None:
        arguments = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        self._run("Prefect server", arguments, self.environment, self._server_is_ready, 180)

    def _server_is_ready(self) -> bool:
        return self._answer("GET", "/health") is True

    def _start_emulator(self) -> None:
        self.joined = self._join_emulator()
        if not self.joined:
            arguments = ["emulator", "start"]
            self._run("local Azure ML", arguments, self.environment, self._emulator_is_ready, 180)

    def _join_emulator(self) -> bool:
        """Whether another command's local Azure ML serves the state folder, and is used."""
        deadline = time.monotonic() + JOIN_SECONDS
        while is_running(self.state):
            if self._emulator_is_ready():
                self.console.print(f"A local Azure ML runs already for {self.state}: it is joined.")
                return True
            if time.monotonic() > deadline:
                raise UpError(f"What serves {self.state} does not answer: end it and try again.")
            time.sleep(0.3)
        return False

    def _emulator_is_ready(self) -> bool:
        if self._emulator("status") is None:
            return False
        variables = self._emulator("env")
        self.local_environment = self.environment | parse_environment(variables or "")
        return variables is not None

    def _emulator(self, command: str) -> str | None:
        """What `azureml-emulator COMMAND` prints; None when it fails: no emulator runs."""
        done = subprocess.run(
            [sys.executable, "-m", "emulator", command],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout if done.returncode == 0 else None

    def _register(self) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "deployments.register", "--block", "default"],
            cwd=ROOT,
            env=self.local_environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise UpError((done.stdout + done.stderr).strip())
        return done.stdout

    def _start_worker(self) -> None:
        arguments = ["prefect", "worker", "start", "--pool", POOL, "--type", "process"]
        arguments += ["--name", "local"]
        since = datetime.now(UTC)
        ready = partial(self._worker_is_online, since)
        self._run("worker", arguments, self.local_environment, ready, 120)

    def _worker_is_online(self, since: datetime) -> bool:
        workers = self._answer("POST", f"/work_pools/{POOL}/workers/filter")
        # A worker that ended counts as online for some time: only a heartbeat since then tells.
        return isinstance(workers, list) and any(
            datetime.fromisoformat(worker["last_heartbeat_time"]) > since for worker in workers
        )

    def _answer(self, method: str, path: str) -> object:
        """The server's answer as JSON; None while there is no good one."""
        try:
            with httpx.Client(trust_env=False, timeout=5) as client:
                answer = client.request(method, self.api_url + path, json={})
                return answer.raise_for_status().json()
        except httpx.HTTPError:
            return None


def urls(stack: Stack, registered: str) -> Iterator[tuple[str, str]]:
    """What a person can open and type now: label and text."""
    prefect = f"PREFECT_API_URL={stack.api_url} .venv/bin/prefect"
    yield "Prefect UI", stack.ui_url
    for line in registered.splitlines():
        kind, _, rest = line.partition(" ")
        name, _, value = rest.partition(": ")
        if kind == "deployment":
            yield name, f"{stack.ui_url}/deployments/deployment/{value}"
        elif kind == "block":
            yield f"block {name}", f"{stack.ui_url}/blocks ({value})"
    if config := load_config(stack.state):
        yield "MLflow UI", f"http://127.0.0.1:{config.tracking_port}"
    yield "local Azure ML", f"state in {stack.state}"
    yield "logs", str(FOLDER)
    yield "run locally", f"{prefect} deployment run finetune/local --watch"
    yield "run on Azure", "save a block `azure`, then, where the Azure credentials are:"
    yield "", f"{prefect} worker start --pool finetune-azure"


@contextmanager
def only_one() -> Iterator[None]:
    """Hold the lock of this folder; raises UpError when another `make up` has it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
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
    except (ChildDied, OSError, UpError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
