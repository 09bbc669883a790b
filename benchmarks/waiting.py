"""What waiting costs: many fine-tuning jobs awaited by one process, and one job for a day.

    python -m benchmarks.waiting [--counts 1 10 100 1000] [--seconds 60] [--hours 24]

Every wait is the flow's own task `follow the job`, run by Prefect's engine in a thread of one
process, with a Prefect server and a local Azure ML of their own. The jobs stay queued while the
process is watched; then some are let go, and the time from a job's end to the end of its wait is
taken. Results go to .local/bench/waiting.json too.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.prefect_server import prefect_server
from emulator.cli import running_emulator
from emulator.control_client import Control

RESULTS = Path(".local/bench/waiting.json")
INTERVAL = 15.0
"""Seconds between two looks, the setting's default."""
_RELEASED = 20
_GIVEN = ("workspace", "job", "deadlines", "poll_seconds")
_MB = 1 << 20


@dataclass(frozen=True)
class Waiting:
    """What the waits of one process cost while nothing happened, and how they ended."""

    jobs: int
    core_percent: float
    """Of one core, by the process that waits."""
    megabytes: float
    requests_a_minute: float
    """To Azure, all of them."""
    slowest_reaction: float
    """Seconds from a job's end to the end of its wait."""


@dataclass(frozen=True)
class Day:
    """One wait, its clock turned on at every look."""

    hours: float
    looks: int
    tokens: int
    """How often a new one was asked for."""
    megabytes_after_an_hour: float
    megabytes_at_the_end: float
    connections: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--seconds", type=float, default=60, help="how long each is watched")
    parser.add_argument("--hours", type=float, default=24)
    options = parser.parse_args()
    waits = [measure(count, options.seconds) for count in options.counts]
    day = measure_day(options.hours)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    result = {"interval": INTERVAL, "waits": [asdict(each) for each in waits], "day": asdict(day)}
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    show(waits, day)


@contextmanager
def _clouds() -> Iterator[tuple[Control, dict[str, str]]]:
    """A local Azure ML and a Prefect server; gives the environment that leads to both."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with running_emulator(folder / "azure") as config, prefect_server(folder / "p") as api:
            environment = {
                **config.client_environment(),
                "FINETUNE_HOME": str(folder / "home"),
                "PREFECT_API_URL": api,
                "PREFECT_LOGGING_LEVEL": "ERROR",
                "PREFECT_LOGGING_ROOT_LEVEL": "ERROR",
            }
            yield Control(config), environment


def measure(count: int, seconds: float) -> Waiting:
    """Await that many jobs in a process of its own."""
    with _clouds() as (control, environment):
        control.transition("jobs", mode="manual", states=["Queued"])
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=_await_all, args=(environment, count, theirs), daemon=True
        )
        process.start()
        names = ours.recv()
        process_seen = psutil.Process(process.pid)
        time.sleep(INTERVAL)  # the first pauses are shorter
        before, event = process_seen.cpu_times(), control.last_event()
        began = time.monotonic()
        time.sleep(seconds)
        after, took = process_seen.cpu_times(), time.monotonic() - began
        requests = control.last_event() - event
        memory = process_seen.memory_info().rss / _MB
        slowest = _reactions(control, ours, names)
        process.kill()
    used = after.user + after.system - before.user - before.system
    return Waiting(
        jobs=count,
        core_percent=round(100 * used / took, 1),
        megabytes=round(memory, 1),
        requests_a_minute=round(60 * requests / took, 1),
        slowest_reaction=round(slowest, 1),
    )


def _reactions(control: Control, ours: Connection, names: list[str]) -> float:
    """Let some jobs go; the longest time until a wait has ended, the job's own run included."""
    step = max(1, len(names) // _RELEASED)
    released = {name: time.time() for name in names[::step][:_RELEASED]}
    for name in released:
        control.advance_resource("jobs", name)
    ends: dict[str, float] = dict(ours.recv() for _ in released)
    return max(ended - released[name] for name, ended in ends.items())


def _await_all(environment: dict[str, str], count: int, pipe: Connection) -> None:
    """Runs in the process that waits: submits the jobs, then one task run a job."""
    os.environ.update(environment)
    from prefect import flow
    from prefect.task_runners import ThreadPoolTaskRunner

    from tasks.config import Deadlines
    from tasks.following import follow_job
    from tasks.values import JobOutcome, JobRef

    block = _block()
    names = [f"job-{number:04d}" for number in range(count)]
    _submit(block, names, "true")

    def tell(name: str, _: object) -> None:
        pipe.send((name, time.time()))

    pool: ThreadPoolTaskRunner[JobOutcome] = ThreadPoolTaskRunner(max_workers=count)

    @flow
    def await_all() -> None:
        with pool as runner:
            futures = []
            for name in names:
                given = (block, JobRef(name=name), Deadlines(), INTERVAL)
                future = runner.submit(follow_job, dict(zip(_GIVEN, given, strict=True)))
                future.add_done_callback(partial(tell, name))
                futures.append(future)
            for future in futures:
                future.wait()

    Thread(target=_tell_when_all_wait, args=(block, names, pipe), daemon=True).start()
    await_all()


def _tell_when_all_wait(block: str, names: list[str], pipe: Connection) -> None:
    from tasks.job_board import job_board

    while job_board(block).awaited < len(names):
        time.sleep(0.5)
    pipe.send(names)


def _block() -> str:
    from blocks.azureml import AzureMLWorkspace

    AzureMLWorkspace().save("waiting", overwrite=True, _sync=True)  # type: ignore[call-arg]
    return "waiting"


def _submit(block: str, names: list[str], line: str) -> None:
    from azure.ai.ml import command
    from azure.ai.ml.entities import Environment

    from tasks.clients import workspace_client

    client = workspace_client(block)
    image = Environment(image="docker.io/library/python:3.11")
    job: Any = command(command=line, environment=image, compute="local")
    for job.name in names:
        client.jobs.create_or_update(job)


def measure_day(hours: float) -> Day:
    """Await one running job for that long, in a process of its own, on a clock that is turned."""
    with _clouds() as (_, environment):
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=_await_for_long, args=(environment, hours, theirs), daemon=True
        )
        process.start()
        day: Day = ours.recv()
        process.join()
    return day


