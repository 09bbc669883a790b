"""Removes the files and the MLflow experiments of a session of the contract tests."""

import functools
import re
from collections.abc import Iterable
from typing import Any

import httpx

from tests.contract.service import Service

_DATASTORE = re.compile(r"azureml://.*?datastores/(?P<name>[^/]+)(?:/paths)?/(?P<path>.+)")
_BLOB = re.compile(r"https://(?P<account>[^.]+)\.blob\.[^/]+/(?P<container>[^/]+)/?(?P<path>[^?]*)")
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def delete_files(service: Service, addresses: Iterable[str]) -> list[str]:
    """Delete the blobs at, and below, addresses; gives what could not be deleted, and why."""
    left = []
    files = _Files(service)
    for address in sorted(set(addresses)):
        try:
            files.delete(address)
        except Exception as error:
            left.append(f"{address}: {error}")
    return left


def delete_uploads(service: Service, prefix: str) -> list[str]:
    """Delete what was uploaded under the session's names before an asset named it.

    An interrupted session leaves such files, and nothing else knows where they are.
    """
    try:
        return _Files(service).delete_uploads(prefix)
    except Exception as error:
        return [f"uploads of {prefix}: {error}"]


class _Files:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._datastores = {
            datastore["name"]: datastore["properties"] for datastore in service.pages("/datastores")
        }
        self._used = {properties.get("containerName") for properties in self._datastores.values()}

    def delete(self, address: str) -> None:
        account, name, prefix = self._place(address)
        container = self._container(account, name)
        for blob in [blob.name for blob in container.list_blobs(name_starts_with=prefix)]:
            if blob == prefix or blob.startswith(prefix.rstrip("/") + "/"):
                container.delete_blob(blob)
        # Code gets a container for each upload. One that others use is not empty, or has a name.
        if _GUID.fullmatch(name) and name not in self._used and not list(container.list_blobs()):
            container.delete_container()

    def delete_uploads(self, prefix: str) -> list[str]:
        default = next(p for p in self._datastores.values() if p.get("isDefault"))
        container = self._container(default["accountName"], default["containerName"])
        found = [blob.name for blob in container.list_blobs(name_starts_with="LocalUpload/")]
        for blob in found:
            if f"/{prefix}" in blob:
                container.delete_blob(blob)
        return []

    def _place(self, address: str) -> tuple[str, str, str]:
        """Account, container and path of an address."""
        if match := _DATASTORE.fullmatch(address):
            properties = self._datastores[match["name"]]
            return properties["accountName"], properties["containerName"], match["path"]
        match = _BLOB.fullmatch(address)
        if match is None:
            raise ValueError("it is in no datastore and no container")
        return match["account"], match["container"], match["path"]

    def _container(self, account: str, name: str) -> Any:
        from azure.identity import DefaultAzureCredential
        from azure.storage.blob import ContainerClient

        return ContainerClient(
            f"https://{account}.blob.core.windows.net",
            name,
            credential=self._key(account) or DefaultAzureCredential(),
        )

    @functools.cache  # noqa: B019
    def _key(self, account: str) -> str | None:
        """The key of an account, as a datastore of it has it; None when none has it."""
        for name, properties in self._datastores.items():
            if properties.get("accountName") == account:
                answer = self._service.send("POST", f"/datastores/{name}/listSecrets", {})
                key = answer.json().get("key") if answer.status_code == 200 else None
                if key:
                    return str(key)
        return None


class Experiments:
    """The experiments whose names begin with a prefix, and their runs."""

    def __init__(self, service: Service, prefix: str) -> None:
        self._service = service
        found = self._call(
            "experiments/search",
            filter=f"name LIKE '{prefix}%'",
            max_results=100,
            view_type="ACTIVE_ONLY",
        ).json()
        self._names = {
            experiment["experiment_id"]: experiment["name"]
            for experiment in found.get("experiments", [])
        }

    def _call(self, name: str, **body: Any) -> httpx.Response:
        address = f"{self._service.tracking()}/{name}"
        return self._service.send("POST", address, body, version=None)

    def _runs(self) -> list[str]:
        if not self._names:
            return []
        body = {"experiment_ids": list(self._names), "max_results": 1000}
        runs = self._call("runs/search", **body).json().get("runs", [])
        return [run["info"]["run_id"] for run in runs]

    def files(self) -> list[str]:
        """Where the runs keep their files."""
        artifacts = "azureml://datastores/workspaceartifactstore/paths/ExperimentRun/dcid"
        outputs = "azureml://datastores/workspaceblobstore/paths/azureml"
        return [
            place for run in self._runs() for place in (f"{artifacts}.{run}", f"{outputs}/{run}")
        ]

    def delete(self) -> list[str]:
        """Delete the runs and the experiments; gives what could not be deleted, and why."""
        left = []
        for run in self._runs():
            answer = self._call("runs/delete", run_id=run)
            if answer.status_code != 200:
                left.append(f"run {run}: {answer.text[:200]}")
        for identifier, name in self._names.items():
            answer = self._call("experiments/delete", experiment_id=identifier)
            if answer.status_code != 200:
                left.append(f"experiment {name}: {answer.text[:200]}")
        return left
