"""The emulator's side of the warm compute node: started when work comes, ended when it is idle."""

import asyncio
import json
import logging
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emulator.compute.process import step_environment

IDLE_SECONDS = 120.0
_SWITCH = "AZUREML_EMULATOR_WARM"
_SHELL = re.compile(r"[;&|<>`$()*?~#!{}]|\n")
_log = logging.getLogger(__name__)


class NodeLost(Exception):
    """The node ended while a process of it ran; nothing of the process is left."""


class WarmProcess:
    """A process forked by the node. Its id is its group's too."""

    def __init__(self) -> None:
        self.pid = 0
        self.returncode: int | None = None
        self._begun: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait(self) -> int:
        """Wait for its end; the exit code, negative for a signal. Raises NodeLost."""
        return await asyncio.shield(self._ended)

    async def begun(self) -> None:
        self.pid = await asyncio.shield(self._begun)

    def tell(self, message: Mapping[str, Any]) -> None:
        if "pid" in message and not self._begun.done():
            self._begun.set_result(int(message["pid"]))
        if "code" in message and not self._ended.done():
            self.returncode = int(message["code"])
            self._ended.set_result(self.returncode)

    def lose(self) -> None:
        for future in (self._begun, self._ended):
            if not future.done():
                future.set_exception(NodeLost())
                future.exception()  # it may be that nobody waits
        self.returncode = self.returncode if self.returncode is not None else -9


class WarmNode:
    """Forks processes that find the large packages loaded. Lives on one event loop."""

    def __init__(self, state: Path, idle_seconds: float = IDLE_SECONDS) -> None:
        self._state = state
        self._idle_seconds = idle_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._ready: asyncio.Future[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._running: dict[int, WarmProcess] = {}
        self._count = 0

    @property
    def is_on(self) -> bool:
        """Whether there is or may be a node: AZUREML_EMULATOR_WARM=0 switches it off."""
        return os.environ.get(_SWITCH, "1") != "0"

    @property
    def is_up(self) -> bool:
        """Whether a node runs, or is starting."""
        return self._ready is not None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def prepare(self) -> None:
        """Start the node unless it runs; does not wait until it is ready."""
        if self.is_on and self._ready is None:
            self._ready = asyncio.get_running_loop().create_future()
            log = self._state / "node.log"
            with log.open("ab") as errors:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    str(Path(__file__).with_name("node.py")),
                    env=step_environment(self._state, {}) | {"OPENBLAS_NUM_THREADS": "1"},
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=errors,
                    start_new_session=True,
                )
            self._reader = asyncio.create_task(self._read(self._process))
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
        """A new process that runs a Python file or module. Raises NodeLost."""
        await self.prepare()
        process = WarmProcess()
        self._count += 1
        identifier = self._count
        self._running[identifier] = process
        self._stay_or_rest()
        request = {
            "id": identifier,
            "script": script,
            "module": module,
            "arguments": list(arguments),
            "folder": str(folder),
            "environment": dict(environment),
            "log": str(log),
            "path": list(path),
        }
        try:
            assert self._ready is not None
            await asyncio.shield(self._ready)
            assert self._process is not None
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            await process.begun()
        except BaseException:
            self._running.pop(identifier, None)
            raise
        return process

    async def stop(self) -> None:
        """End the node and what still runs in it."""
        if self._process and self._process.stdin:
            self._process.stdin.close()
        if self._reader:
            await self._reader

    async def _read(self, node: asyncio.subprocess.Process) -> None:
        assert node.stdout is not None
        async for line in node.stdout:
            message = json.loads(line)
            if message.get("ready") and self._ready and not self._ready.done():
                self._ready.set_result(None)
            if process := self._running.get(message.get("id", 0)):
                process.tell(message)
                if "code" in message:
                    del self._running[message["id"]]
                    self._stay_or_rest()
        await node.wait()
        if self._ready and not self._ready.done():
            self._ready.set_exception(NodeLost())
            self._ready.exception()
        for process in self._running.values():
            process.lose()
        if self._running:
            _log.warning("the warm node ended while %d processes ran", len(self._running))
        self._running.clear()
        self._process = self._ready = self._reader = None

    def _stay_or_rest(self) -> None:
        """End the node after some time without work."""
        if self._idle:
            self._idle.cancel()
            self._idle = None
        if not self._running:
            loop = asyncio.get_running_loop()
            self._idle = loop.call_later(self._idle_seconds, self._rest)

    def _rest(self) -> None:
        if self._process and self._process.stdin and not self._running:
            self._process.stdin.close()


def python_call(command: str) -> tuple[str, list[str]] | None:
    """Script and arguments of a line `python script.py ...`; None for anything else."""
    line = command.strip().replace("\\\n", " ")
    try:
        words = shlex.split(line)
    except ValueError:
        return None
    quoted = re.sub(r"'[^']*'", "", line)
    if len(words) < 2 or words[0] != "python" or _SHELL.search(quoted):
        return None
    return (words[1], words[2:]) if words[1].endswith(".py") else None
