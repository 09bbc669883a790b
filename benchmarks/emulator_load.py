"""What the local Azure ML takes and gives: its start, its memory, many clients, large models.

    python -m benchmarks.emulator_load [--clients 500] [--megabytes 1024]

Everything in one run on one machine, the emulator and its clients on the same cores. The model
folder goes up and down through the SDK and by a client that does nothing else; both are compared
with a bare copy of the same files through one TLS connection. Results go to
.local/bench/emulator_load.json too.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.blob_copy import bare_client, bare_copy, context
from emulator.cli import running_emulator
from emulator.config import Config
from emulator.identity import MANAGEMENT, Tokens

RESULTS = Path(".local/bench/emulator_load.json")
REQUESTS_A_CLIENT = 10
_FILES = 4
_ROUNDS = 3
_PIECE = 1 << 20


@dataclass(frozen=True)
class Copies:
    """Seconds for the same files; `own` is the processor time of the SDK's process."""

    sdk_up: float
    sdk_down: float
    sdk_up_own: float
    sdk_down_own: float
    up: float
    down: float
    bare: float


@dataclass(frozen=True)
class Figures:
    """Seconds, megabytes, milliseconds as the names say; `ratio`s are to the bare copy."""

    start_seconds: float
    idle_megabytes: float
    clients: int
    requests: int
    per_second: float
    failures: int
    p50_ms: float
    p99_ms: float
    model_megabytes: int
    bare_per_second: float
    up_ratio: float
    down_ratio: float
    sdk_up_ratio: float
    sdk_down_ratio: float
    copies: Copies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--megabytes", type=int, default=1024)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options.clients, options.megabytes)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(asdict(figures), indent=2) + "\n")
    show(figures)


def measure(folder: Path, clients: int, megabytes: int) -> Figures:
    began = time.monotonic()
    with running_emulator(folder / "state") as config, _environment(config):
        first_answer(config)
        start = time.monotonic() - began
        process = psutil.Process(int((config.state / "ready").read_text()))
        idle = process.memory_info().rss / (1 << 20)
        latencies, failures, seconds = asyncio.run(many_clients(config, clients))
        copied = copies(config, folder, megabytes)
    return Figures(
        start_seconds=round(start, 2),
        idle_megabytes=round(idle, 1),
        clients=clients,
        requests=len(latencies),
        per_second=round(len(latencies) / seconds),
        failures=failures,
        p50_ms=round(statistics.median(latencies) * 1000, 1),
        p99_ms=round(statistics.quantiles(latencies, n=100)[98] * 1000, 1),
        model_megabytes=megabytes,
        bare_per_second=round(megabytes / copied.bare, 1),
        up_ratio=round(copied.bare / copied.up, 2),
        down_ratio=round(copied.bare / copied.down, 2),
        sdk_up_ratio=round(copied.bare / copied.sdk_up, 2),
        sdk_down_ratio=round(copied.bare / copied.sdk_down, 2),
        copies=copied,
    )


@contextmanager
def _environment(config: Config) -> Iterator[None]:
    previous = dict(os.environ)
    os.environ.update(config.client_environment())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(previous)


def _request(config: Config, path: str) -> bytes:
    token = Tokens(config).issue(MANAGEMENT[0], config.client_id)
    return (
        f"GET {config.workspace_path}{path}?api-version=2024-01-01-preview HTTP/1.1\r\n"
        f"Host: {config.arm_host}\r\nAuthorization: Bearer {token}\r\n\r\n"
    ).encode()


async def _connect(config: Config) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A tunnel through the proxy, as every client has it."""
    proxy = urlsplit(config.proxy_url)
    reader, writer = await asyncio.open_connection(proxy.hostname, proxy.port)
    writer.write(f"CONNECT {config.arm_host}:443 HTTP/1.1\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    await writer.start_tls(context(config), server_hostname=config.arm_host)
    return reader, writer


async def _get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bool:
    """One request on an open connection; whether it was answered with 200."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length))
    return head.startswith(b"http/1.1 200")


def first_answer(config: Config) -> None:
    """Ask for the workspace once."""

    async def ask() -> None:
        reader, writer = await _connect(config)
        assert await _get(reader, writer, _request(config, ""))
        writer.close()

    asyncio.run(ask())


