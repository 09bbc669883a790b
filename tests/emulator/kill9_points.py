"""Kills an emulator just before each single write of an operation, and looks at what is left.

    python -m tests.emulator.kill9_points FOLDER [OPERATION ...]

Each life is a fork of this process, which has imported everything, and is asked without sockets.
Prints the number of points; ends with 1 and a traceback when a life finds what may not be.
"""

import asyncio
import os
import shutil
import signal
import sqlite3
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from emulator.application import gated_application
from emulator.compute.strays import kill_strays
from emulator.config import make_config
from emulator.control_access import AUDIENCE
from emulator.core import Emulator
from emulator.identity import MANAGEMENT, Tokens
from emulator.transitions import Setting
from tests.emulator.kill9_kinds import Kind, job, kinds
from tests.emulator.kill9_support import blob_request, request

POINTS = range(1, 400) if os.environ.get("EXHAUSTIVE") else (*range(1, 6), *range(9, 400, 15))
_WRITES = ("INSERT", "UPDATE", "DELETE", "COMMIT")
_FILES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
_ENDED = ("Succeeded", "Failed", "Canceled")


class Point:
    """Where the process kills itself: before the write of this number, 0 for nowhere."""

    left = 0

    @classmethod
    def passed(cls) -> None:
        if cls.left:
            cls.left -= 1
            if not cls.left:
                os.kill(os.getpid(), signal.SIGKILL)


def watch() -> None:
    """Count the writes of this process, to files and to databases."""
    connect = sqlite3.connect

    def watched(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.set_trace_callback(
            lambda statement: Point.passed() if statement.startswith(_WRITES) else None
        )
        return connection

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE
        if event in _FILES or writes:
            Point.passed()

    sqlite3.connect = watched  # type: ignore[assignment]
    sys.addaudithook(hook)


Work = Callable[["Asked"], Awaitable[None]]


class Asked:
    """An emulator in this process, asked without sockets."""

    def __init__(self, state: Path) -> None:
        self.config = make_config(state, {})
        self.config.save()
        self.emulator = Emulator(self.config)
        # Nobody asks MLflow's server here, and it takes seconds to start.
        self.emulator.tracking.warm = lambda: None  # type: ignore[method-assign]
        application: Any = gated_application(self.emulator)
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(application))
        self._tokens = Tokens(self.config)

    async def _ask(self, method: str, audience: str, wanted: dict[str, Any]) -> httpx.Response:
        token = self._tokens.issue(audience, self.config.client_id)
        headers = {"Authorization": f"Bearer {token}"} | (wanted.pop("headers", None) or {})
        return await self._client.request(method, **wanted, headers=headers)

    async def send(
        self, method: str, path: str, body: Any = None, host: str = ""
    ) -> httpx.Response:
        return await self._ask(method, MANAGEMENT[0], request(self.config, path, body, host))

    async def blob(
        self, method: str, name: str, content: bytes = b"", query: str = "", **headers: str
    ) -> httpx.Response:
        wanted = blob_request(self.config, name, content, query, headers)
        return await self._ask(method, MANAGEMENT[0], wanted)

    async def reset(self) -> None:
        wanted = {"url": f"{AUDIENCE}/reset"}
        _ok(await self._ask("POST", AUDIENCE, wanted))

    def kinds(self) -> dict[str, Kind]:
        """Those that need nothing beside them."""
        me: Any = self
        return {kind.name: kind for kind in kinds(me) if kind.name != "deployments"}


def _ok(answer: httpx.Response) -> httpx.Response:
    assert answer.is_success, f"{answer.request.url}: {answer.status_code} {answer.text}"
    return answer


async def prepare(asked: Asked) -> None:
    """What is there before: one of each kind, and a blob."""
    _ok(await put_blob(asked, 1))
    found = asked.kinds()
    for name, of in (("own", "environments"), ("azureml-mine", "registries")):
        _ok(await found[of].put(asked, name))
    for kind in found.values():
        _ok(await kind.put(asked, "kept"))
    await _until_quiet(asked)


async def _until_quiet(asked: Asked) -> None:
    while asked.emulator.jobs.records.living() or asked.emulator.operations._tasks:
        await asyncio.sleep(0.005)


async def put_blob(asked: Asked, version: int) -> httpx.Response:
    content, text = str(version).encode() * 9, str(version)
    kind = {"x_ms_blob_type": "BlockBlob", "x_ms_meta_version": text}
    return await asked.blob("PUT", "b.bin", content, content_type=f"text/v{text}", **kind)


async def put_blocks(asked: Asked) -> None:
    _ok(await asked.blob("PUT", "b.bin", b"2" * 9, "comp=block&blockid=MDE%3D"))
    blocks = b"<BlockList><Latest>MDE=</Latest></BlockList>"
    named = {"x_ms_meta_version": "2", "x_ms_blob_content_type": "text/v2"}
    _ok(await asked.blob("PUT", "b.bin", blocks, "comp=blocklist", **named))


