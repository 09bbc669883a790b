"""A warm node with an installation that has none of the large packages: it starts at once."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from emulator.compute.node import PACKAGES
from emulator.compute.process import shell, step_environment
from emulator.compute.warm import WarmNode
from emulator.compute.warm_process import WarmProcess


@dataclass
class Bench:
    """A folder to run scripts in, warm and cold, with the same environment."""

    folder: Path
    variables: dict[str, str]

    @property
    def environment(self) -> dict[str, str]:
        return step_environment(self.folder, self.variables)

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def node(self, idle_seconds: float = 60) -> WarmNode:
        return WarmNode(self.folder, self.variables, idle_seconds)

    def script(self, text: str, name: str = "script.py") -> str:
        (self.folder / name).write_text(text)
        return name

    async def spawn(
        self, node: WarmNode, text: str, *arguments: str, name: str = "script.py"
    ) -> WarmProcess:
        return await node.spawn(
            script=self.script(text, name),
            arguments=arguments,
            folder=self.folder,
            environment=self.environment,
            log=self.log,
        )

    async def warm(self, node: WarmNode, text: str, *arguments: str) -> tuple[int, str]:
        """Exit code and output of a script that the node runs."""
        self.log.write_bytes(b"")
        process = await self.spawn(node, text, *arguments)
        async with asyncio.timeout(60):
            return await process.wait(), self.log.read_text(errors="replace")

    async def cold(self, text: str, command: str) -> tuple[int, str]:
        """Exit code and output of a command line in a process of its own."""
        self.log.write_bytes(b"")
        self.script(text)
        process = await shell(command, self.folder, self.environment, self.log)
        async with asyncio.timeout(60):
            return await process.wait(), self.log.read_text(errors="replace")

    async def said(self, text: str) -> list[str]:
        """Wait until the log has a text; the words of the log."""
        async with asyncio.timeout(20):
            while not self.log.exists() or text not in self.log.read_text():
                await asyncio.sleep(0.02)
        return self.log.read_text().split()


def light_bench(folder: Path) -> Bench:
    packages = folder / "packages"
    packages.mkdir()
    for package in {name.partition(".")[0] for name in PACKAGES}:
        (packages / f"{package}.py").write_text("raise ImportError('not installed')\n")
    return Bench(folder, {"PYTHONPATH": str(packages), "WORD": "a word"})


def lives(pid: int) -> bool:
    """Whether a process runs; a dead one that nobody has collected does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


async def until(condition: Callable[[], bool], seconds: float = 10) -> float:
    """Wait for a condition; the seconds that it took."""
    begin = time.monotonic()
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)
    return time.monotonic() - begin