async def many_clients(config: Config, clients: int) -> tuple[list[float], int, float]:
    """Latencies in seconds, failures and the whole time of clients that ask one after another.

    Every client has a connection of its own, and asks for a job as soon as it has its answer.
    """
    await asyncio.to_thread(_submit, config)
    request = _request(config, "/jobs/load")
    connections = [await _connect(config) for _ in range(clients)]
    latencies: list[float] = []
    failures = 0

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal failures
        for _ in range(REQUESTS_A_CLIENT):
            began = time.perf_counter()
            failures += not await _get(reader, writer, request)
            latencies.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(client(*connection) for connection in connections))
    seconds = time.perf_counter() - began
    for _, writer in connections:
        writer.close()
    return latencies, failures, seconds


def _client(config: Config) -> Any:
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    return MLClient(
        DefaultAzureCredential(),
        config.subscription,
        config.resource_group,
        config.workspace,
        enable_telemetry=False,
    )


def _submit(config: Config) -> None:
    from azure.ai.ml import command
    from azure.ai.ml.entities import Environment

    image = Environment(image="docker.io/library/python:3.11")
    job = command(name="load", command="true", environment=image, compute="local")
    _client(config).jobs.create_or_update(job)


def copies(config: Config, folder: Path, megabytes: int) -> Copies:
    """A model folder up and down through the SDK, by a bare client, and copied without either."""
    from azure.ai.ml.entities import Model

    model, client = folder / "model", _client(config)
    model.mkdir()
    for number in range(_FILES):
        with (model / f"part{number}.bin").open("wb") as file:
            for _ in range(megabytes // _FILES):
                file.write(os.urandom(_PIECE))
    began, own = time.monotonic(), time.process_time()
    client.models.create_or_update(
        Model(name="large", version="1", path=str(model), type="custom_model")
    )
    up, up_own = time.monotonic() - began, time.process_time() - own
    began, own = time.monotonic(), time.process_time()
    client.models.download("large", "1", download_path=str(folder / "down"))
    down, down_own = time.monotonic() - began, time.process_time() - own
    shutil.rmtree(folder / "down")
    files = sorted(model.iterdir())
    rounds = []
    for _ in range(_ROUNDS):  # taking turns: memory that was used before is faster to write to
        up_and_down = bare_client(config, files, folder / "again")
        shutil.rmtree(folder / "again")
        rounds.append((*up_and_down, bare_copy(config, files, folder / "copy")))
    turns = [statistics.median(seconds) for seconds in zip(*rounds, strict=True)]
    return Copies(up, down, up_own, down_own, *turns)


def show(figures: Figures) -> None:
    table = Table("what", "measured", "asked for", title="The local Azure ML")
    for row in (
        ("start to first answer", f"{figures.start_seconds} s", "under 2 s"),
        ("idle memory, without MLflow's server", f"{figures.idle_megabytes} MB", "under 150 MB"),
        (
            f"jobs.get by {figures.clients} clients at once",
            f"{figures.per_second}/s, p50 {figures.p50_ms} ms, p99 {figures.p99_ms} ms, "
            f"{figures.failures} failures",
            "p99 under 250 ms, no failure",
        ),
        *copy_rows(figures, figures.copies),
    ):
        table.add_row(*row)
    Console().print(table)


def copy_rows(figures: Figures, copied: Copies) -> Iterator[tuple[str, str, str]]:
    size = figures.model_megabytes
    for way, seconds, ratio in (
        ("up", copied.up, figures.up_ratio),
        ("down", copied.down, figures.down_ratio),
    ):
        told = f"{size / seconds:.0f} MB/s, {ratio} of a bare copy"
        yield f"a model of {size} MB {way}, by a bare client", told, "at least 0.5"
    for way, seconds, own, ratio in (
        ("up", copied.sdk_up, copied.sdk_up_own, figures.sdk_up_ratio),
        ("down", copied.sdk_down, copied.sdk_down_own, figures.sdk_down_ratio),
    ):
        told = f"{size / seconds:.0f} MB/s, {ratio}; of {seconds:.1f} s the SDK's process {own:.1f}"
        yield f"the same {way}, through the SDK", told, ""


if __name__ == "__main__":
    main()
