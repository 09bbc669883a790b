"""Long-running operations: work that goes on after its request was answered."""

import asyncio
import logging
import uuid
from collections.abc import Coroutine
from typing import Any

from emulator.config import Config
from emulator.http import AzureError, timestamp
from emulator.store import Store

_log = logging.getLogger(__name__)

POLL_MILLISECONDS = "200"
"""How soon a client should ask again.

Sent as `retry-after-ms`: without it, and with `Retry-After: 0`, the SDK waits 5 to 30 seconds.
"""


class Operations:
    """Starts work, remembers how it went, and tells clients where to ask."""

    def __init__(self, config: Config, store: Store) -> None:
        self._config = config
        self._operations = store.document("operations")
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Operations that a previous life left unfinished have failed."""
        for key, operation in self._operations.items():
            if operation["status"] == "InProgress":
                error = {
                    "code": "OperationInterrupted",
                    "message": "The local Azure ML stopped during the operation. Send it again.",
                }
                self._operations.put(key, operation | {"status": "Failed", "error": error})

    def begin(self, work: Coroutine[Any, Any, Any] | None) -> str:
        """Start `work`; an AzureError in it fails the operation with that error."""
        identifier = str(uuid.uuid4())
        self._operations.put(
            identifier,
            {"status": "InProgress" if work else "Succeeded", "startTime": timestamp()},
        )
        if work:
            task = asyncio.ensure_future(self._run(identifier, work))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return identifier

    async def _run(self, identifier: str, work: Coroutine[Any, Any, Any]) -> None:
        end: dict[str, Any] = {"status": "Succeeded"}
        try:
            await work
        except AzureError as error:
            end = {
                "status": "Failed",
                "error": {"code": error.code, "message": error.message},
            }
        except Exception as error:
            _log.exception("operation %s failed", identifier)
            end = {
                "status": "Failed",
                "error": {"code": "InternalServerError", "message": repr(error)},
            }
        started = self._operations.get(identifier) or {}
        self._operations.put(identifier, started | end | {"endTime": timestamp()})

    def get(self, identifier: str) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = self._operations.get(identifier)
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
