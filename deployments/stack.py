"""The processes of `make up`: started in order, watched, replaced when one dies, ended."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

import httpx
import psutil
from rich.console import Console

from deployments.processes import TERM_SECONDS, Child, Ledger, end
from deployments.runs import PoolRuns
from deployments.surroundings import (
    LOCAL,
    ROOT,
    base_environment,
    free_port,
    parse_environment,
    server_environment,
)
from emulator.config import load_config, state_folder
from emulator.server import is_running

FOLDER = LOCAL / "up"
POOL = "finetune-local"
PORT = 4200
CANCEL_SECONDS = 120.0
JOIN_SECONDS = 60.0
RESTART_SECONDS = 10.0
"""A child that ends again sooner than this after its start is not started once more."""

SERVER, EMULATOR, WORKER = "Prefect server", "local Azure ML", "worker"


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
        self.orphans: list[psutil.Process] = []
        self.orphaned_runs: set[str] = set()
        self.complete = False

    def start(self) -> str:
        """Start everything; returns what the registration printed."""
        (FOLDER / "address").write_text(self.ui_url)
        if self.port != PORT:
            self.console.print(f"Port {PORT} is taken: Prefect's UI is on port {self.port}.")
        with self._stage(SERVER):
            self._start_server()
        with self._stage(EMULATOR):
            self._start_emulator()
        with self._stage("workspace block, work pools, deployments"):
            registered = self._register()
        with self._stage(WORKER):
            self._close_runs("`make up` was killed while this ran.")
            self._start_worker()
            self.complete = True
        return registered

    def tracking_url(self) -> str:
        """Where MLflow's UI is, once the local Azure ML runs."""
        config = load_config(self.state)
        assert config is not None
        return f"http://127.0.0.1:{config.tracking_port}"

    def watch(self) -> None:
        """Come back only by an exception: Interrupted, UpError, or ChildDied."""
        while True:
            # One at a time: what is put right replaces other children too.
            for child in self.children:
                if reason := child.ended():
                    self._put_right(child, reason)
                    break
            if self.joined and not is_running(self.state):
                self._replace_emulator("The local Azure ML that was joined has ended.")
            self._remember()
            threading.Event().wait(1.0)

    def stop(self) -> None:
        if self.complete:
            self._end_orphans()
            self._cancel_runs()
        for child in reversed(self.children):
            self.console.print(f"Stopping {child.name} ...")
            child.stop()
        self.children.clear()
        self.ledger.end_leftovers()

    def _put_right(self, child: Child, reason: str) -> None:
        """Start the child again that has ended; raises UpError when that would not help."""
        if child.name == SERVER:
            self.complete = False  # Nobody is left to cancel runs with.
            raise UpError(
                f"Prefect's server ended with {reason}, and nothing goes on without it: "
                f"see {child.log}, then run `make up` again; what was done is kept."
            )
        if child.seconds() < RESTART_SECONDS:
            raise UpError(
                f"The {child.name} ended with {reason} {child.seconds():.0f} s after its start: "
                f"see {child.log}, then run `make up` again; what was done is kept."
            )
        self.children.remove(child)
        log = child.log.replace(child.log.with_suffix(".ended.log"))
        if child.name == WORKER:
            self._replace_worker(child, f"{reason} (its log: {log})")
        else:
            end(child.left_behind())
            self._replace_emulator(f"The local Azure ML ended with {reason} (its log: {log}).")

    def _replace_worker(self, worker: Child, reason: str) -> None:
        """Start another worker beside the runs of the one that ended: they go on by themselves."""
        self.console.print(f"The worker ended with {reason}: another one is started.", markup=False)
        self.orphans += worker.left_behind()
        self.orphaned_runs |= {str(run["id"]) for run in self.runs.active()}
        with self._stage(WORKER):
            self._start_worker()

    def _replace_emulator(self, why: str) -> None:
        """Start a local Azure ML in place of the one that ended."""
        self.console.print(why, markup=False)
        # The worker goes too, and its runs: they know the addresses of the one that ended.
        end(self.orphans)
        for child in [child for child in self.children if child.name == WORKER]:
            self.children.remove(child)
            child.stop()
        with self._stage(EMULATOR):
            self._start_emulator()
        self.console.print(f"MLflow UI is now at {self.tracking_url()}.")
        with self._stage(WORKER):
            self._close_runs("The local Azure ML ended while this ran.")
            self._start_worker()

    def _end_orphans(self) -> None:
        """End the runs of a worker that was killed: no other worker can cancel them."""
        if any(process.is_running() for process in self.orphans):
            end(self.orphans, TERM_SECONDS)
            self._close_runs("`make up` was ended.", self.orphaned_runs, kind="CANCELLED")

    def _remember(self) -> None:
        self.ledger.write(self.children, self.orphans)

    def _close_runs(
        self, why: str, only: Collection[str] | None = None, kind: str = "CRASHED"
    ) -> None:
        # A run that nobody runs any more would hold the deployment's only place.
        for name in self.runs.close(why, only, kind):
            self.console.print(f"Run {name} was left behind and is marked as {kind.lower()}.")

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
        self._remember()
        child.wait_until(ready, seconds)

    def _start_server(self) -> None:
        arguments = ["deployments.prefect_server", "--host", "127.0.0.1", "--port", str(self.port)]
        environment = server_environment(os.environ, self.api_url)
        self._run(SERVER, arguments, environment, self._server_is_ready, 180)

    def _server_is_ready(self) -> bool:
        return self._answer("GET", "/health") is True

    def _start_emulator(self) -> None:
        self.joined = self._join_emulator()
        if not self.joined:
            arguments = ["emulator", "start"]
            self._run(EMULATOR, arguments, self.environment, self._emulator_is_ready, 180)

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
        self._run(WORKER, arguments, self.local_environment, ready, 120)

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
