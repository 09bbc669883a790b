"""Many at once: the same write by several clients, and a reset in the middle of everything."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from emulator.config import Config, load_config
from emulator.control_client import Control
from emulator.identity import MANAGEMENT, Tokens
from tests.emulator.running import StartedEmulator

Call = Callable[[str, str, Any], requests.Response]
_CLIENTS = 8


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An emulator of its own: it is reset."""
    with StartedEmulator(tmp_path_factory.mktemp("at-once") / "state") as running:
        yield running.state


def _caller(state: Path) -> Call:
    found = load_config(state)
    assert found is not None
    config: Config = found
    session = requests.Session()
    session.verify, session.trust_env = str(config.ca_bundle), False
    session.proxies = {"https": config.proxy_url}
    token = Tokens(config).issue(MANAGEMENT[0], config.client_id)
    session.headers["Authorization"] = f"Bearer {token}"
    base = f"https://{config.arm_host}{config.workspace_path}"
    version = {"api-version": "2024-10-01"}

    def call(method: str, path: str, body: Any = None) -> requests.Response:
        return session.request(method, base + path, params=version, json=body, timeout=60)

    return call


def _together(state: Path, method: str, path: str, bodies: list[Any]) -> Counter[int]:
    """The statuses of requests that are sent at the same moment."""
    barrier = threading.Barrier(len(bodies))

    def one(body: Any) -> int:
        call = _caller(state)
        barrier.wait()
        return call(method, path, body).status_code

    with ThreadPoolExecutor(len(bodies)) as pool:
        return Counter(pool.map(one, bodies))


def _environment(state: Path) -> str:
    call = _caller(state)
    call("PUT", "/environments/any/versions/1", {"properties": {"image": "a"}})
    config = load_config(state)
    assert config is not None
    return f"{config.workspace_path}/environments/any/versions/1"


def _job(environment: str, command: str) -> dict[str, Any]:
    properties = {"jobType": "Command", "command": command, "environmentId": environment}
    return {"properties": properties}


def test_the_same_write_by_many_is_one(state: Path) -> None:
    environment = _environment(state)
    same = [_job(environment, "true")] * _CLIENTS
    assert _together(state, "PUT", "/jobs/same", same) == {201: 1, 200: _CLIENTS - 1}
    others = [_job(environment, f"echo {n}") for n in range(_CLIENTS)]
    assert _together(state, "PUT", "/jobs/others", others) == {201: 1, 400: _CLIENTS - 1}
    uri = "azureml://datastores/workspaceblobstore/paths/"
    data = [
        {"properties": {"dataType": "uri_file", "dataUri": f"{uri}{n}"}} for n in range(_CLIENTS)
    ]
    assert _together(state, "PUT", "/data/raced/versions/1", data) == {201: 1, 409: _CLIENTS - 1}
    compute = {
        "properties": {
            "computeType": "AmlCompute",
            "properties": {"vmSize": "Standard_DS3_v2", "scaleSettings": {"maxNodeCount": 1}},
        }
    }
    statuses = _together(state, "PUT", "/computes/raced", [compute] * _CLIENTS)
    assert statuses[201] == 1
    assert set(statuses) <= {200, 201, 409}
    deleted = _together(state, "DELETE", "/data/raced/versions/1", [None] * _CLIENTS)
    assert deleted == {200: 1, 204: _CLIENTS - 1}


def test_a_cancellation_while_a_job_starts_ends_it(state: Path) -> None:
    environment, call = _environment(state), _caller(state)
    for number in range(10):
        assert call("PUT", f"/jobs/c{number}", _job(environment, "sleep 60")).status_code == 201
        time.sleep(0.02 * number)
        assert call("POST", f"/jobs/c{number}/cancel", None).status_code == 202
    deadline = time.monotonic() + 30
    states: set[str] = set()
    while time.monotonic() < deadline and states != {"Canceled"}:
        jobs = [call("GET", f"/jobs/c{number}", None).json() for number in range(10)]
        states = {job["properties"]["status"] for job in jobs}
    assert states == {"Canceled"}


def test_resets_in_the_middle_of_everything(state: Path) -> None:
    control, stop = Control.of(state), threading.Event()
    statuses: Counter[int] = Counter()

    def submit(worker: int) -> None:
        call, number = _caller(state), 0
        environment = _environment(state)
        while not stop.is_set():
            number += 1
            call("PUT", "/environments/any/versions/1", {"properties": {"image": "a"}})
            body = _job(environment, "sleep 30" if number % 2 else "echo x > outputs/x")
            statuses[call("PUT", f"/jobs/w{worker}n{number}", body).status_code] += 1
            statuses[call("POST", f"/jobs/w{worker}n{number}/cancel", None).status_code] += 1

    with ThreadPoolExecutor(6) as pool:
        work = [pool.submit(submit, worker) for worker in range(4)]
        time.sleep(0.5)
        for _ in range(8):
            for reset in [pool.submit(control.reset) for _ in range(2)]:
                reset.result()
            time.sleep(0.2)
        stop.set()
        for each in work:
            each.result()
    control.reset()
    assert set(statuses) <= {200, 201, 202, 400, 404}
    assert _caller(state)("GET", "/jobs", None).json() == {"value": []}
    assert not list((state / "runs").glob("*"))
    assert " ERROR " not in (state / "emulator.log").read_text()
