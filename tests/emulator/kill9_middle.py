"""An emulator in the middle of everything at once, killed there and started again."""

import re
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from tests.emulator.kill9_kinds import Kind, compute, job, kinds, stage
from tests.emulator.kill9_support import Life, until

FIRED = "fired"
WHOLE = b"0123456789" * 1000
_ENDED = ("Succeeded", "Failed", "Canceled")


@dataclass
class Middle:
    """What was under way when the emulator was killed, and what had been acknowledged."""

    kinds: list[Kind]
    kept: dict[str, Any] = field(default_factory=dict)
    """By kind: what a GET answered just before."""
    operations: dict[str, str] = field(default_factory=dict)
    """By what was asked: where a client polls."""
    statuses: dict[str, str] = field(default_factory=dict)
    """By job: its status just before."""
    processes: list[psutil.Process] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    run: str = ""
    fired: list[str] = field(default_factory=list)


def prepare(life: Life, folder: Path) -> Middle:
    """Bring a new emulator there."""
    with ThreadPoolExecutor(80) as pool:
        try:
            middle = Middle(kinds(life))
            _acknowledged(life, middle)
            _jobs(life, middle, folder)
            _tracked(life, middle)
            _changing(life, middle)
            _held(life, middle, pool)
            # Near to the end: what does not end by itself is given a few seconds.
            _remember(middle, "cancel", life.send("POST", "/jobs/cancelling/cancel"))
            _look(life, middle)
        finally:
            life.kill()
    return middle


def _ok(answer: httpx.Response) -> httpx.Response:
    assert answer.is_success, f"{answer.request.url}: {answer.status_code} {answer.text}"
    return answer


def _remember(middle: Middle, what: str, answer: httpx.Response) -> None:
    middle.operations[what] = _ok(answer).headers["Azure-AsyncOperation"]


def _acknowledged(life: Life, middle: Middle) -> None:
    stage(life)
    _ok(life.send("PUT", "/computes/busy", {"properties": compute()}))
    for kind in middle.kinds:
        _ok(kind.put(life, "kept"))
    for name in ("kept.bin", "gone.bin", "replaced.bin"):
        _ok(life.blob("PUT", name, WHOLE, x_ms_blob_type="BlockBlob", x_ms_meta_who="me"))
    _ok(life.blob("DELETE", "gone.bin"))
    _ok(life.blob("PUT", "blocks.bin", b"first", "comp=block&blockid=MDE%3D"))
    _ok(_kind(middle, "deployments").put(life, "going"))
    for name in ("kept", "going"):
        path = f"/onlineEndpoints/stage/deployments/{name}"
        _until_made(life, path)
    for name, type_ in (("going", "AmlCompute"), ("resting", "ComputeInstance")):
        _ok(life.send("PUT", f"/computes/{name}", {"properties": compute(type_)}))
        _until_made(life, f"/computes/{name}")
    _ok(life.send("POST", "/computes/resting/stop"))
    until(lambda: _instance(life, "resting") == "Stopped")
    _ok(life.send("PUT", "/onlineEndpoints/going", _kind(middle, "onlineEndpoints").body()))
    trigger = {"triggerType": "Cron", "expression": "* * * * *", "timeZone": "UTC"}
    action = {"actionType": "CreateJob", "jobDefinition": job("true")}
    _ok(
        life.send(
            "PUT", f"/schedules/{FIRED}", {"properties": {"trigger": trigger, "action": action}}
        )
    )
    life.control.set_quota("standardESv3Family", 7)


def _kind(middle: Middle, name: str) -> Kind:
    return next(kind for kind in middle.kinds if kind.name == name)


def _state(life: Life, path: str) -> str:
    return str(_ok(life.send("GET", path)).json()["properties"]["provisioningState"])


def _until_made(life: Life, path: str) -> None:
    until(lambda: _state(life, path) == "Succeeded")


def _until_status(life: Life, job: str, expected: str) -> None:
    until(lambda: status(life, job) == expected)


def _instance(life: Life, name: str) -> str:
    return str(life.send("GET", f"/computes/{name}").json()["properties"]["properties"]["state"])


