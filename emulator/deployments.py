"""Online deployments as processes: each loads its model and answers on a loopback port."""

import asyncio
import logging
import re
import shutil
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from emulator.compute.durations import seconds
from emulator.compute.process import Process, end_group, started_at
from emulator.compute.warm_process import NodeLost
from emulator.deployment_logs import note, storage_log
from emulator.deployment_programs import Program, is_custom, program
from emulator.http import AzureError
from emulator.scoring_process import launch

if TYPE_CHECKING:
    from emulator.core import Emulator

_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_LISTENING = re.compile(rb"^LISTENING (\d+)\s*$", re.MULTILINE)


@dataclass
class _Server:
    """One scoring process. Its id is its process group's too."""

    process: Process
    log: Path
    log_start: int
    """Where this process's part of the log begins, in bytes."""
    port: int = 0
    watch: asyncio.Task[None] | None = None
    """Asks now and then whether it still answers."""

    @property
    def alive(self) -> bool:
        return self.process.returncode is None


class DeploymentProcesses:
    """The scoring processes of all deployments, by the path of the deployment's resource.

    One process stands for all instances of a deployment.
    """

    def __init__(self, emulator: "Emulator") -> None:
        self._emulator = emulator
        self._servers: dict[str, _Server] = {}
        self._starting: dict[str, _Server] = {}
        self._restarts: dict[str, asyncio.Task[int]] = {}
        self._groups = emulator.store.document("deployment processes")
        self.client = httpx.AsyncClient(trust_env=False, verify=False, timeout=None)

    async def start_recorded(self) -> None:
        """Bring back what an earlier life of the emulator left.

        Its processes are ended, deployments that were ready start again in the background, and
        what was in the middle of a change has failed.
        """
        self.client = httpx.AsyncClient(trust_env=False, verify=False, timeout=None)
        for group, started in self._groups.items():
            if started_at(int(group)) == started:
                await end_group(int(group), grace=0)
            self._groups.delete(group)
        store = self._emulator.store
        for endpoint in store.children(f"{self._emulator.config.workspace_path}/onlineEndpoints"):
            _settle(self._emulator, endpoint)
            for deployment in store.children(f"{endpoint['id']}/deployments"):
                if _settle(self._emulator, deployment) == "Succeeded":
                    self._restart(deployment)

    async def start(
        self, key: str, program: Program, deadline: float, probe: Mapping[str, Any] | None = None
    ) -> int:
        """Start a deployment's process and wait until its model is loaded; gives its port.

        A process that ran for the deployment serves until the new one is ready, and goes on
        when the new one fails. `deadline`: the most seconds that loading may take. A process
        that ends or is not ready by then is an AzureError. With a liveness `probe` one that
        stops answering later is killed; the next request starts another.
        """
        key = key.lower()
        server = await self._launch(key, program, self.log_path(key))
        self._starting[key] = server
        try:
            await self._wait_until_healthy(server, deadline)
            if self._emulator.store.get(key) is None:
                raise AzureError(404, "ResourceNotFound", "The deployment was deleted.")
        except BaseException:
            await self._end(server)
            raise
        finally:
            if self._starting.get(key) is server:
                del self._starting[key]
        if probe is not None:
            server.watch = asyncio.create_task(self._watch(server, probe))
        old, self._servers[key] = self._servers.get(key), server
        if old:
            await self._end(old)
        return server.port

    async def port(self, deployment: Mapping[str, Any]) -> int:
        """The port of a deployment's process.

        A process that has died is started again, as is one that an earlier life of the emulator
        had; several callers wait for one start. AzureError 503 when the deployment is not ready.
        """
        key = deployment["id"].lower()
        server = self._servers.get(key)
        if server and server.alive:
            return server.port
        state = deployment["properties"].get("provisioningState")
        if state != "Succeeded":
            raise AzureError(
                503,
                "DeploymentNotReady",
                f"The deployment {deployment['name']} cannot answer: its state is {state}.",
            )
        # A caller that gives up must not end the start that others wait for.
        return await asyncio.shield(self._restart(deployment))

    def _restart(self, deployment: Mapping[str, Any]) -> asyncio.Task[int]:
        key = deployment["id"].lower()
        task = self._restarts.get(key)
        if task is None:
            task = self._restarts[key] = asyncio.ensure_future(self.start_resource(deployment))
            task.add_done_callback(lambda done: self._restarted(key, done))
        return task

    def _restarted(self, key: str, task: asyncio.Task[int]) -> None:
        self._restarts.pop(key, None)
        if not task.cancelled() and (error := task.exception()):
            _log.warning("the deployment %s did not start again: %s", key, error)

    async def start_resource(self, resource: Mapping[str, Any]) -> int:
        """Start the process of a deployment's resource, as `start` does."""
        key = resource["id"].lower()
        log = self.log_path(key)
        log.parent.mkdir(parents=True, exist_ok=True)
        # A folder a start: the process that still serves has its own.
        place = self.folder(key)
        folder = place / uuid.uuid4().hex[:8]
        server = await program(self._emulator, resource, folder, log)
        properties = resource["properties"]
        probe = (properties.get("livenessProbe") or {}) if is_custom(properties) else None
        port = await self.start(key, server, loading_deadline(properties), probe)
        await asyncio.to_thread(_keep_only, place, folder)
        return port

    async def stop_one(self, key: str) -> None:
        """End a deployment's processes and forget its log."""
        key = key.lower()
        servers = (self._servers.pop(key, None), self._starting.pop(key, None))
        await asyncio.gather(*(self._end(server) for server in servers if server))
        for log in (self.log_path(key), storage_log(self.log_path(key))):
            log.unlink(missing_ok=True)
        await asyncio.to_thread(shutil.rmtree, self.folder(key), ignore_errors=True)

    async def stop(self, at_once: bool = False) -> None:
        """End all processes; `at_once`: without a grace."""
        restarts = list(self._restarts.values())
        for task in restarts:
            task.cancel()
        await asyncio.gather(*restarts, return_exceptions=True)
        servers = [*self._servers.values(), *self._starting.values()]
        self._servers.clear()
        self._starting.clear()
        await asyncio.gather(*(self._end(server, at_once) for server in servers))
        await self.client.aclose()

    def log_path(self, key: str) -> Path:
        """Where a deployment's processes write."""
        endpoint, _, name = key.lower().partition("/onlineendpoints/")[2].partition("/deployments/")
        return self._emulator.config.state / "deployments" / endpoint / f"{name}.log"

    def folder(self, key: str) -> Path:
        """Where the code and the model of a custom deployment are laid out."""
        return self.log_path(key).with_suffix(".files")

    async def _launch(self, key: str, program: Program, log: Path) -> _Server:
        # Before the process exists: it writes to the same file.
        log.parent.mkdir(parents=True, exist_ok=True)
        start = log.stat().st_size if log.exists() else 0
        process = await launch(self._emulator, key, program, log)
        self._groups.put(str(process.pid), started_at(process.pid))
        return _Server(process, log, start)

    async def _wait_until_healthy(self, server: _Server, deadline: float) -> None:
        try:
            async with asyncio.timeout(deadline):
                while server.alive:
                    if await self._healthy(server):
                        return
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise _not_ready(
                f"The model was not loaded within the {deadline:g} seconds that the liveness "
                "probe allows",
            ) from None
        raise _not_ready(
            f"User container has crashed or terminated (exit code {server.process.returncode})",
        )

    async def _healthy(self, server: _Server) -> bool:
        if not server.port:
            with server.log.open("rb") as log:
                log.seek(server.log_start)
                match = _LISTENING.search(log.read())
            if match is None:
                return False
            server.port = int(match[1])
        with suppress(httpx.HTTPError):
            answer = await self.client.get(f"http://127.0.0.1:{server.port}/health", timeout=2)
            return answer.status_code == 200
        return False

    async def _watch(self, server: _Server, probe: Mapping[str, Any]) -> None:
        """Kill a process that has not answered as often in a row as the probe allows."""
        period = seconds(probe.get("period") or "PT10S") or 10
        most, failures = int(probe.get("failureThreshold") or 30), 0
        while server.alive and failures < most:
            await asyncio.sleep(period)
            failures = 0 if await self._healthy(server) else failures + 1
        if server.alive:
            note(server.log, f"Liveness probe failed {failures} times: the process is killed.")
            await end_group(server.process.pid, grace=0)

    async def _end(self, server: _Server, at_once: bool = False) -> None:
        if server.watch:
            server.watch.cancel()
        # Also when its leader is gone: what it started may not be.
        await end_group(server.process.pid, grace=2 if server.alive and not at_once else 0)
        with suppress(NodeLost):
            await server.process.wait()
        self._groups.delete(str(server.process.pid))


