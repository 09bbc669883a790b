"""Clients that never stop asking while models are released and rolled back, and what they got.

    python -m benchmarks.release_load [--clients 8] [--seconds 10]

One endpoint of the local Azure ML with the tiny base model. A release replaces its model by
another version; then one whose replies become slow is released and rolled back.
"""

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import urllib3
from rich.console import Console
from rich.table import Table

from benchmarks.fleet import Run
from benchmarks.prefect_server import prefect_server
from benchmarks.rig import Rig, rig
from emulator.registry import Registry
from tasks.releasing import deployment_name
from tasks.values import RegisteredModel

ENDPOINT, MODEL = "load", "load-base"
LEAST_PER_SECOND = 50.0
RESULTS = Path(".local/bench/release_load.json")
_SLOW_SECONDS = 1.5
_RELEASE_SECONDS = 600
_BODY = json.dumps(
    {
        "input_data": {
            "input_string": [[{"role": "user", "content": "Hello"}]],
            "parameters": {"max_new_tokens": 1, "do_sample": False},
        }
    }
).encode()


@dataclass
class Figures:
    """What the clients got during one release. Latencies are seconds."""

    what: str
    seconds: float
    requests: int
    per_second: float
    failures: int
    p50: float
    p95: float
    slowest: float
    replied: dict[str, int] = field(default_factory=dict)
    """Replies by the deployment that gave them."""
    failed_with: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Answer:
    status: str
    deployment: str
    seconds: float


class Load:
    """So many clients, each on one connection that it keeps, each asking again when answered."""

    def __init__(self, environment: Mapping[str, str], uri: str, key: str, clients: int) -> None:
        self._environment = environment
        self._uri = uri
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._clients = clients
        self._answers: list[_Answer] = []
        self._began = 0.0

    @contextmanager
    def running(self) -> Iterator["Load"]:
        stop = threading.Event()
        threads = [threading.Thread(target=self._ask, args=(stop,)) for _ in range(self._clients)]
        self._began = time.monotonic()
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _ask(self, stop: threading.Event) -> None:
        pool = urllib3.ProxyManager(
            self._environment["HTTPS_PROXY"],
            ca_certs=self._environment["REQUESTS_CA_BUNDLE"],
            retries=False,
        )
        while not stop.is_set():
            began = time.monotonic()
            status, deployment = self._one(pool)
            self._answers.append(_Answer(status, deployment, time.monotonic() - began))

    def _one(self, pool: urllib3.ProxyManager) -> tuple[str, str]:
        try:
            answer = pool.request(
                "POST", self._uri, body=_BODY, headers=self._headers, timeout=60.0
            )
        except urllib3.exceptions.HTTPError as error:
            return type(error).__name__, ""
        if answer.status != 200:
            return f"{answer.status} {answer.data[:120].decode(errors='replace')}", ""
        return "", answer.headers.get("azureml-model-deployment", "")

    def figures(self, what: str) -> Figures:
        """What came of the requests until now."""
        seconds = time.monotonic() - self._began
        answers = list(self._answers)
        times = sorted(answer.seconds for answer in answers)
        failed = [answer.status for answer in answers if answer.status]
        names = {answer.deployment for answer in answers if not answer.status}
        return Figures(
            what=what,
            seconds=round(seconds, 1),
            requests=len(answers),
            per_second=round(len(answers) / seconds, 1),
            failures=len(failed),
            p50=round(times[len(times) // 2], 4),
            p95=round(times[int(len(times) * 0.95)], 4),
            slowest=round(times[-1], 3),
            replied={
                name: sum(answer.deployment == name for answer in answers) for name in sorted(names)
            },
            failed_with=tuple(dict.fromkeys(failed))[:5],
        )


def load_during_releases(cloud: Rig, clients: int, seconds: float) -> list[Figures]:
    """The figures of a release and of one that is rolled back, under the same load."""
    _register(cloud, "1", "2", "3")
    _ends(_release(cloud, "1", seconds), 0)
    client = cloud.client.online_endpoints
    key = str(client.get_keys(ENDPOINT).primary_key)
    uri = str(client.get(ENDPOINT).scoring_uri)
    environment = cloud.fleet.environment

    with Load(environment, uri, key, clients).running() as load:
        _ends(_release(cloud, "2", seconds), 0)
        released = load.figures("release")

    with Load(environment, uri, key, clients).running() as load:
        run = _release(cloud, "3", seconds)
        _wait_for_traffic(cloud, run, _deployment("3"))
        path = f"/{ENDPOINT}/{_deployment('3')}/score"
        cloud.control.add_fault("Deployment_Score", path=path, delay=_SLOW_SECONDS, times=None)
        _ends(run, 1)
        rolled_back = load.figures("rollback")
    live = {name: share for name, share in client.get(ENDPOINT).traffic.items() if share}
    if live != {_deployment("2"): 100}:
        raise RuntimeError(f"after the rollback the traffic is {live}")
    return [released, rolled_back]


def _release(cloud: Rig, version: str, seconds: float) -> Run:
    config: dict[str, Any] = {
        "model": f"{MODEL}:{version}",
        "endpoint": ENDPOINT,
        "size": "Standard_DS3_v2",
        "max_new_tokens": 1,
        "concurrent_requests": 32,
        "checks": {"seconds": seconds, "requests": max(4, int(seconds))},
    }
    return cloud.start(config, flow="release")


def _wait_for_traffic(cloud: Rig, run: Run, deployment: str) -> None:
    while not (cloud.client.online_endpoints.get(ENDPOINT).traffic or {}).get(deployment):
        if not run.is_alive:
            raise RuntimeError(f"the release ended before it had traffic:\n{run.text[-4000:]}")
        time.sleep(0.2)


def _ends(run: Run, code: int) -> None:
    if run.end(_RELEASE_SECONDS) != code:
        raise RuntimeError(f"a release did not end with {code}:\n{run.text[-4000:]}")


def _deployment(version: str) -> str:
    return deployment_name(RegisteredModel(id="", name=MODEL, version=version))


def _register(cloud: Rig, *versions: str) -> None:
    from azure.ai.ml.constants import AssetTypes
    from azure.ai.ml.entities import Model

    os.environ.update(cloud.fleet.environment)  # the SDK's uploads take no proxy from the client
    folder = str(Registry().model_folder("Phi-3-mini-4k-instruct"))
    for version in versions:
        model = Model(name=MODEL, version=version, path=folder, type=AssetTypes.MLFLOW_MODEL)
        cloud.client.models.create_or_update(model)


def show(figures: Sequence[Figures], console: Console) -> None:
    """Both as a table."""
    table = Table(title="clients that keep asking")
    for heading in ("", *(each.what for each in figures)):
        table.add_column(heading)
    columns = [asdict(each) for each in figures]
    for name in columns[0]:
        if name != "what":
            table.add_row(name.replace("_", " "), *(str(column[name]) for column in columns))
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.release_load", description=__doc__)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each step of the traffic")
    options = parser.parse_args()
    console = Console()
    with (
        tempfile.TemporaryDirectory(prefix="release-", ignore_cleanup_errors=True) as folder,
        prefect_server(Path(folder) / "prefect") as api,
        rig(Path(folder), api) as cloud,
    ):
        figures = load_during_releases(cloud, options.clients, options.seconds)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps([asdict(each) for each in figures], indent=2) + "\n")
    show(figures, console)
    good = all(not each.failures and each.per_second >= LEAST_PER_SECOND for each in figures)
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