def status(life: Life, name: str) -> str:
    return str(_ok(life.send("GET", f"/jobs/{name}")).json()["properties"]["status"])


def _jobs(life: Life, middle: Middle, folder: Path) -> None:
    """One of each: queued, preparing, running, a pipeline with two steps, being cancelled."""
    busy = f"{life.config.workspace_path}/computes/busy"
    started = folder / "build"
    source = folder / "slow"
    source.mkdir(parents=True)
    (source / "setup.py").write_text(
        f"import pathlib, time\npathlib.Path({str(started)!r}).touch()\ntime.sleep(600)\n"
    )
    pip = {"pip": [f"slow @ {source.as_uri()}"]}
    python = ".".join(map(str, sys.version_info[:2]))
    conda = yaml.safe_dump({"dependencies": [f"python={python}", "pip", pip]})
    body = {"properties": {"image": "example.test/any:1", "condaFile": conda}}
    _ok(life.send("PUT", "/environments/slow/versions/1", body))
    slow = f"{life.config.workspace_path}/environments/slow/versions/1"
    life_long = "sleep 600 & setsid sleep 600 & wait"
    spec = {"type": "command", "command": life_long, "environment": "azureml:own:1"}
    # Of two steps that do the same, one runs, unless their results may differ.
    component = {"componentSpec": {**spec, "is_deterministic": False}}
    _ok(life.send("PUT", "/components/nap/versions/1", {"properties": component}))
    nap = f"{life.config.workspace_path}/components/nap/versions/1"
    pipeline = {
        "jobType": "Pipeline",
        "experimentName": "killed",
        "jobs": {
            name: {"type": "command", "componentId": nap, "inputs": {}} for name in ("one", "two")
        },
    }
    wanted = {
        "running": (job(life_long, computeId=busy), "Running"),
        "queued": (job("true", computeId=busy), "Queued"),
        "preparing": (job("true", environmentId=slow), "Preparing"),
        "pipeline": (pipeline, "Running"),
        "cancelling": (job("trap '' TERM; while true; do sleep 1; done"), "Running"),
        "ended": (job("true"), "Completed"),
    }
    for name, (properties, _) in wanted.items():
        _ok(life.send("PUT", f"/jobs/{name}", {"properties": properties}))
        if name == "running":
            _until_status(life, name, "Running")
    for name, (_, expected) in wanted.items():
        _until_status(life, name, expected)
    until(lambda: len(_steps(life)) == 2 and {status(life, s) for s in _steps(life)} == {"Running"})
    middle.steps = _steps(life)
    until(started.exists)
    life.control.advance(61)
    until(lambda: fired(life))


def _steps(life: Life) -> list[str]:
    children = (
        f"/history/v1.0{life.config.workspace_path}/experiments/killed/runs/pipeline/children"
    )
    return [run["runId"] for run in _ok(life.api("GET", children)).json()["value"]]


def fired(life: Life) -> list[str]:
    jobs = life.send("GET", "/jobs").json()["value"]
    return [
        each["name"]
        for each in jobs
        if each["properties"]["properties"].get("azureml.scheduleId") == FIRED
    ]


def _tracked(life: Life, middle: Middle) -> None:
    """A run with a metric, an artifact, a registered model; MLflow's server runs."""
    answer = _ok(life.mlflow("POST", "runs/create", {"experiment_id": "0", "run_name": "by hand"}))
    info = answer.json()["run"]["info"]
    middle.run = info["run_uuid"]
    metric = {"run_id": middle.run, "key": "loss", "value": 0.5, "timestamp": 1, "step": 1}
    _ok(life.mlflow("POST", "runs/log-metric", metric))
    artifacts = (
        f"/history/v1.0{life.config.workspace_path}/experimentids/0/runs/{middle.run}/artifacts"
    )
    wanted = {"paths": [{"path": "model/MLmodel"}]}
    made = _ok(life.api("POST", f"{artifacts}/batch/metadata", wanted)).json()
    address = made["artifactContentInformation"]["model/MLmodel"]["contentUri"]
    headers = {"x-ms-blob-type": "BlockBlob", "x-ms-version": "2021-12-02", "Authorization": ""}
    _ok(life.client.put(address, content=b"flavors: {}", headers=headers))
    _ok(life.mlflow("POST", "registered-models/create", {"name": "registered"}))
    version = {
        "name": "registered",
        "source": f"{info['artifact_uri']}/model",
        "run_id": middle.run,
    }
    _ok(life.mlflow("POST", "model-versions/create", version))
    alias = {"name": "registered", "alias": "champion", "version": "1"}
    _ok(life.mlflow("POST", "registered-models/alias", alias))


