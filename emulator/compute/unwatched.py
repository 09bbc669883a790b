"""Jobs that were submitted and that nobody has asked about since.

Azure takes minutes to create an endpoint. Published notebooks submit a job, create an endpoint, and
deploy what the job has registered by then: here an endpoint is not ready before such a job.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emulator.compute.runner import JobRunner

RECENT_SECONDS = 600.0
"""From the submission of a job until nobody waits for it any more."""


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
        """Wait until those of a workspace have ended, are asked about, or are no longer recent."""
        folder = f"{workspace}/jobs/".lower()
        for job in list(self._recent.values()):
            if not job.path.lower().startswith(folder):
                continue
            ways = [
                asyncio.ensure_future(self._jobs.wait(job.path)),
                asyncio.ensure_future(job.asked.wait()),
            ]
            try:
                left = max(0.0, job.until - time.monotonic())
                await asyncio.wait(ways, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
