"""The warm node's own life: it starts, rests, is killed, cannot start; work goes on."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from emulator.compute.warm import WarmNode
from emulator.compute.warm_process import NodeLost
from tests.emulator.node_scripts import GRANDCHILDREN
from tests.emulator.node_support import Bench, light_bench, lives, until
from tests.emulator.running import ROOT


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return light_bench(tmp_path)


def test_a_killed_node_takes_its_work_along_and_the_next_one_works(bench: Bench) -> None:
    async def scenario() -> None:
        node = bench.node()
        process = await bench.spawn(node, GRANDCHILDREN)
        *family, _ = await bench.said("ready")
        killed = node.pid
        assert killed
        os.kill(killed, signal.SIGKILL)
        with pytest.raises(NodeLost):
            async with asyncio.timeout(5):
                await process.wait()
        assert process.returncode == -signal.SIGKILL
        await until(lambda: not any(lives(int(pid)) for pid in family), seconds=2)
        assert await bench.warm(node, "print('again')") == (0, "again\n")
        assert node.pid not in (None, killed)
        await node.stop()

    asyncio.run(scenario())


def test_a_node_killed_at_its_start_is_tried_again(bench: Bench) -> None:
    async def scenario() -> None:
        node = bench.node()
        spawning = asyncio.create_task(bench.spawn(node, ""))
        await until(lambda: node.pid is not None)
        os.kill(node.pid or 0, signal.SIGKILL)
        with pytest.raises(NodeLost):
            await spawning
        assert node.is_on
        assert (await bench.warm(node, "print(1)")) == (0, "1\n")
        await node.stop()

    asyncio.run(scenario())


def test_a_node_that_cannot_start_says_so_and_is_not_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        node = WarmNode(tmp_path, {"PYTHONHOME": str(tmp_path / "nothing")})
        bench = Bench(tmp_path, {})
        with pytest.raises(NodeLost):
            await bench.spawn(node, "")
        assert "did not start (exit code 1)" in caplog.text
        assert str(node.log) in caplog.text
        assert "nothing" in node.log.read_text()
        assert not node.is_on
        assert not node.is_up
        with pytest.raises(NodeLost, match="off"):
            await bench.spawn(node, "")

    asyncio.run(scenario())


def test_a_node_without_a_folder_does_not_make_anybody_wait(tmp_path: Path) -> None:
    async def scenario() -> None:
        node = WarmNode(tmp_path / "gone" / "state")
        for _ in range(2):
            with pytest.raises(NodeLost):
                async with asyncio.timeout(5):
                    await Bench(tmp_path, {}).spawn(node, "")

    asyncio.run(scenario())


def test_a_package_that_starts_a_thread_makes_the_node_refuse(bench: Bench) -> None:
    (bench.folder / "packages" / "torch.py").write_text(
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=[600], daemon=True).start()\n"
    )

    async def scenario() -> None:
        node = bench.node()
        with pytest.raises(NodeLost):
            await bench.spawn(node, "")
        assert "started threads" in node.log.read_text()
        assert not node.is_on

    asyncio.run(scenario())


def test_a_package_that_fails_is_left_to_the_step(bench: Bench) -> None:
    (bench.folder / "packages" / "torch.py").write_text("raise RuntimeError('no driver')\n")

    async def scenario() -> None:
        node = bench.node()
        code, said = await bench.warm(node, "import torch")
        assert code == 1
        assert said.endswith("RuntimeError: no driver\n")
        assert "torch cannot be imported: RuntimeError('no driver')" in node.log.read_text()
        await node.stop()

    asyncio.run(scenario())


def test_an_idle_node_ends_and_the_next_spawn_starts_one(bench: Bench) -> None:
    async def scenario() -> None:
        node = bench.node(idle_seconds=0.2)
        assert await bench.warm(node, "import time; time.sleep(0.6)") == (0, "")
        first = node.pid
        assert first
        await until(lambda: not lives(first), seconds=5)
        assert not node.is_up
        assert await bench.warm(node, "print(2)") == (0, "2\n")
        await node.stop()

    asyncio.run(scenario())


def test_no_spawn_is_lost_to_the_end_of_an_idle_node(bench: Bench) -> None:
    """Spawns that come just before, at and after the moment when the node goes to rest."""

    async def scenario() -> None:
        node = bench.node(idle_seconds=0.03)
        pids = set()
        for turn in range(30):
            assert await bench.warm(node, "print('done')") == (0, "done\n")
            pids.add(node.pid)
            await asyncio.sleep(0.025 + turn % 10 * 0.001)
        assert len(pids) > 1
        await node.stop()

    asyncio.run(scenario())


def test_stop_ends_a_node_at_work_and_one_that_starts(bench: Bench) -> None:
    async def scenario() -> None:
        node = bench.node()
        process = await bench.spawn(node, GRANDCHILDREN)
        *family, _ = await bench.said("ready")
        await node.stop()
        with pytest.raises(NodeLost):
            await process.wait()
        await until(lambda: not any(lives(int(pid)) for pid in family), seconds=2)

        spawning = asyncio.create_task(bench.spawn(node, ""))
        await until(lambda: node.pid is not None)
        starting = node.pid or 0
        async with asyncio.timeout(2):
            await node.stop()
        with pytest.raises(NodeLost):
            await spawning
        assert not lives(starting)
        assert await bench.warm(node, "print('on')") == (0, "on\n")
        await node.stop()

    asyncio.run(scenario())


def test_the_switch(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZUREML_EMULATOR_WARM", "0")

    async def scenario() -> None:
        before = psutil.Process().children()
        node = bench.node()
        node.prepare()
        assert not node.is_up
        with pytest.raises(NodeLost):
            await bench.spawn(node, "")
        assert psutil.Process().children() == before

    asyncio.run(scenario())


def test_settings_that_packages_read_at_import_need_a_process_of_their_own(bench: Bench) -> None:
    async def scenario() -> None:
        node, usual = bench.node(), bench.environment
        assert node.suits(usual)
        assert node.suits(usual | {"AZUREML_RUN_ID": "a", "AZURE_ML_INPUT_x": "b"})
        assert node.suits(usual | {"MLFLOW_RUN_ID": "a"})
        assert not node.suits(usual | {"HF_HUB_OFFLINE": "1"})
        assert not node.suits(usual | {"PYTHONHASHSEED": "1"})
        assert not node.suits(usual | {"WORD": "another"})
        assert not node.suits({name: usual[name] for name in usual if name != "WORD"})

    asyncio.run(scenario())


OWNER = """
import asyncio, sys
from pathlib import Path
from tests.emulator.node_support import Bench
from tests.emulator.node_scripts import GRANDCHILDREN

