"""The MLflow tracking server, as the emulator sees it: started when somebody asks for it."""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx

from emulator.compute.strays import marked
from emulator.http import AzureError
from emulator.tracking_journal import Journal

_log = logging.getLogger(__name__)

IDLE_SECONDS = 900.0
STATUSES = {"Completed": "FINISHED", "Failed": "FAILED", "Canceled": "KILLED"}
"""How a job's last status reads in MLflow."""


class TrackingServer:
    """A tracking server behind a socket that is open from `start` to `stop`.

    The first connection starts the server process, which takes a few seconds and 0.2 GB; what
    arrives meanwhile waits in the socket's queue. The process ends after `idle_seconds` without
    a request (0: never), and the next connection starts it again.
    """

    def __init__(self, state: Path, port: int = 0, idle_seconds: float = IDLE_SECONDS) -> None:
        self._state = state
        self._port = port
        self._idle_seconds = idle_seconds
        self._journal = Journal(state)
        self._socket: socket.socket | None = None
        self._process: Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._client: httpx.AsyncClient | None = None

    @property
    def url(self) -> str:
        """Where MLflow clients find it, from `start` on."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def log(self) -> Path:
        """What the server process wrote."""
        return self._state / "mlflow" / "server.log"

    async def start(self) -> None:
        """Open the socket. Returns at once; no process is started yet."""
        self._socket = socket.create_server(("127.0.0.1", self._port), backlog=256)
        self._socket.setblocking(False)
        self._port = self._socket.getsockname()[1]
        self._client = httpx.AsyncClient(
            base_url=self.url, timeout=120, trust_env=False, verify=False
        )
        self._wait_for_connection()

    @cached_property
    def is_installed(self) -> bool:
        """Whether MLflow's server is there; without it jobs run all the same, and are no runs."""
        try:
            metadata.version("mlflow")
        except metadata.PackageNotFoundError:
            return False
        return True

    def warm(self) -> None:
        """Start the server process now, in the background, because it will be needed soon."""
        if self._socket is not None and self._watch is None and self.is_installed:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._watch = asyncio.create_task(self._run())

    async def ready(self) -> None:
        """Wait until the server answers; an AzureError 503 says why it cannot."""
        await self.request("GET", "/health")

    async def stop(self) -> None:
        """Stop the server and close the socket. What was logged stays."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        if self._process is not None:
            await _end(self._process)
            self._process = None
        if self._client is not None:
            await self._client.aclose()
            self._client = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def clear(self) -> None:
        """Forget every experiment and run; a server that runs does so before its next answer."""
        self._journal.clear()
        if self._watch is None:
            shutil.rmtree(self._state / "mlflow", ignore_errors=True)
        else:
            self._journal.add({"clear": True})

    async def create_run(
        self, run_id: str, experiment: str, name: str, tags: dict[str, str], parent: str | None
    ) -> None:
        """Create a run with this id in a named experiment, unless it exists already.

        It is there before the server answers its next request; nobody waits for a start. Sets
        the tags that tie a job's runs together: mlflow.rootRunId, mlflow.parentRunId.
        """
        if not self.is_installed:
            return
        given = {"experiment": experiment, "name": name, "tags": tags, "parent": parent}
        self._journal.add({"create": run_id, "time": _milliseconds(), **given})

    async def update_run(self, run_id: str, name: str | None, tags: dict[str, str]) -> None:
        """Rename a run, if there is a name, and add tags; an AzureError 404 if there is none."""
        if not self.is_installed:
            return
        if name is not None:
            await self._update(run_id, {"run_name": name})
        if tags:
            pairs = [{"key": key, "value": value} for key, value in tags.items()]
            await self.request(
                "POST", "/api/2.0/mlflow/runs/log-batch", {"run_id": run_id, "tags": pairs}
            )

    async def end_run(self, run_id: str, status: str) -> None:
        """End a run with a job's status (Completed, Failed, Canceled) or MLflow's word for it."""
        if not self.is_installed:
            return
        word = STATUSES.get(status, status)
        self._journal.add({"end": run_id, "time": _milliseconds(), "status": word})

    async def _update(self, run_id: str, change: dict[str, Any]) -> None:
        await self.request("POST", "/api/2.0/mlflow/runs/update", {"run_id": run_id} | change)

    async def request(
        self, method: str, path: str, body: dict[str, Any] | None = None, **query: str
    ) -> dict[str, Any]:
        """One call of MLflow's REST API; its JSON answer. An error of MLflow's is an AzureError."""
        answer = await self.send(method, path, json=body, params=query)
        if answer.is_success:
            content: dict[str, Any] = answer.json() if answer.text.startswith("{") else {}
            return content
        code = "ResourceNotFound" if answer.status_code == 404 else "UserError"
        text = f"MLflow answered {answer.status_code} to {method} {path}: {answer.text[:500]}"
        raise AzureError(answer.status_code, code, text)

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A request to the server, which it starts if need be; whatever the server answers.

        `options` are httpx's. Without any answer it is an AzureError 503.
        """
        if not self.is_installed:
            raise AzureError(
                501,
                "OperationNotSupported",
                "MLflow's server is not installed beside the local Azure ML. Install it: "
                "pip install 'azureml-emulator[mlflow]'.",
            )
        if self._client is None:
            raise self._unavailable("it is stopped")
        try:
            return await self._client.request(method, path, **options)
        except httpx.TransportError as error:
            raise self._unavailable(repr(error)) from error

    def _unavailable(self, reason: str) -> AzureError:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return AzureError(
            503,
            "ServiceUnavailable",
            f"The MLflow tracking server does not answer ({reason}). Its log, {self.log}, ends: "
            f"{' '.join(lines[-3:])}",
        )

    def _wait_for_connection(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().add_reader(self._socket, self.warm)

    async def _run(self) -> None:
        """Run the server process once, to its end; then wait for the next connection."""
        try:
            started = await self._launch()
        except OSError:
            _log.exception("the MLflow tracking server cannot be started")
            started = False
        if self._process is not None:
            await self._process.wait()
        if not started:
            # Nobody will serve what waits in the queue, and it would start the server for ever.
            self._refuse_waiting()
            _log.error("the MLflow tracking server did not start; see %s", self.log)
        self._process = None
        self._watch = None
        self._wait_for_connection()

    async def _launch(self) -> bool:
        """Start the process and wait until it listens; False when it ended instead."""
        assert self._socket is not None
        self.log.parent.mkdir(parents=True, exist_ok=True)
        descriptor = self._socket.fileno()
        command = [
            *(sys.executable, "-m", "emulator.tracking_server", "--state", str(self._state)),
            *("--socket", str(descriptor), "--idle", str(self._idle_seconds)),
        ]
        root = str(Path(__file__).resolve().parent.parent)
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=PIPE,
                stderr=log,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | marked(self._state),
                pass_fds=(descriptor,),
                start_new_session=True,
            )
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).startswith(b"LISTENING")

    def _refuse_waiting(self) -> None:
        assert self._socket is not None
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.accept()[0].close()


def _milliseconds() -> int:
    return int(time.time() * 1000)


async def _end(process: Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()
