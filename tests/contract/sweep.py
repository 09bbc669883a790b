"""Removes what the contract tests created, found by its name and by the requests that made it."""

import re
from collections.abc import Iterator
from typing import Any

import httpx

from tests.contract.created import TAG, Created
from tests.contract.service import Service, until
from tests.contract.sweep_files import Experiments, delete_files, delete_uploads

ASSETS = ("data", "models", "environments", "components")
_TERMINAL = ("Completed", "Failed", "Canceled")
_ID = re.compile(r"/((?:codes|components|environments)/[^/\"]+/versions/[^/\"]+)\"")


def sweep(service: Service, created: Created) -> list[str]:
    """Delete all that is this session's; gives what could not be deleted, and why."""
    sweeper = _Sweeper(service, created)
    sweeper.run()
    return sweeper.left


class _Sweeper:
    def __init__(self, service: Service, created: Created) -> None:
        self._service = service
        self._created = created
        self._files = set(created.files)
        self.left: list[str] = []

    def run(self) -> None:
        experiments = Experiments(self._service, self._created.prefix)
        self._files.update(experiments.files())
        for name in self._names("/onlineEndpoints"):
            self._delete(f"/onlineEndpoints/{name}")
        for schedule in self._ours("/schedules", listViewType="All"):
            self._delete_schedule(schedule)
        for job in self._ours("/jobs", listViewType="All", tag=TAG):
            self._delete_job(job)
        for name in self._names("/computes"):
            self._delete(f"/computes/{name}", underlyingResourceAction="Delete")
        for path in sorted(self._created.versions):
            self._delete_version(path)
        for kind in ASSETS:
            for name in {*self._names(f"/{kind}", listViewType="All"), *self._noted(kind)}:
                self._delete_asset(f"/{kind}/{name}")
        for name in self._names("/datastores"):
            self._delete(f"/datastores/{name}")
        self.left += experiments.delete()
        self.left += delete_files(self._service, self._files)
        self.left += delete_uploads(self._service, self._created.prefix)

    def _ours(self, path: str, **parameters: str) -> list[dict[str, Any]]:
        try:
            items = list(self._service.pages(path, **parameters))
        except httpx.HTTPStatusError as error:
            self.left.append(f"{path} could not be listed: {error}")
            return []
        return [item for item in items if self._created.is_ours(item["name"])]

    def _names(self, path: str, **parameters: str) -> list[str]:
        return [item["name"] for item in self._ours(path, **parameters)]

    def _noted(self, kind: str) -> Iterator[str]:
        """Names of assets whose versions were put, however they are listed."""
        for path in self._created.versions:
            collection, name = path.split("/")[1:3]
            if collection == kind and self._created.is_ours(name):
                yield name

    def _delete(self, path: str, **parameters: str) -> None:
        answer = self._service.send("DELETE", path, **parameters)
        if answer.status_code in (404, 204):
            return
        if answer.status_code >= 400:
            self.left.append(f"{path}: {answer.status_code} {answer.text[:200]}")
        elif "azure-asyncoperation" in answer.headers:
            ended = self._service.finish(answer)
            if ended["status"] != "Succeeded":
                self.left.append(f"{path}: {ended}")

    def _delete_schedule(self, schedule: dict[str, Any]) -> None:
        path = f"/schedules/{schedule['name']}"
        self._note_ids(schedule)
        if schedule["properties"]["isEnabled"]:
            properties = schedule["properties"] | {"isEnabled": False}
            answer = self._service.send("PUT", path, {"properties": properties})
            if "azure-asyncoperation" in answer.headers:
                self._service.finish(answer)
        self._delete(path)

    def _delete_job(self, job: dict[str, Any]) -> None:
        path = f"/jobs/{job['name']}"
        self._note_ids(job)
        properties = job["properties"]
        outputs = (properties.get("outputs") or {}).values()
        self._files.update(output["uri"] for output in outputs if output.get("uri"))
        inputs = (properties.get("inputs") or {}).values()
        uploaded = (each.get("uri") or "" for each in inputs)
        self._files.update(uri for uri in uploaded if "/LocalUpload/" in uri)
        if job["properties"]["status"] not in _TERMINAL:
            self._service.send("POST", f"{path}/cancel")
            until(lambda: self._status(path) in _TERMINAL or None, 600)
        self._delete(path)

    def _status(self, path: str) -> str:
        return str(self._service.send("GET", path).json()["properties"]["status"])

    def _note_ids(self, resource: dict[str, Any]) -> None:
        """Note the versions without a name that a job or a component refers to."""
        text = httpx.Response(200, json=resource).text
        self._created.versions.update(f"/{path}" for path in _ID.findall(text))

    def _delete_version(self, path: str) -> None:
        """Delete a version if its name is ours, or if it has none: it is then known by content."""
        answer = self._service.send("GET", path)
        if answer.status_code != 200:
            return
        resource = answer.json()
        properties = resource["properties"]
        anonymous = properties.get("isAnonymous") or path.startswith("/codes/")
        if not (anonymous or self._created.is_ours(path.split("/")[2])):
            return
        known = set(self._created.versions)
        self._note_ids(resource)
        uris = (properties.get(key) for key in ("dataUri", "modelUri", "codeUri"))
        self._files.update(uri for uri in uris if uri)
        self._delete(path)
        for more in self._created.versions - known:
            self._delete_version(more)

    def _delete_asset(self, path: str) -> None:
        try:
            for version in self._service.pages(f"{path}/versions", listViewType="All"):
                self._delete_version(f"{path}/versions/{version['name']}")
        except httpx.HTTPStatusError:
            pass  # without versions there is no list of them
        self._delete(path)
