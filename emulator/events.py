"""What was asked of the emulator: every request, in the order in which they came."""

from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any

MOST_EVENTS = 100_000

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_READING_POSTS = frozenset(
    {
        "DataVersion_BatchGetResolvedUris",
        "Datastores_ListSecrets",
        "Endpoint_Mirror",
        "Endpoint_Score",
        "Hub_PathsInfo",
        "Identity_Token",
        "MLflow_experiments_search",
        "MLflow_logged-models_search",
        "MLflow_runs_search",
        "OnlineDeployments_GetLogs",
        "OnlineEndpoints_ListKeys",
        "Runs_GetRunData",
        "Workspaces_ListKeys",
    }
)
"""POST requests that only ask."""


@dataclass(slots=True)
class Event:
    """One request. Nothing in it is secret: neither query nor headers are kept."""

    sequence: int
    time: float
    """Seconds since the epoch; shown as ISO 8601."""
    host: str
    method: str
    path: str
    operation: str
    kind: str
    """`write`: it changes something when it succeeds; else `read`."""
    correlation: str | None
    status: int | None = None
    """As answered; None while nothing was answered, and for ever when nothing was."""
    fault: str | None = None
    action: str | None = None
    effect: bool = False
    """Whether the service did what it was asked, whatever the client was told."""
    done: bool = False
    milliseconds: float | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"time": datetime.fromtimestamp(self.time, UTC).isoformat()}


def kind_of(method: str, operation: str) -> str:
    """`read` or `write`."""
    return "read" if method in _READS or operation in _READING_POSTS else "write"


class EventLog:
    """The last requests, in memory."""

    def __init__(self, most: int = MOST_EVENTS) -> None:
        self._events: deque[Event] = deque(maxlen=most)
        self.last = 0

    def add(
        self,
        *,
        time: float,
        host: str,
        method: str,
        path: str,
        operation: str,
        correlation: str | None,
    ) -> Event:
        """Note a request that has come; its outcome is filled in as it is known."""
        self.last += 1
        kind = kind_of(method, operation)
        event = Event(self.last, time, host, method, path, operation, kind, correlation)
        self._events.append(event)
        return event

    def select(
        self,
        after: int = 0,
        operation: str = "*",
        kind: str | None = None,
        limit: int = MOST_EVENTS,
    ) -> list[dict[str, Any]]:
        """The events with a higher sequence number, oldest first, at most `limit`."""
        return [
            event.as_json()
            for event in islice(
                (
                    event
                    for event in self._after(after)
                    if (kind is None or event.kind == kind)
                    and fnmatchcase(event.operation, operation)
                ),
                limit,
            )
        ]

    def _after(self, sequence: int) -> Iterator[Event]:
        first = self._events[0].sequence if self._events else 0
        return islice(self._events, max(0, sequence + 1 - first), None)

    def clear(self) -> None:
        """Forget all events; the numbers go on, so that a client's `after` stays valid."""
        self._events.clear()
