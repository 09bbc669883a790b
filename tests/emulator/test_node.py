"""A script on the warm node sees and does what it would as `python script.py`."""

import asyncio
import os
import re
import signal
from pathlib import Path

import psutil
import pytest

from emulator.compute.process import end_group
from emulator.compute.warm import WarmNode
from tests.emulator.node_scripts import GRANDCHILDREN, SCRIPTS
from tests.emulator.node_support import Bench, light_bench, lives, until

_ADDRESS = re.compile("0x[0-9a-f]+")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return light_bench(tmp_path)


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS)
def test_a_script_cannot_tell_where_it_runs(bench: Bench, text: str) -> None:
    async def scenario() -> None:
        node = bench.node()
        warm = await bench.warm(node, text, "one", "t w o")
        await node.stop()
        cold = await bench.cold(text, "python script.py one 't w o'")
        assert [_ADDRESS.sub("", str(part)) for part in warm] == [
            _ADDRESS.sub("", str(part)) for part in cold
        ]

    asyncio.run(scenario())


def test_what_was_not_closed_is_written(bench: Bench) -> None:
    async def scenario() -> None:
        node = bench.node()
        await bench.warm(node, SCRIPTS["a file that nobody closes"])
        await node.stop()
        assert (bench.folder / "open.txt").read_text() == "all of it"

    asyncio.run(scenario())


def test_a_script_that_is_not_there(bench: Bench) -> None:
    async def scenario() -> None:
        node = bench.node()
        process = await node.spawn(
            script="none.py",
            arguments=[],
            folder=bench.folder,
            environment=bench.environment,
            log=bench.log,
        )
        warm = await process.wait(), bench.log.read_text().partition(":")[2]
        await node.stop()
        code, said = await bench.cold("", "python none.py")
        assert warm == (code, said.partition(":")[2])

    asyncio.run(scenario())


def test_a_module_runs_as_with_the_option_m(bench: Bench) -> None:
    text = "import sys\nprint(__name__, __package__, __spec__.name, sys.argv)\nsys.exit(4)"

    async def scenario() -> None:
        bench.script(text, "some_module.py")
        node = bench.node()
        process = await node.spawn(
            module="some_module",
            arguments=["a"],
            folder=bench.folder,
            environment=bench.environment,
            log=bench.log,
            path=[str(bench.folder)],
        )
        warm = await process.wait(), bench.log.read_text()
        await node.stop()
        assert warm == await bench.cold("", "python -m some_module a")
        assert warm[0] == 4

    asyncio.run(scenario())


def test_the_end_of_a_group_ends_grandchildren(bench: Bench) -> None:
    async def scenario() -> None:
        node = bench.node()
        process = await bench.spawn(node, GRANDCHILDREN)
        *family, _ = [word for word in await bench.said("ready")]
        await end_group(process.pid)
        assert await process.wait() == -signal.SIGTERM
        assert int(family[0]) == process.pid
        assert [pid for pid in map(int, family) if lives(pid)] == []
        assert lives(node.pid or 0)
        await node.stop()

    asyncio.run(scenario())


def test_several_run_at_once_and_each_has_its_own_end(bench: Bench) -> None:
    async def one(node: WarmNode, number: int) -> int:
        log = bench.folder / f"log{number}"
        process = await node.spawn(
            script=bench.script("import sys, time\ntime.sleep(0.3)\nsys.exit(int(sys.argv[1]))"),
            arguments=[str(number)],
            folder=bench.folder,
            environment=bench.environment,
            log=log,
        )
        return await process.wait()

    async def scenario() -> None:
        node = bench.node()
        codes = await asyncio.gather(*(one(node, number) for number in range(20)))
        assert codes == [*range(20)]
        assert psutil.Process(node.pid).children() == []
        await node.stop()

    asyncio.run(scenario())


def test_a_spawn_that_is_given_up_leaves_no_process(bench: Bench) -> None:
    async def scenario() -> None:
        node = bench.node()
        await bench.warm(node, "")
        for turns in range(6):
            spawning = asyncio.create_task(
                bench.spawn(node, "import time; time.sleep(600)", name="long.py")
            )
            for _ in range(turns):
                await asyncio.sleep(0)
            spawning.cancel()
            with pytest.raises(asyncio.CancelledError):
                await spawning
        assert (await bench.warm(node, "print('alive')")) == (0, "alive\n")
        await until(lambda: not psutil.Process(node.pid).children())
        await node.stop()

    asyncio.run(scenario())


def test_a_process_of_the_node_shares_nothing_with_the_emulator(bench: Bench) -> None:
    """Neither a descriptor that would keep a port or a pipe open, nor the terminal."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)

    async def scenario() -> None:
        node = bench.node()
        _, said = await bench.warm(node, "import os; print(*os.listdir('/proc/self/fd'))")
        assert len(said.split()) == 4  # the three streams and the listing itself
        await node.stop()

    asyncio.run(scenario())
    os.close(reader)
    os.close(writer)