def _await_for_long(environment: dict[str, str], hours: float, pipe: Connection) -> None:
    os.environ.update(environment)
    from tasks.clients import workspace_client
    from tasks.config import Deadlines
    from tasks.errors import JobFailed
    from tasks.following import follow
    from tasks.values import JobRef

    block = _block()
    _submit(block, ["day"], "while true; do date; sleep 1; done")
    control = Control.of(Path(environment["AZUREML_EMULATOR_STATE"]))
    process = psutil.Process()
    memory: list[float] = []
    turned = looks = 0.0
    real = time.time
    time.time = lambda: real() + turned  # tokens expire here too

    def sleep(seconds: float) -> None:
        """What a pause of that length does, at once."""
        nonlocal turned, looks
        turned, looks = turned + seconds, looks + 1
        control.advance(seconds)
        if turned > 3600 * (len(memory) + 1):
            memory.append(process.memory_info().rss / _MB)
        if turned - seconds <= hours * 3600 < turned:
            workspace_client(block).jobs.begin_cancel("day")

    with suppress(JobFailed):
        day = Deadlines(run=100 * hours * 60)
        follow(block, JobRef(name="day"), day, INTERVAL, clock=lambda: turned, sleep=sleep)
    tokens = sum(event.operation == "Identity_Token" for event in control.events())
    connections = len(process.net_connections())
    pipe.send(
        Day(hours, int(looks), tokens, round(memory[0], 1), round(memory[-1], 1), connections)
    )


def show(waits: list[Waiting], day: Day) -> None:
    table = Table(
        *("jobs awaited", "of one core", "memory", "requests a minute", "slowest reaction"),
        title=f"Waiting in one process, a look every {INTERVAL:g} s",
    )
    for each in waits:
        table.add_row(
            str(each.jobs),
            f"{each.core_percent} %",
            f"{each.megabytes} MB",
            str(each.requests_a_minute),
            f"{each.slowest_reaction} s",
        )
    console = Console()
    console.print(table)
    console.print(
        f"One wait of {day.hours:g} h: {day.looks} looks, {day.tokens} tokens, memory "
        f"{day.megabytes_after_an_hour} MB after an hour and {day.megabytes_at_the_end} MB at the "
        f"end, {day.connections} open connections."
    )


if __name__ == "__main__":
    main()
