"""Steps of jobs on the warm node: cancelled, stopped, and with the node lost."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from emulator.compute.warm import WarmNode
from tests.emulator.compute_support import workplace
from tests.emulator.node_support import lives, until
from tests.emulator.test_compute_pipeline import node, pipeline_job

SLEEPER = "{name: sleeper, version: '1', type: command, command: python sleep.py, environment: any}"
SLEEP = """
import os, subprocess, sys, time
child = subprocess.Popen(["sleep", "600"])
print(os.getpid(), child.pid, os.getppid(), os.environ["PWD"] == os.getcwd(), "ready")
time.sleep(600)
"""


def test_a_step_on_the_node_ends_with_its_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the registry of the test holds counts as the emulator's own.
    monkeypatch.setattr("emulator.compute.step.ASSETS", tmp_path / "registry")

    async def scenario() -> None:
        with workplace(tmp_path) as place:
            place.node = WarmNode(tmp_path, place.config.client_environment())
            place.component(SLEEPER, {"sleep.py": SLEEP})

            async def start(name: str) -> tuple[str, str, list[int]]:
                path = place.submit(name, pipeline_job({"nap": node("sleeper")}))
                async with asyncio.timeout(120):
                    while not (children := place.children(name)):
                        await asyncio.sleep(0.02)
                    [(step, _)] = children.values()
                    log = f"ExperimentRun/dcid.{step}/user_logs/std_log.txt"
                    file = place.blobs.path(place.config.artifact_container, log)
                    while not (file.exists() and "ready" in file.read_text()):
                        await asyncio.sleep(0.02)
                *pids, parent, folder, _ = place.log(step).split()
                assert int(parent) == place.node.pid
                assert folder == "True"
                return path, step, [*map(int, pids)]

            path, step, family = await start("cancelled")
            await place.jobs.cancel(path)
            assert place.run(step)["status"] == "Canceled"
            assert not any(map(lives, family))

            _, step, family = await start("lost")
            os.kill(place.node.pid or 0, signal.SIGKILL)
            run = await place.until("lost")
            assert run["status"] == "Failed"
            assert place.run(step)["error"]["code"] == "NodeLost"
            await until(lambda: not any(map(lives, family)), seconds=2)

            _, step, family = await start("stopped")  # as the emulator's end does
            last = place.node.pid or 0
            await place.jobs.stop()
            await place.node.stop()
            assert place.run(step)["error"]["code"] == "EmulatorStopped"
            assert not any(map(lives, [last, *family]))

    asyncio.run(scenario())