async def main():
    bench = Bench(Path(sys.argv[1]), {"PYTHONPATH": sys.argv[1] + "/packages"})
    node = bench.node()
    await bench.spawn(node, GRANDCHILDREN if sys.argv[2] == "busy" else "")
    print(node.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("signals", [[signal.SIGKILL], [signal.SIGSTOP, signal.SIGKILL]])
def test_nothing_outlives_a_killed_emulator(bench: Bench, signals: list[signal.Signals]) -> None:
    """The node ends by the end of its input; what it forked, with it."""
    owner = _owner(bench, "busy")

    async def scenario() -> None:
        *family, _ = await bench.said("ready")
        assert owner.stdout is not None
        everybody = [int(owner.stdout.readline()), *map(int, family)]
        assert all(map(lives, everybody))
        for number in signals:
            owner.send_signal(number)
        owner.wait()
        await until(lambda: not any(map(lives, everybody)), seconds=2)

    try:
        asyncio.run(scenario())
    finally:
        owner.kill()
        owner.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux tells of a parent's end")
def test_a_node_that_still_starts_does_not_outlive_a_killed_emulator(bench: Bench) -> None:
    (bench.folder / "packages" / "torch.py").write_text(
        f"import os, time\nwith open({str(bench.log)!r}, 'w') as log:\n"
        "    log.write(f'{os.getpid()} starting')\n"
        "time.sleep(600)\n"
    )
    owner = _owner(bench, "idle")

    async def scenario() -> None:
        node, _ = await bench.said("starting")
        owner.kill()
        owner.wait()
        await until(lambda: not lives(int(node)), seconds=2)

    try:
        asyncio.run(scenario())
    finally:
        owner.kill()
        owner.wait()


def _owner(bench: Bench, work: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", OWNER, str(bench.folder), work],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
