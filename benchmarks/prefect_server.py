"""A Prefect server of its own, for runs in great numbers."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from deployments.surroundings import free_port

_START_SECONDS = 120
WITHOUT_EVENTS = {
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false",
}
"""For a server on which nothing waits for events: what it does with them costs a third of it."""


@contextmanager
def prefect_server(home: Path, **settings: str) -> Iterator[str]:
    """A server with its database in the folder; gives the address of its API."""
    home.mkdir(parents=True, exist_ok=True)
    port = free_port(0)
    api = f"http://127.0.0.1:{port}/api"
    environment = {name: v for name, v in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    environment |= settings
    os.environ["PREFECT_HOME"] = str(home)  # for the runs
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "deployments.prefect_server", "--port", str(port)],
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(api):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((home / "server.log").read_text()[-2000:])
            time.sleep(0.2)
        yield api
    finally:
        server.terminate()
        server.wait(30)


def _answers(api: str) -> bool:
    try:
        return httpx.get(f"{api}/health", trust_env=False, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
