"""Changes of a resource that take time: one at a time, and safe to send twice."""

from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from emulator.http import AzureError
from emulator.operations import INTERRUPTED, Change
from emulator.resource_manager.answers import answer, api_version, complete
from emulator.resource_manager.locations import keep_result
from emulator.store import Resource, Store

if TYPE_CHECKING:
    from emulator.core import Emulator


class Changes:
    """The long-running changes of endpoints and deployments."""

    def __init__(self, emulator: "Emulator", request: Request) -> None:
        self._emulator = emulator
        self._request = request
        self._running = emulator.store.document("changes")

    def repeated(self, path: str, body: dict[str, Any]) -> Response | None:
        """The answer to a PUT that is under way already, as a client's retry sends it again.

        A different PUT meanwhile is a conflict.
        """
        change = self._running.get(path.lower())
        operation = self._emulator.operations.get(change["operation"]) if change else None
        if change is None or operation is None or operation["status"] != "InProgress":
            return None
        resource = self._emulator.store.get(path)
        if resource is None or change["body"] != body:
            raise AzureError(
                409,
                "Conflict",
                f"Another operation on {path.rpartition('/')[2]} is in progress. Wait until it "
                "is done and send this one again.",
            )
        headers = self._emulator.operations.headers(change["operation"])
        return answer(self._request, resource, change["status"], headers)

    def begin(
        self,
        path: str,
        resource: Resource,
        work: Coroutine[Any, Any, None],
        status: int,
        body: dict[str, Any] | None = None,
    ) -> Response:
        """Start the work of a PUT whose body was `body`; gives its answer."""
        change = Change(_kind(path), path, resource["properties"]["provisioningState"])
        operation = self._emulator.operations.begin(work, change)
        self._running.put(path.lower(), {"operation": operation, "body": body, "status": status})
        headers = self._emulator.operations.headers(operation)
        self._name_operation(resource, headers)
        return answer(self._request, resource, status, headers)

    def begin_update(
        self,
        path: str,
        resource: Resource,
        work: Callable[[], Coroutine[Any, Any, None]],
        body: dict[str, Any],
    ) -> Response:
        """Start the work of a PATCH; its result is at the answer's Location once it is done."""

        async def update() -> None:
            await work()
            changed = self._emulator.store.get(path) or {}
            version = api_version(self._request)
            keep_result(self._emulator, operation, complete(changed, version))

        change = Change(_kind(path), path, resource["properties"]["provisioningState"])
        operation = self._emulator.operations.begin(update(), change)
        self._running.put(path.lower(), {"operation": operation, "body": body, "status": 202})
        headers = self._emulator.operations.headers(operation, location=True)
        self._name_operation(resource, headers)
        return Response(status_code=202, headers=headers)

    def _name_operation(self, resource: Resource, headers: Mapping[str, str]) -> None:
        """Have a resource tell of its last operation, as the service's own do."""
        named = {"AzureAsyncOperationUri": headers["Azure-AsyncOperation"]}
        properties = resource["properties"]
        properties["properties"] = (properties.get("properties") or {}) | named
        self._emulator.store.put(resource["id"], resource)

    def begin_delete(self, path: str, work: Coroutine[Any, Any, None]) -> Response:
        change = Change(_kind(path), path, "Deleting")
        operation = self._emulator.operations.begin(work, change)
        self._running.put(path.lower(), {"operation": operation, "body": None, "status": 202})
        headers = self._emulator.operations.headers(operation, location=True)
        return Response(status_code=202, headers=headers)


def _kind(path: str) -> str:
    return "deployments" if "/deployments/" in path.lower() else "endpoints"


def set_state(store: Store, path: str, state: str) -> None:
    """Move a resource to a provisioning state; nothing happens when it is gone."""
    resource = store.get(path)
    if resource:
        resource["properties"]["provisioningState"] = state
        store.put(path, resource)


def settle(store: Store, resource: Resource) -> str:
    """The state of a resource that a restart finds: what was in the middle of a change has failed.

    One that was being deleted is gone; its state is still "Deleting".
    """
    properties = resource["properties"]
    state: str = properties.get("provisioningState", "Failed")
    if state == "Deleting":
        store.delete(resource["id"])
    elif state not in ("Succeeded", "Failed"):
        state = properties["provisioningState"] = "Failed"
        if "provisioningErrors" in properties:
            properties["provisioningErrors"] = [{"error": INTERRUPTED}]
        store.put(resource["id"], resource)
    return state
