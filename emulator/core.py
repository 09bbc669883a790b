"""The parts of one emulator, put together."""

import asyncio
from pathlib import Path

from emulator.blob_store import BlobStore
from emulator.clock import CLOCK
from emulator.compute.runner import JobRunner
from emulator.compute.strays import kill_strays
from emulator.compute.warm import WarmNode
from emulator.config import Config
from emulator.deployments import DeploymentProcesses
from emulator.environments import Environments
from emulator.events import EventLog
from emulator.faults import Faults
from emulator.identity import Tokens
from emulator.operations import Operations
from emulator.registry import Registry, asset_folders
from emulator.resource_manager import computes, example_clusters
from emulator.resource_manager.workspaces import create_workspace
from emulator.scheduling.alarms import Alarms
from emulator.scheduling.scheduler import Scheduler
from emulator.storage_accounts import StorageAccounts
from emulator.store import Store
from emulator.tracking import TrackingServer
from emulator.transitions import Transitions


class Emulator:
    """Everything that the services share. Lives on one event loop, in one process."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._reset = asyncio.Lock()
        self.store = Store(config.state / "azureml.sqlite")
        self.tokens = Tokens(config)
        self.events = EventLog()
        self.faults = Faults()
        self.transitions = Transitions()
        self.operations = Operations(config, self.store, self.transitions)
        self.blobs = BlobStore(
            config.state / "blobs",
            config.account,
            config.account_key,
            self.store.document("blobs"),
        )
        self.accounts = StorageAccounts(self)
        self.registry = Registry(asset_folders(config.state))
        self.tracking = TrackingServer(config.state, config.tracking_port)
        self.node = WarmNode(config.state, config.client_environment())
        self.environments = Environments(self)
        self.jobs = JobRunner(self)
        self.deployments = DeploymentProcesses(self)
        self.alarms = Alarms()
        self.schedules = Scheduler(self)

    async def start(self) -> None:
        await asyncio.to_thread(kill_strays, self.config.state)
        await self.tracking.start()
        if self._resetting.exists():  # a reset was killed: it forgets the rest now
            self._forget()
        await self._begin_work()

    async def _begin_work(self) -> None:
        if create_workspace(self.config, self.store):
            example_clusters.create(self)
        for container in (self.config.blob_container, self.config.artifact_container):
            self.blobs.create_container(container)
        self.operations.start()
        await self.jobs.start()
        computes.start(self)
        self.schedules.start()
        self.alarms.start()
        await self.deployments.start_recorded()

    async def reset(self) -> None:
        """Forget everything: jobs and deployments are killed, resources and blobs deleted.

        The servers stay as they are, so that a test can begin with this.
        """
        async with self._reset:
            self.clear_control()
            await self._end_work(at_once=True)
            self._resetting.touch()
            self._forget()
            await self._begin_work()

    async def reset_done(self) -> None:
        """Wait while a reset is under way: what begins in it would be forgotten by halves."""
        if self._reset.locked():
            async with self._reset:
                pass

    @property
    def _resetting(self) -> Path:
        """Is there while only a part may be forgotten."""
        return self.config.state / "resetting"

    def _forget(self) -> None:
        self.jobs.unwatched.clear()
        self.store.clear()
        self.blobs.clear()
        self.accounts.clear()
        self.tracking.clear()
        self.store.commit()
        self._resetting.unlink()

    def clear_control(self) -> None:
        """Take away all that makes this cloud fail, and the log of what was asked of it."""
        self.faults.clear()
        self.transitions.clear()
        self.events.clear()
        CLOCK.clear()
        self.clear_quotas()

    def clear_quotas(self) -> None:
        """Give every quota its usual limit."""
        quotas = self.store.document("quotas")
        for name, _ in quotas.items():
            quotas.delete(name)

    async def stop(self) -> None:
        await self._end_work()
        await self.node.stop()
        await self.tracking.stop()
        self.store.close()

    async def _end_work(self, at_once: bool = False) -> None:
        """End what runs; `at_once`: nobody is given time to end by itself."""
        await self.operations.stop()
        await self.alarms.stop()
        await self.jobs.stop(at_once)
        await self.deployments.stop(at_once)