def loading_deadline(properties: Mapping[str, Any]) -> float:
    """How many seconds the liveness probe gives a deployment to load its model."""
    probe = properties.get("livenessProbe") or {}
    delay = seconds(probe.get("initialDelay") or "PT10S") or 0
    period = seconds(probe.get("period") or "PT10S") or 0
    return delay + period * int(probe.get("failureThreshold") or 30)


def _settle(emulator: "Emulator", resource: dict[str, Any]) -> str:
    """The state of a resource after a restart: nothing is in the middle of a change any more."""
    state: str = resource["properties"].get("provisioningState", "Failed")
    if state == "Deleting":
        emulator.store.delete(resource["id"])
    elif state not in ("Succeeded", "Failed"):
        state = resource["properties"]["provisioningState"] = "Failed"
        emulator.store.put(resource["id"], resource)
    return state


def _not_ready(reason: str) -> AzureError:
    # Like Azure's own it says nothing of the container's log, which get_logs shows.
    guide = "Please see troubleshooting guide, available here: https://aka.ms/oe-tsg"
    return AzureError(400, "ResourceNotReady", f"{reason}. {guide}#error-resourcenotready")


def _keep_only(place: Path, folder: Path) -> None:
    """Delete what earlier processes of a deployment had in their folders."""
    if place.is_dir():
        for other in place.iterdir():
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)