def _changing(life: Life, middle: Middle) -> None:
    """Long-running operations that have begun, and will not end by themselves."""
    for resources in ("endpoints", "deployments", "schedules", "computes"):
        life.control.transition(resources, mode="manual")
    for kind in middle.kinds:
        if kind.name in ("onlineEndpoints", "deployments", "clusters", "instances", "schedules"):
            _remember(middle, f"create {kind.name}", kind.put(life, "middle"))
    changed = {"properties": compute(nodes=2)}
    _remember(middle, "change", life.send("PUT", "/computes/kept", changed))
    _remember(middle, "start", life.send("POST", "/computes/resting/start"))
    for what, path in (
        ("endpoint", "/onlineEndpoints/going"),
        ("deployment", "/onlineEndpoints/stage/deployments/going"),
        ("compute", "/computes/going"),
    ):
        _remember(middle, f"delete {what}", life.send("DELETE", path))


def _held(life: Life, middle: Middle, pool: ThreadPoolExecutor) -> None:
    """Requests of all kinds that have not had their effect, and some that have."""
    faults = {
        where: life.control.add_fault("*", path=f"*{where}held*", times=None, hold=where)
        for where in ("before", "after")
    }
    count = len(middle.kinds)
    for where in faults:
        name = f"{where}held"
        for kind in middle.kinds:
            pool.submit(_asked, kind.put, life, name)
        block = {"x_ms_blob_type": "BlockBlob", "x_ms_meta_who": "me"}
        pool.submit(_asked, life.blob, "PUT", f"{name}.bin", WHOLE, **block)
        pool.submit(_asked, life.blob, "PUT", f"{name}-b.bin", WHOLE, "comp=block&blockid=MDE%3D")
    for fault in faults.values():
        fault.wait_until_held(count=count + 2)
    half = threading.Event()
    for name in ("half.bin", "replaced.bin"):
        pool.submit(_asked, life.blob, "PUT", name, _endless(half), x_ms_blob_type="BlockBlob")
    slow = f"https://stage.{life.config.location}.inference.ml.azure.com/score"
    pool.submit(_asked, life.client.post, slow, content='"slow"')
    uploads = life.state / "blobs" / ".uploads"
    until(lambda: len([file for file in uploads.iterdir() if file.stat().st_size]) >= 2)


def _endless(half: threading.Event) -> Iterator[bytes]:
    for _ in range(600):
        yield b"x" * 65536
        half.wait(0.1)


def _asked(call: Any, *arguments: Any, **options: Any) -> None:
    with suppress(httpx.HTTPError):
        call(*arguments, **options)


def _look(life: Life, middle: Middle) -> None:
    """Write down what there is, as the last thing before the kill."""
    for kind in middle.kinds:
        middle.kept[kind.name] = _ok(kind.get(life, "kept")).json()
    for name in ("running", "queued", "preparing", "pipeline", "cancelling", *middle.steps):
        middle.statuses[name] = status(life, name)
    middle.fired = fired(life)
    middle.processes = life.children()
    middle.ports = [
        connection.laddr.port
        for connection in psutil.Process(life.process.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]


def operation(life: Life, address: str) -> dict[str, Any]:
    """The state of a long-running operation, as a client polls it."""
    found = re.search(r"(/subscriptions/[^?]*)", address)
    assert found
    body: dict[str, Any] = _ok(life.send("GET", found[1])).json()
    return body


def settled(life: Life, address: str) -> dict[str, Any]:
    """The same when it has ended."""
    until(lambda: operation(life, address)["status"] in _ENDED)
    return operation(life, address)
