"""The flow runs of one work pool: cancelled when `make up` ends, closed when it was killed."""

import time
from collections.abc import Collection
from typing import Any

import httpx

from deployments.prefect_http import prefect_http

ACTIVE = ("PENDING", "RUNNING", "CANCELLING")


class PoolRuns:
    """The runs of the work pool `pool` on the server at `api_url`."""

    def __init__(self, api_url: str, pool: str) -> None:
        self._client = prefect_http(api_url)
        self._pool = pool

    def active(self) -> list[dict[str, Any]]:
        """Runs that have begun and not ended. Raises httpx.HTTPError."""
        filters = {
            "flow_runs": {"state": {"type": {"any_": list(ACTIVE)}}},
            "work_pools": {"name": {"any_": [self._pool]}},
        }
        runs: list[dict[str, Any]] = self._post("/flow_runs/filter", filters).json()
        return runs

    def cancel(self, seconds: float) -> list[str]:
        """Cancel every active run and wait for its end; returns the names that did not end."""
        for run in self.active():
            self._set_state(run, "CANCELLING", "Cancelling", "`make up` was ended.")
        deadline = time.monotonic() + seconds
        while (left := self.active()) and time.monotonic() < deadline:
            time.sleep(0.5)
        return [str(run["name"]) for run in left]

    def close(
        self, why: str, only: Collection[str] | None = None, kind: str = "CRASHED"
    ) -> list[str]:
        """Mark active runs as ended, when nobody lives that could run them; their names.

        only: identifiers of the runs that may be meant; all of the pool's when it is None.
        kind: CRASHED, after which they are run again, or CANCELLED, after which they are not.
        """
        left = [run for run in self.active() if only is None or str(run["id"]) in only]
        for run in left:
            self._set_state(run, kind, kind.capitalize(), why)
        return [str(run["name"]) for run in left]

    def _set_state(self, run: dict[str, Any], kind: str, name: str, message: str) -> None:
        state = {"type": kind, "name": name, "message": message}
        force = kind != "CANCELLING"
        self._post(f"/flow_runs/{run['id']}/set_state", {"state": state, "force": force})

    def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return self._client.post(path, json=body).raise_for_status()
