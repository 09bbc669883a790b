"""An emulator without its servers: real store, blobs, registry and job runner, on a temp folder."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from emulator.blob_store import BlobStore
from emulator.compute.records import TERMINAL
from emulator.compute.runner import JobRunner
from emulator.compute.warm import WarmNode
from emulator.config import Config, make_config
from emulator.environments import Environments
from emulator.identity import Tokens
from emulator.operations import Operations
from emulator.registry import Registry
from emulator.resource_manager.resources import envelope
from emulator.resource_manager.workspaces import create_workspace
from emulator.storage_accounts import StorageAccounts
from emulator.store import Store
from emulator.transitions import Transitions

if TYPE_CHECKING:
    from emulator.core import Emulator


@dataclass
class TrackedRuns:
    """Keeps what the runner says to the tracking server: run id -> parent, tags and status."""

    url: str = "http://127.0.0.1:1"
    is_installed: bool = True
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def create_run(
        self, run_id: str, experiment: str, name: str, tags: dict[str, str], parent: str | None
    ) -> None:
        self.runs[run_id] = {
            "experiment": experiment,
            "name": name,
            "tags": tags,
            "parent": parent,
            "status": "RUNNING",
        }

    async def end_run(self, run_id: str, status: str) -> None:
        self.runs.setdefault(run_id, {})["status"] = status


class Workplace:
    """What the job runner needs of an emulator, and short ways to give it work."""

    def __init__(self, state: Path, cores: int = 2) -> None:
        config = make_config(state, environment={})
        self.config: Config = Config(**{**vars(config), "cores": cores})
        self.store = Store(state / "azureml.sqlite")
        self.transitions = Transitions()
        self.operations = Operations(self.config, self.store, self.transitions)
        self.blobs = BlobStore(
            state / "blobs",
            self.config.account,
            self.config.account_key,
            self.store.document("blobs"),
        )
        self.accounts = StorageAccounts(cast("Emulator", self))
        self.registry = Registry([state / "registry"])
        self.tokens = Tokens(self.config)
        self.tracking = TrackedRuns()
        create_workspace(self.config, self.store)
        for container in (self.config.blob_container, self.config.artifact_container):
            self.blobs.create_container(container)
        self.node = WarmNode(state)
        self.environments = Environments(cast("Emulator", self))
        self.environment("any", image="any")
        self.jobs = JobRunner(cast("Emulator", self))

    @property
    def as_emulator(self) -> "Emulator":
        return cast("Emulator", self)

    def component(self, spec: str, files: dict[str, str] | None = None) -> None:
        """Put a component into the registry: its YAML, and files beside it as its code."""
        read = yaml.safe_load(spec)
        folder = self.config.state / "registry" / "components" / read["name"]
        folder.mkdir(parents=True, exist_ok=True)
        if files:
            (folder / "code").mkdir(exist_ok=True)
            read["code"] = "code"
        for name, text in (files or {}).items():
            (folder / "code" / name).write_text(text)
        (folder / "component.yaml").write_text(yaml.safe_dump(read))

    def cluster(self, name: str, nodes: int = 1) -> None:
        path = f"{self.config.workspace_path}/computes/{name}"
        details = {"vmSize": "Standard_DS3_v2", "scaleSettings": {"maxNodeCount": nodes}}
        body = {"properties": {"computeType": "AmlCompute", "properties": details}}
        self.store.put(path, envelope(self.store, path, "computes", body))

    def environment(self, name: str, **properties: str) -> None:
        """Register version 1 of an environment: its `image` or its `condaFile`."""
        path = f"{self.config.workspace_path}/environments/{name}"
        for key, kind in ((path, "environments"), (f"{path}/versions/1", "environments/versions")):
            shared = {**properties, "latestVersion": "1"} if key == path else properties
            body = {"properties": shared}
            self.store.put(key, envelope(self.store, key, kind, body))

    def data(self, path: str, text: str) -> str:
        """Write a blob of the default datastore; gives its address."""
        self.blobs.write_bytes(self.config.blob_container, path, text.encode())
        return f"azureml://datastores/workspaceblobstore/paths/{path}"

    def submit(self, name: str, properties: dict[str, Any]) -> str:
        """Store and start a job; gives its path."""
        path = f"{self.config.workspace_path}/jobs/{name}"
        self.store.put(path, envelope(self.store, path, "jobs", {"properties": properties}))
        self.jobs.submit(path)
        return path

    def run(self, name: str) -> dict[str, Any]:
        run = self.jobs.records.get(name)
        assert run is not None, f"no run {name}"
        return run

    def children(self, name: str) -> dict[str, tuple[str, dict[str, Any]]]:
        """display name -> (job name, run) of a job's direct children."""
        found = {}
        for child in self.run(name)["children"]:
            run = self.run(child)
            found[run["displayName"]] = (child, run)
        return found

    def log(self, name: str, which: str = "user_logs/std_log.txt") -> str:
        blob = f"ExperimentRun/dcid.{name}/{which}"
        return self.blobs.read_bytes(self.config.artifact_container, blob).decode()

    def read(self, path: str) -> str:
        return self.blobs.read_bytes(self.config.blob_container, path).decode()

    async def until(self, name: str, *statuses: str, seconds: float = 20) -> dict[str, Any]:
        """Wait until a job has one of the statuses (default: until it has ended)."""
        wanted = set(statuses) or TERMINAL
        async with asyncio.timeout(seconds):
            while self.run(name)["status"] not in wanted:
                await asyncio.sleep(0.02)
        return self.run(name)


@contextmanager
def workplace(state: Path, cores: int = 2) -> Iterator[Workplace]:
    place = Workplace(state, cores)
    try:
        yield place
    finally:
        place.store.close()


def command_job(command: str, **properties: Any) -> dict[str, Any]:
    return {
        "jobType": "Command",
        "command": command,
        "environmentId": "azureml:any:1",
        "computeId": "local",
        **properties,
    }


def literal(value: str) -> dict[str, str]:
    """A node's literal input or binding, as the SDK sends it."""
    return {"job_input_type": "literal", "value": value}


def registry_component(name: str, version: str = "1") -> str:
    return f"azureml://registries/azureml/components/{name}/versions/{version}"
