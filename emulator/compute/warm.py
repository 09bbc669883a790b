"""The emulator's side of the warm compute node: started when work comes, ended when it is idle."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from emulator.compute.process import step_environment
from emulator.compute.warm_process import NodeLost, WarmProcess

IDLE_SECONDS = 120.0
START_SECONDS = 180.0
"""The most that its start may take, also on a machine that is busy with other things."""

STOP_SECONDS = 5.0
_SWITCH = "AZUREML_EMULATOR_WARM"
_OF_A_JOB = ("AZUREML_", "AZURE_ML_", "MLFLOW_")
"""Variables that a package may read while a step runs, but not when the node imports it."""

_QUIET = {
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""Keeps packages from starting threads when they are imported: a fork would lose them."""

_log = logging.getLogger(__name__)


class _Life:
    """One process of the node, from its start to its end."""

    def __init__(self) -> None:
        self.process: asyncio.subprocess.Process | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.running: dict[int, WarmProcess] = {}

    def send(self, request: Mapping[str, Any]) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")

    def close(self) -> None:
        """Let it end: after its input it has nothing to do."""
        if self.process and self.process.stdin:
            self.process.stdin.close()

    def kill(self) -> None:
        if self.process and self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.kill()

    def lose(self) -> None:
        """It is gone, and what ran in it too."""
        reason = "the compute node ended"
        if not self.ready.done():
            self.ready.set_exception(NodeLost(reason))
            self.ready.exception()
        elif self.running:
            _log.warning("the warm node ended while %d processes ran", len(self.running))
        for process in self.running.values():
            process.lose(reason)
        self.running.clear()


class WarmNode:
    """Forks processes that find the large packages loaded. Lives on one event loop.

    `variables` are those of every step: packages read their settings when they are imported.
    """

    def __init__(
        self,
        state: Path,
        variables: Mapping[str, str] | None = None,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._state = state
        self._environment = step_environment(state, variables or {})
        self._idle_seconds = idle_seconds
        self._life: _Life | None = None
        self._lives: dict[_Life, asyncio.Task[None]] = {}
        self._idle: asyncio.TimerHandle | None = None
        self._cannot_start = False
        self._count = 0

    @property
    def log(self) -> Path:
        """What the node itself says."""
        return self._state / "node.log"

    @property
    def is_on(self) -> bool:
        """Whether there is or may be a node: AZUREML_EMULATOR_WARM=0 switches it off."""
        return not self._cannot_start and os.environ.get(_SWITCH, "1") != "0"

    @property
    def is_up(self) -> bool:
        """Whether a node runs, or is starting."""
        return self._life is not None

    @property
    def pid(self) -> int | None:
        return self._life.process.pid if self._life and self._life.process else None

    def suits(self, environment: Mapping[str, str]) -> bool:
        """Whether a process with this environment may find packages that the node imported."""
        names = {
            name
            for name in {*environment, *self._environment}
            if environment.get(name) != self._environment.get(name)
        }
        return all(name.startswith(_OF_A_JOB) for name in names)

    def prepare(self) -> None:
        """Begin to start the node, if it is on and does not run."""
        if self.is_on and self._life is None:
            life = self._life = _Life()
            self._lives[life] = asyncio.create_task(self._live(life))
            self._stay_or_rest()

    async def spawn(
        self,
        *,
        script: str | None = None,
        module: str | None = None,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        log: Path,
        path: Sequence[str] = (),
    ) -> WarmProcess:
        """A new process that runs a Python file or module. Raises NodeLost: nothing began."""
        self.prepare()
        life = self._life
        if life is None:
            raise NodeLost("the compute node is off")
        process = WarmProcess()
        self._count += 1
        identifier = self._count
        life.running[identifier] = process
        self._stay_or_rest()
        try:
            await asyncio.shield(life.ready)
        except BaseException:
            self._ended(life, identifier)
            raise
        life.send(
            {
                "id": identifier,
                "script": script,
                "module": module,
                "arguments": list(arguments),
                "folder": str(folder),
                "environment": dict(environment),
                "log": str(log),
                "path": list(path),
            }
        )
        try:
            await process.begun()
        except asyncio.CancelledError:
            process.abandon()
            raise
        return process

    async def stop(self) -> None:
        """End the node and what still runs in it."""
        self._life = None
        self._stay_or_rest()
        lives = dict(self._lives)
        for life in lives:
            if life.ready.done():
                life.close()
            else:
                lives[life].cancel()
        if lives:
            _, late = await asyncio.wait(lives.values(), timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*lives.values(), return_exceptions=True)

    async def _live(self, life: _Life) -> None:
        """Start the process of the node and listen to it until its end."""
        try:
            with self.log.open("ab") as errors:
                life.process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    str(Path(__file__).with_name("node.py")),
                    env=self._environment | _QUIET,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=errors,
                    start_new_session=True,
                )
            assert life.process.stdout is not None
            async with asyncio.timeout(START_SECONDS):
                if await life.process.stdout.readline():
                    life.ready.set_result(None)
            async for line in life.process.stdout:
                self._tell(life, json.loads(line))
            code = await life.process.wait()
            if code > 0 and not life.ready.done():
                self._give_up(f"exit code {code}")
        except (OSError, TimeoutError) as error:
            self._give_up(str(error) or f"not ready after {START_SECONDS:g} seconds")
        finally:
            life.kill()
            if self._life is life:
                self._life = None
            del self._lives[life]
            life.lose()
            self._stay_or_rest()
            if life.process:
                await life.process.wait()

    def _tell(self, life: _Life, message: Mapping[str, Any]) -> None:
        if process := life.running.get(message["id"]):
            process.tell(message)
            if process.returncode is not None:
                self._ended(life, message["id"])

    def _ended(self, life: _Life, identifier: int) -> None:
        life.running.pop(identifier, None)
        self._stay_or_rest()

    def _give_up(self, reason: str) -> None:
        self._cannot_start = True
        _log.warning(
            "The warm compute node did not start (%s), so that each step takes some seconds "
            "longer. Its log says why: %s. The next start of the local Azure ML tries again.",
            reason,
            self.log,
        )

    def _stay_or_rest(self) -> None:
        """End the node after some time without work."""
        if self._idle:
            self._idle.cancel()
            self._idle = None
        if self._life and not self._life.running:
            loop = asyncio.get_running_loop()
            self._idle = loop.call_later(self._idle_seconds, self._rest, self._life)

    def _rest(self, life: _Life) -> None:
        """End a node that has no work; who comes now gets a new one."""
        if self._life is life:
            self._life = None
        life.close()
