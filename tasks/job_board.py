"""Looking at the jobs that one process awaits: a few one by one, many by listing the workspace's.

A thousand waits cost as many requests as a handful: one of them reads the list, all read what it
found, and those whose job has changed are woken.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

from tasks.clients import explained, workspace_block, workspace_client
from tasks.job import job_phase, look_at_job
from tasks.polling import Observation
from tasks.rest import get_json, signed_in, workspace_address

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.core.credentials import TokenCredential

FEW = 20
"""Up to so many waits each ask for their own job, and follow its log."""

_API_VERSION = "2024-10-01"
# A little less than the interval, so that the time of the request itself fits into it.
_FRESH = 0.9


def job_board(workspace: str) -> "JobBoard":
    """The board of the block's workspace, one per process."""
    return _board(workspace, workspace_client(workspace))


@lru_cache(maxsize=64)
def _board(workspace: str, client: "MLClient") -> "JobBoard":
    return JobBoard(client, workspace_block(workspace).get_credential())


class JobBoard:
    """What is known of the jobs that this process awaits in one workspace. For any thread."""

    def __init__(
        self,
        client: "MLClient",
        credential: "TokenCredential",
    ) -> None:
        self._client = client
        self._rest: Any = signed_in(credential)
        self._lock = Lock()
        self._waits: dict[str, set[JobWait]] = defaultdict(set)
        self._statuses: dict[str, str] = {}
        self._listed_at = float("-inf")
        self._interval = 0.0
        self._error: Exception | None = None

    @contextmanager
    def waiting(self, job: str, interval: float) -> Iterator["JobWait"]:
        """Take part while waiting for the job. `interval`: seconds between two looks at most."""
        wait = JobWait(self, job, interval)
        with self._lock:
            self._waits[job].add(wait)
            self._interval = self._shortest()
        try:
            yield wait
        finally:
            with self._lock:
                self._waits[job].discard(wait)
                if not self._waits[job]:
                    del self._waits[job]
                    self._statuses.pop(job, None)
                self._interval = self._shortest()

    def _shortest(self) -> float:
        return min((wait.interval for each in self._waits.values() for wait in each), default=0.0)

    @property
    def has_few(self) -> bool:
        """Whether so few jobs are awaited that each is asked for by itself."""
        return self.awaited <= FEW

    @property
    def awaited(self) -> int:
        """How many jobs are awaited."""
        return len(self._waits)

    def look(self, job: str) -> Observation:
        """One look at the job; raises what the service raises, to whoever asks.

        Of many jobs only the status is known; of few the resource is the SDK's job entity.
        """
        if not self.has_few:
            with self._lock:  # whoever comes meanwhile wants the same answer
                if self.seconds_to_next() <= 0:
                    self._try_to_list()
                if self._error is not None:
                    raise self._error.with_traceback(None)
                status = self._statuses.get(job)
            if status is not None:
                return Observation(job_phase(status), status)
        return look_at_job(self._client, job)

    def seconds_to_next(self) -> float:
        """Until the list is to be read again."""
        return self._listed_at + self._interval * _FRESH - time.monotonic()

    def _try_to_list(self) -> None:
        """A failure is everybody's until the list is due again."""
        self._error = None
        try:
            with explained("Listing the jobs, which go on by themselves,"):
                self._list()
        except Exception as error:
            self._error = error
        self._listed_at = time.monotonic()

    def _list(self) -> None:
        """Read the list, the newest jobs first, as far as that costs less than asking for each."""
        missing = set(self._waits)
        statuses: dict[str, str] = {}
        address = f"{workspace_address(self._client)}/jobs?api-version={_API_VERSION}"
        pages = 0
        while address and missing and pages < len(missing):
            page = get_json(self._rest, address)
            for job in page.get("value") or []:
                if job["name"] in missing:
                    missing.discard(job["name"])
                    statuses[job["name"]] = str(job["properties"].get("status") or "")
            address = page.get("nextLink") or ""
            pages += 1
        for job, status in statuses.items():
            if self._statuses.get(job) != status:
                for wait in self._waits[job]:
                    wait.wake()
        self._statuses = statuses


@dataclass(eq=False)
class JobWait:
    """One wait for one job: `look` and `sleep` are what `tasks.polling.wait` asks for."""

    board: JobBoard
    job: str
    interval: float
    _changed: Event = field(default_factory=Event)

    def look(self) -> Observation:
        return self.board.look(self.job)

    def sleep(self, seconds: float) -> None:
        """Until the job has changed or the list is due, and no longer than `seconds`."""
        if not self.board.has_few:
            seconds = min(seconds, max(self.board.seconds_to_next(), 0.001))
        self._changed.wait(seconds)
        self._changed.clear()

    def wake(self) -> None:
        self._changed.set()
