"""Lives of one emulator that end by SIGKILL, and what is sent to it meanwhile."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from emulator.blob_signatures import service_sas
from emulator.config import Config, load_config, make_config
from emulator.control_client import Control
from emulator.identity import MANAGEMENT, Tokens
from tests.emulator.running import ROOT

CORES = 8
START_SECONDS = 30
_WHOLE = ("/subscriptions", "/mlflow", "/mferp", "/history")
_Found = TypeVar("_Found")


class Life:
    """One process of the emulator of a state folder, and a client for it."""

    def __init__(self, state: Path, *command: str) -> None:
        state.mkdir(parents=True, exist_ok=True)
        if load_config(state) is None:
            replace(make_config(state, {}), cores=CORES).save()
        self.state = state
        self.began = time.monotonic()
        # The tests' process may be a client of another emulator.
        clients = make_config(state, {}).client_environment()
        ours = {k: v for k, v in os.environ.items() if k not in clients}
        ours = {k: v for k, v in ours.items() if not k.startswith("AZUREML_")}
        with (state / "stderr.log").open("a") as errors:
            self.process = subprocess.Popen(
                [sys.executable, *(command or ("-m", "emulator")), "start", "--state", str(state)],
                cwd=ROOT,
                env=ours,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )

    def until_ready(self) -> "Life":
        """Wait for the start; the sign of an earlier life does not count."""
        ready, pid = self.state / "ready", str(self.process.pid)

        def is_ready() -> bool:
            assert self.process.poll() is None, (self.state / "stderr.log").read_text()
            return ready.exists() and ready.read_text() == pid

        until(is_ready, START_SECONDS)
        self.seconds = time.monotonic() - self.began
        self.config = load_config(self.state) or make_config(self.state)
        self.control = Control(self.config)
        token = Tokens(self.config).issue(MANAGEMENT[0], self.config.client_id)
        self.client = httpx.Client(
            proxy=self.config.proxy_url,
            verify=str(self.config.certificates / "server.pem"),
            trust_env=False,
            timeout=120,
            headers={"Authorization": f"Bearer {token}"},
            limits=httpx.Limits(max_connections=None),
        )
        return self

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        if hasattr(self, "client"):
            self.client.close()

    def stop(self) -> None:
        """End it as its users do, with all that it started."""
        self.process.terminate()
        self.process.wait(timeout=60)
        self.client.close()

    def children(self) -> list[psutil.Process]:
        """All that the emulator started, and what that started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def send(self, method: str, path: str, body: Any = None, host: str = "") -> httpx.Response:
        """A request to the resource manager, below the workspace unless the path is whole."""
        return self.client.request(method, **request(self.config, path, body, host))

    def api(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """A request to the data plane."""
        return self.send(method, path, body, self.config.api_host)

    def mlflow(self, method: str, call: str, body: Any = None) -> httpx.Response:
        base = f"/mlflow/v1.0{self.config.workspace_path}/api/2.0/mlflow"
        return self.api(method, f"{base}/{call}", body)

    def blob(
        self, method: str, name: str, content: Any = b"", query: str = "", **headers: str
    ) -> httpx.Response:
        """A request to the workspace's container, with a signature."""
        wanted = blob_request(self.config, name, content, query, headers)
        return self.client.request(method, **wanted)


def request(config: Config, path: str, body: Any, host: str) -> dict[str, Any]:
    if not path.startswith(_WHOLE):
        path = f"{config.workspace_path}{path}"
    version = None if "/mlflow" in path else {"api-version": "2023-04-01-preview"}
    return {"url": f"https://{host or config.arm_host}{path}", "json": body, "params": version}


def blob_request(
    config: Config, name: str, content: Any, query: str, headers: dict[str, str]
) -> dict[str, Any]:
    """Names of headers are written with underscores."""
    container = config.blob_container
    signature = service_sas(config.account, config.account_key, container, None, "racwdl", hours=1)
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return {
        "url": f"https://{config.blob_host}/{container}/{name}?{signature}&{query}",
        "content": content,
        "headers": {"x-ms-version": "2021-12-02", "Authorization": ""} | named,
    }


def until(condition: Callable[[], _Found], seconds: float = 30) -> _Found:
    """Wait until something is true; gives it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(0.02)
    return found


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
