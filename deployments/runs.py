"""The flow runs of one work pool: cancelled when `make up` ends, closed when it was killed."""

import time
from typing import Any

import httpx

ACTIVE = ("PENDING", "RUNNING", "CANCELLING")


class PoolRuns:
    """The runs of the work pool `pool` on the server at `api_url`."""

    def __init__(self, api_url: str, pool: str) -> None:
        self._client = httpx.Client(base_url=api_url, trust_env=False, timeout=30)
        self._pool = pool

    def active(self) -> list[dict[str, Any]]:
        """Runs that have begun and not ended. Raises httpx.HTTPError."""
        filters = {
            "flow_runs": {"state": {"type": {"any_": list(ACTIVE)}}},
            "work_pools": {"name": {"any_": [self._pool]}},
        }
        answer = self._client.post("/flow_runs/filter", json=filters).raise_for_status()
        runs: list[dict[str, Any]] = answer.json()
        return runs

    def cancel(self, seconds: float) -> list[str]:
        """Cancel every active run and wait for its end; returns the names that did not end."""
        for run in self.active():
            self._set_state(run, "CANCELLING", "Cancelling", "`make up` was ended.")
        deadline = time.monotonic() + seconds
        while (left := self.active()) and time.monotonic() < deadline:
            time.sleep(0.5)
        return [str(run["name"]) for run in left]

    def close(self, why: str) -> list[str]:
        """Mark active runs as crashed, when no worker lives that could run them; their names."""
        left = self.active()
        for run in left:
            self._set_state(run, "CRASHED", "Crashed", why)
        return [str(run["name"]) for run in left]

    def _set_state(self, run: dict[str, Any], kind: str, name: str, message: str) -> None:
        state = {"type": kind, "name": name, "message": message}
        force = kind == "CRASHED"
        self._client.post(
            f"/flow_runs/{run['id']}/set_state", json={"state": state, "force": force}
        ).raise_for_status()