def works(asked: Asked) -> dict[str, Work]:
    """All that is killed in the middle, by name."""

    def put(name: str) -> Work:
        async def work(asked: Asked) -> None:
            _ok(await asked.kinds()[name].put(asked, "new"))
            await _until_quiet(asked)

        return work

    async def blob(asked: Asked) -> None:
        _ok(await put_blob(asked, 2))

    async def delete(asked: Asked) -> None:
        for name in ("onlineEndpoints", "clusters", "workspaces", "data"):
            path = asked.kinds()[name].path.format(name="kept")
            _ok(await asked.send("DELETE", path))
        await _until_quiet(asked)

    return {
        **{name: put(name) for name in asked.kinds()},
        "put blob": blob,
        "put blocks": put_blocks,
        "delete": delete,
        "reset": Asked.reset,
        "start": start,
    }


async def start(asked: Asked) -> None:
    """The start itself, which is done for all."""


async def busy(asked: Asked) -> None:
    """A life that is killed while a job runs and a compute is created."""
    await asked.emulator.tracking.stop()
    transitions: Any = asked.emulator.transitions
    transitions.set("computes", Setting(mode="manual"))
    found = asked.kinds()
    _ok(await found["clusters"].put(asked, "new"))
    body = {"properties": job("sleep 600 & wait")}
    _ok(await asked.send("PUT", "/jobs/new", body))
    while asked.emulator.jobs.records.get("new")["status"] != "Running":  # type: ignore[index]
        await asyncio.sleep(0.005)
    os.kill(os.getpid(), signal.SIGKILL)


async def look(asked: Asked, work: str) -> None:
    """What the next life finds is whole, and can be used."""
    found = asked.kinds()
    blob = await asked.blob("GET", "b.bin")
    kept = {name: await kind.get(asked, "kept") for name, kind in found.items()}
    there = {name for name, answer in kept.items() if answer.status_code == 200}
    if work == "reset":
        assert there in (set(), set(found)), f"half of it is there: {there}"
        assert blob.is_success == bool(there)
    elif work != "delete":
        assert there == set(found)
    if blob.is_success:
        version = blob.headers["x-ms-meta-version"]
        assert version in ("12" if "blo" in work else "1")
        assert blob.content == version.encode() * 9
        assert blob.headers["content-type"] == f"text/v{version}"
    for _, operation in asked.emulator.store.document("operations").items():
        assert operation["status"] in _ENDED, operation
    assert not asked.emulator.jobs.records.living()
    if work == "start":
        assert (await asked.send("GET", "/jobs/new")).json()["properties"]["status"] == "Failed"
    if work in found:
        await _look_at_new(asked, found[work], kept[work])
    _ok(await asked.send("GET", f"{asked.config.workspace_path.rpartition('/')[0]}"))
    _ok(await asked.send("GET", "/datastores/workspaceblobstore"))


async def _look_at_new(asked: Asked, kind: Kind, kept: httpx.Response) -> None:
    new = await kind.get(asked, "new")
    if new.status_code == 200:
        keys, expected = (set(each.json()["properties"]) for each in (new, kept))
        assert keys == expected, keys ^ expected
        parent, versions, _ = kind.path.format(name="new").partition("/versions/")
        if versions:
            _ok(await asked.send("GET", parent, None, kind.host))
        if kind.name == "workspaces":
            _ok(await asked.send("GET", f"{parent}/datastores/workspaceblobstore"))
    else:
        assert new.status_code == 404
    _ok(await kind.put(asked, "new"))  # as a client that had no answer sends it again
    await _until_quiet(asked)
    properties = _ok(await kind.get(asked, "new")).json()["properties"]
    state = properties["status"] if kind.name == "jobs" else properties.get("provisioningState")
    assert state in ("Succeeded", "Completed", "Failed", None), state
    assert kind.name == "jobs" or state != "Failed"


def life(state: Path, point: int, work: Work) -> int:
    """One life, in a process of its own: 0, 1 after an error, or -9."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        asyncio.run(_life(state, point, work))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


async def _life(state: Path, point: int, work: Work) -> None:
    asked = Asked(state)
    if work is start:
        Point.left = point
    await asked.emulator.start()
    Point.left = point
    await work(asked)
    Point.left = 0
    asked.emulator.store.close()


def main(folder: Path, names: list[str]) -> int:
    watch()
    base = folder / "base"
    if life(base, 0, prepare) != 0:
        return 1
    killed = folder / "killed"
    shutil.copytree(base, killed)
    if life(killed, 0, busy) != -signal.SIGKILL:
        return 1
    points, wrong = 0, 0
    for name, work in works(Asked(folder / "names")).items():
        if names and name not in names:
            continue
        for point in POINTS:
            state = folder / "state"
            shutil.rmtree(state, ignore_errors=True)
            shutil.copytree(killed if work is start else base, state)
            end = life(state, point, work)
            if end == 0:
                break
            points += 1

            async def find(asked: Asked, name: str = name) -> None:
                await look(asked, name)

            if end != -signal.SIGKILL or life(state, 0, find) != 0:
                print(f"{name}, killed before its write {point}: see above", flush=True)
                wrong += 1
    kill_strays(killed)
    print(f"{points} points, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
