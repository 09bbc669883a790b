"""The parts of one emulator, put together."""

from emulator.blob_store import BlobStore
from emulator.compute.runner import JobRunner
from emulator.config import Config
from emulator.deployments import DeploymentProcesses
from emulator.identity import Tokens
from emulator.operations import Operations
from emulator.registry import Registry, asset_folders
from emulator.resource_manager.workspaces import create_workspace
from emulator.store import Store
from emulator.tracking import TrackingServer


class Emulator:
    """Everything that the services share. Lives on one event loop, in one process."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.store = Store(config.state / "azureml.sqlite")
        self.tokens = Tokens(config)
        self.operations = Operations(config, self.store)
        self.blobs = BlobStore(
            config.state / "blobs",
            config.account,
            config.account_key,
            self.store.document("blobs"),
        )
        self.registry = Registry(asset_folders(config.state))
        self.tracking = TrackingServer(config.state, config.tracking_port)
        self.jobs = JobRunner(self)
        self.deployments = DeploymentProcesses(self)

    async def start(self) -> None:
        create_workspace(self.config, self.store)
        for container in (self.config.blob_container, self.config.artifact_container):
            self.blobs.create_container(container)
        self.operations.start()
        await self.tracking.start()
        await self.jobs.start()
        await self.deployments.start_recorded()

    async def reset(self) -> None:
        """Forget everything: jobs and deployments are stopped, resources and blobs deleted."""
        await self._stop_work()
        self.store.clear()
        self.blobs.clear()
        self.tracking.clear()
        await self.start()

    async def stop(self) -> None:
        await self._stop_work()
        self.store.close()

    async def _stop_work(self) -> None:
        await self.operations.stop()
        await self.jobs.stop()
        await self.deployments.stop()
        await self.tracking.stop()
