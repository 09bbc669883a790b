"""Jobs that were submitted and that nobody has asked about since.

Azure takes minutes to create an endpoint. Published notebooks submit a job, create an endpoint, and
deploy what the job has registered by then: here an endpoint is not ready before such a job. Tests
want neither: AZUREML_EMULATOR_ENDPOINTS=at-once, which the pytest fixtures set, switches it off.
"""

import asyncio
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emulator.compute.records import job_name

if TYPE_CHECKING:
    from emulator.compute.runner import JobRunner

SWITCH, AT_ONCE = "AZUREML_EMULATOR_ENDPOINTS", "at-once"
RECENT_SECONDS = 600.0
"""From the submission of a job until nobody waits for it any more."""
RUNNING_SECONDS = 60.0
"""The same from when it is seen to run: its environment may take minutes, the rest seldom does."""
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class _Recent:
    path: str
    until: float = field(default_factory=lambda: time.monotonic() + RECENT_SECONDS)
    asked: asyncio.Event = field(default_factory=asyncio.Event)


class UnwatchedJobs:
    """Who asks about a job will wait for it, and nothing else has to. Lives on the event loop."""

    def __init__(self, jobs: "JobRunner") -> None:
        self._jobs = jobs
        self._recent: dict[str, _Recent] = {}

    def submitted(self, path: str) -> None:
        now = time.monotonic()
        self._recent = {key: job for key, job in self._recent.items() if job.until > now}
        self._recent[path.lower()] = _Recent(path)

    def asked_about(self, path: str) -> None:
        if job := self._recent.pop(path.lower(), None):
            job.asked.set()

    def clear(self) -> None:
        for path in list(self._recent):
            self.asked_about(path)

    async def ended(self, workspace: str) -> None:
        """Wait until those of a workspace have ended, are asked about, or have had their time."""
        if os.environ.get(SWITCH) == AT_ONCE:
            return
        folder = f"{workspace}/jobs/".lower()
        for job in list(self._recent.values()):
            if job.path.lower().startswith(folder):
                await self._ended(job)

    async def _ended(self, job: _Recent) -> None:
        running, end = False, job.until
        ended = asyncio.ensure_future(self._jobs.wait(job.path))
        try:
            while not (ended.done() or job.asked.is_set()) and time.monotonic() < end:
                run = self._jobs.records.get(job_name(job.path)) or {}
                if not running and run.get("status") == "Running":
                    running, end = True, min(end, time.monotonic() + RUNNING_SECONDS)
                await asyncio.wait([ended], timeout=_LOOK_SECONDS)
        finally:
            ended.cancel()
