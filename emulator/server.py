"""One emulator's life: lock, start, serve, stop."""

import asyncio
import contextlib
import fcntl
import gc
import os
import resource
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import uvicorn

from emulator.application import gated_application
from emulator.certificates import ensure_certificates
from emulator.config import make_config
from emulator.connections import BreakableProtocol
from emulator.core import Emulator
from emulator.fault_file import FaultFile, apply_fault_file
from emulator.gate import Gate
from emulator.hub import hub_app, operation_name
from emulator.pages.site import Site
from emulator.proxy import Proxy
from emulator.refusals import hub_refusal

_OPEN_FILES = 10_240
"""The most that macOS gives a process."""
_NEW_OBJECTS = 10_000
"""Objects made, and not gone again, between two looks for garbage."""
HUB_FOLDER = Path(__file__).parent / "hub_assets"


class AlreadyRunning(Exception):
    """Another process serves this state folder."""


class _Server(uvicorn.Server):
    """A server that leaves the signals to us: several share one process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def load(self) -> "_Server":
        """Make it ready for connections that others accept."""
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        return self

    def protocol(self) -> asyncio.Protocol:
        """What speaks HTTP on one more connection of this server."""
        return BreakableProtocol(self.config, self.server_state, self.lifespan.state)

    def context(self) -> ssl.SSLContext:
        """The certificate that it shows."""
        assert self.config.ssl is not None
        return self.config.ssl


def take_lock(state: Path) -> IO[str]:
    """Hold the state folder; the kernel lets go of it when the process ends, however it ends."""
    state.mkdir(parents=True, exist_ok=True)
    state.chmod(0o700)
    lock = (state / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise AlreadyRunning(
            f"An emulator already runs for {state}. Use it (azureml-emulator exec), stop it, or "
            "choose another folder with --state."
        ) from error
    return lock


def is_running(state: Path) -> bool:
    if not (state / "lock").exists():
        return False
    try:
        take_lock(state).close()
    except AlreadyRunning:
        return True
    return False


async def serve(
    state: Path, exit_with_parent: bool = False, faults: FaultFile | None = None
) -> None:
    """Serve a state folder until SIGINT or SIGTERM (or, if asked, the parent's end)."""
    with take_lock(state):
        allow_many_connections()
        ready = state / "ready"
        ready.unlink(missing_ok=True)
        config = make_config(state)
        config.save()
        key, chain = ensure_certificates(config)
        emulator = Emulator(config)
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        datasets = hub_app(state / "hub", HUB_FOLDER)  # the user's own go before
        hub = Gate(datasets, emulator.faults, emulator.events, operation_name, hub_refusal)
        application = gated_application(emulator)
        servers = [
            uvicorn_server(application, config.tls_port, ssl_keyfile=key, ssl_certfile=chain),
            uvicorn_server(hub, config.hub_port),
        ]
        pages = uvicorn_server(Site(emulator), 0).load()
        proxy = Proxy(config.proxy_port, servers[0].protocol, servers[0].context, pages.protocol)
        if faults:
            apply_fault_file(emulator, faults)
        await emulator.start()
        tasks = [asyncio.create_task(server.serve()) for server in servers]
        await _until_started(servers, tasks)
        await proxy.start()
        _spare_garbage_collection()
        ready.write_text(str(os.getpid()))
        if not exit_with_parent:
            print(f"Page for a browser: {config.proxy_url}/", flush=True)
        watch = asyncio.create_task(_watch_parent(stop)) if exit_with_parent else None
        try:
            await stop.wait()
        finally:
            ready.unlink(missing_ok=True)
            if watch:
                watch.cancel()
            await _stop(servers, tasks, proxy, emulator)


def allow_many_connections() -> None:
    """Raise the limit of open files, which is 256 on macOS and 1024 on most Linux systems."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # the system's own limit is lower
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _spare_garbage_collection() -> None:
    """Leave what was loaded out of it: every look through all of that holds up all requests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)


def uvicorn_server(app: Any, port: int, **tls: Path) -> _Server:
    """A server on loopback whose connections can be broken."""
    return _Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=port,
            http=BreakableProtocol,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_keep_alive=75,
            timeout_graceful_shutdown=2,
            server_header=False,
            proxy_headers=False,
            **{k: str(v) for k, v in tls.items()},  # type: ignore[arg-type]
        )
    )


async def _until_started(servers: list[_Server], tasks: list[asyncio.Task[None]]) -> None:
    while not all(server.started for server in servers):
        for task in tasks:
            if task.done():
                task.result()
                raise RuntimeError("a server of the emulator ended while it started")
        await asyncio.sleep(0.01)


async def _watch_parent(stop: asyncio.Event) -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(0.5)
    stop.set()


async def _stop(
    servers: list[_Server], tasks: list[asyncio.Task[None]], proxy: Proxy, emulator: Emulator
) -> None:
    await proxy.stop()
    for server in servers:
        server.should_exit = True
    await asyncio.gather(*tasks, return_exceptions=True)
    await emulator.stop()
