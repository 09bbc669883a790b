"""Online deployments as processes: each loads its model and answers on a loopback port."""

import asyncio
import logging
import re
import shutil
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from emulator.compute.process import Process, end_group, started_at
from emulator.compute.warm_process import NodeLost
from emulator.deployment_logs import note, storage_log
from emulator.deployment_programs import Program, is_custom, program
from emulator.http import AzureError
from emulator.probes import Probes
from emulator.resource_manager import batch_endpoints
from emulator.resource_manager.changes import settle
from emulator.resource_manager.places import workspace_paths
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
    ready: bool = True
    """Whether its readiness probe lets requests reach it."""
    watches: list[asyncio.Task[None]] = field(default_factory=list)
    """Ask now and then whether it still answers."""

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
        for workspace in workspace_paths(self._emulator):
            for endpoint in self._emulator.store.children(f"{workspace}/onlineEndpoints"):
                await self._settle(endpoint)
            for endpoint in self._emulator.store.children(f"{workspace}/batchEndpoints"):
                batch_endpoints.settle_all(self._emulator, endpoint)

    async def _settle(self, endpoint: dict[str, Any]) -> None:
        store = self._emulator.store
        deployments = store.children(f"{endpoint['id']}/deployments")
        gone = settle(store, endpoint) == "Deleting"
        for deployment in deployments:
            state = "Deleting" if gone else settle(store, deployment)
            if state == "Deleting":
                await self.stop_one(deployment["id"])
                endpoint["properties"].get("traffic", {}).pop(deployment["name"], None)
            elif state == "Succeeded":
                self._restart(deployment)
        if not gone:
            store.put(endpoint["id"], endpoint)

    async def start(self, key: str, program: Program, probes: Probes, watched: bool = False) -> int:
        """Start a deployment's process and wait until its model is loaded; gives its port.

        A process that ran for the deployment serves until the new one is ready, and goes on
        when the new one fails. A process that ends, or still fails a probe when that gives up,
        is an AzureError. One that is `watched` and stops answering later gets no requests while
        its readiness probe fails, and is killed when its liveness probe has failed; the next
        request starts another.
        """
        key = key.lower()
        server = await self._launch(key, program, self.log_path(key))
        self._starting[key] = server
        try:
            await self._wait_until_healthy(server, probes)
            if self._emulator.store.get(key) is None:
                raise AzureError(404, "ResourceNotFound", "The deployment was deleted.")
        except BaseException:
            await self._end(server)
            raise
        finally:
            if self._starting.get(key) is server:
                del self._starting[key]
        if watched:
            self._watch(server, probes)
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
        if server and server.alive and not server.ready:
            raise AzureError(
                503,
                "DeploymentNotReady",
                f"No instance of the deployment {deployment['name']} is ready: its readiness "
                "probe fails.",
            )
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
        watched = is_custom(properties) or bool(properties.get("readinessProbe"))
        port = await self.start(key, server, Probes.of(properties), watched)
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

    async def _wait_until_healthy(self, server: _Server, probes: Probes) -> None:
        """Ask more often than the probes say: who starts a deployment waits for it."""
        kind, probe = probes.first_to_give_up
        row = 0
        try:
            async with asyncio.timeout(probe.deadline):
                while server.alive:
                    row = row + 1 if await self._healthy(server, probe.timeout) else 0
                    if row >= probes.successes:
                        return
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            note(server.log, f"{kind.capitalize()} probe failed {probe.failures} times.")
            raise _not_ready(
                f"The model was not loaded within the {probe.deadline:g} seconds that the {kind} "
                "probe allows",
            ) from None
        raise _not_ready(
            f"User container has crashed or terminated (exit code {server.process.returncode})",
        )

    async def _healthy(self, server: _Server, timeout: float) -> bool:
        if not server.port:
            with server.log.open("rb") as log:
                log.seek(server.log_start)
                match = _LISTENING.search(log.read())
            if match is None:
                return False
            server.port = int(match[1])
        with suppress(httpx.HTTPError):
            address = f"http://127.0.0.1:{server.port}/health"
            return (await self.client.get(address, timeout=timeout)).status_code == 200
        return False

    def _watch(self, server: _Server, probes: Probes) -> None:
        async def healthy(timeout: float) -> bool:
            return not server.alive or await self._healthy(server, timeout)

        def readiness(good: bool) -> None:
            server.ready = good
            what = "succeeded: requests reach" if good else "failed: no requests reach"
            note(server.log, f"Readiness probe {what} the instance.")

        def liveness(good: bool) -> None:
            if server.alive and not good:
                often = probes.liveness.failures
                note(server.log, f"Liveness probe failed {often} times: the process is killed.")
                server.watches.append(asyncio.ensure_future(end_group(server.process.pid, grace=0)))

        server.watches += [
            asyncio.ensure_future(probes.liveness.watch(healthy, liveness)),
            asyncio.ensure_future(probes.readiness.watch(healthy, readiness)),
        ]

    async def _end(self, server: _Server, at_once: bool = False) -> None:
        for watch in server.watches:
            watch.cancel()
        # Also when its leader is gone: what it started may not be.
        await end_group(server.process.pid, grace=2 if server.alive and not at_once else 0)
        with suppress(NodeLost):
            await server.process.wait()
        self._groups.delete(str(server.process.pid))


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
