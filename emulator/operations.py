"""Long-running operations: work that goes on after its request was answered."""

import asyncio
import logging
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from emulator.config import Config
from emulator.faults import CURRENT, Fault
from emulator.http import AzureError, timestamp
from emulator.store import Store
from emulator.transitions import Transitions

_log = logging.getLogger(__name__)

POLL_MILLISECONDS = "200"
"""How soon a client should ask again.

Sent as `retry-after-ms`: without it, and with `Retry-After: 0`, the SDK waits 5 to 30 seconds.
"""

INTERRUPTED = {
    "code": "OperationInterrupted",
    "message": "The local Azure ML stopped during the operation. Send it again.",
}


@dataclass(frozen=True)
class Change:
    """What an operation does to a resource, for the transitions of its kind."""

    kind: str
    path: str
    state: str
    """The resource's provisioning state meanwhile."""

    @property
    def names(self) -> tuple[str, str]:
        """The resource's name, and that with its parent's: `endpoint/deployment`."""
        parts = self.path.split("/")
        return parts[-1], f"{parts[-3]}/{parts[-1]}"


class OperationEnded(AzureError):
    """A fault ended the operation."""

    def __init__(self, status: str, code: str, message: str) -> None:
        super().__init__(400, code, message)
        self.operation_status = status


class Operations:
    """Starts work, remembers how it went, and tells clients where to ask."""

    def __init__(self, config: Config, store: Store, transitions: Transitions) -> None:
        self._config = config
        self._store = store
        self._transitions = transitions
        self._operations = store.document("operations")
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Operations that a previous life left unfinished have failed, or end by this start."""
        now = timestamp()
        for key, operation in self._operations.items():
            if operation["status"] != "InProgress":
                continue
            if operation.pop("endsByRestart", False):
                self._operations.put(key, operation | {"status": "Succeeded", "endTime": now})
            else:
                self._operations.put(
                    key, operation | {"status": "Failed", "error": INTERRUPTED, "endTime": now}
                )

    def begin(
        self,
        work: Coroutine[Any, Any, Any] | None,
        change: Change | None = None,
        ends_by_restart: bool = False,
    ) -> str:
        """Start `work`; an AzureError in it fails the operation, and what it changes, with it.

        `ends_by_restart`: a start that finds it unfinished does the rest, as for a deletion.
        """
        identifier = str(uuid.uuid4())
        fault = CURRENT.get()
        if fault is not None and fault.rule.action.operation is None:
            fault = None
        runs = work is not None or fault is not None
        ends = ends_by_restart or (change is not None and change.state == "Deleting")
        state = {"status": "InProgress", "endsByRestart": ends} if runs else {"status": "Succeeded"}
        self._operations.put(identifier, state | {"startTime": timestamp()})
        if runs:
            task = asyncio.ensure_future(self._run(identifier, work, change, fault))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return identifier

    async def _run(
        self,
        identifier: str,
        work: Coroutine[Any, Any, Any] | None,
        change: Change | None,
        fault: Fault | None,
    ) -> None:
        end: dict[str, Any] = {"status": "Succeeded"}
        try:
            await self._wait(change, fault)
            if work:
                await work
        except AzureError as error:
            end = {
                "status": error.operation_status if isinstance(error, OperationEnded) else "Failed",
                "error": {"code": error.code, "message": error.message},
            }
            if change:
                self._fail(change, end["error"])
        except Exception as error:
            _log.exception("operation %s failed", identifier)
            end = {
                "status": "Failed",
                "error": {"code": "InternalServerError", "message": repr(error)},
            }
        finally:
            if work:
                work.close()
        started = self._operations.get(identifier) or {}
        started.pop("endsByRestart", None)
        self._operations.put(identifier, started | end | {"endTime": timestamp()})

    async def _wait(self, change: Change | None, fault: Fault | None) -> None:
        """All that comes before the work: a fault's end, the transition of the resource."""
        end = fault.rule.action.operation if fault else None
        if fault and end == "never":
            fault.waiting += 1
            try:
                await fault.removed.wait()
            finally:
                fault.waiting -= 1
        elif end and not isinstance(end, str):
            raise OperationEnded(end.status, end.code, end.message)
        if change is None:
            return
        name, long_name = change.names
        await self._transitions.enter(change.kind, change.state, name, (long_name,))
        # A deployment fails as a process, later.
        if change.kind != "deployments" and change.state != "Deleting":
            failure = self._transitions.failure(change.kind, name)
            if failure:
                raise AzureError(400, failure.code, failure.message)

    def _fail(self, change: Change, error: dict[str, str]) -> None:
        resource = self._store.get(change.path)
        if resource is None:
            return
        resource["properties"]["provisioningState"] = "Failed"
        if change.kind == "computes":
            resource["properties"]["provisioningErrors"] = [{"error": error}]
        self._store.put(change.path, resource)

    def get(self, identifier: str) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = self._operations.get(identifier)
        if operation:
            operation.pop("endsByRestart", None)
        return operation

    def headers(self, identifier: str, location: bool = False) -> dict[str, str]:
        """Where the client polls; `location` adds the result's address (DELETE and POST)."""
        base = (
            f"https://{self._config.arm_host}/subscriptions/{self._config.subscription}"
            f"/providers/Microsoft.MachineLearningServices/locations/{self._config.location}"
        )
        headers = {
            "Azure-AsyncOperation": f"{base}/mfeOperationsStatus/{identifier}"
            "?api-version=2023-04-01",
            "x-ms-async-operation-timeout": "PT1H",
            "retry-after-ms": POLL_MILLISECONDS,
        }
        if location:
            headers["Location"] = f"{base}/mfeOperationResults/{identifier}?api-version=2023-04-01"
        return headers

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
