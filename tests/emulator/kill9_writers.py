"""Clients that write to an emulator until it is killed, and remember what it acknowledged."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx

from tests.emulator.kill9_kinds import Kind, kinds
from tests.emulator.kill9_support import Life

CLIENTS = 4
_CHANGES_BY_ITSELF = ("deployments", "containers")
_ENDED = ("Succeeded", "Failed", "Canceled", "Completed", "Unknown")


@dataclass
class Written:
    """What clients have been told."""

    things: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """Kind and name: the keys of its properties."""
    blobs: dict[str, int] = field(default_factory=dict)
    """The version that was written last, of a blob that is written again and again; 0: deleted."""
    under_way: dict[tuple[str, str], int] = field(default_factory=dict)
    """What was asked for last, which was acknowledged or not; of a blob, the version."""
    operations: set[str] = field(default_factory=set)


def write_and_kill(life: Life, dice: random.Random, number: int) -> Written:
    """Let clients write for a random part of half a second, and kill the emulator."""
    over, written = threading.Event(), Written()
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [
            pool.submit(_client, life, written, random.Random(dice.random()), name, over)
            for name in (f"r{number}c{client}" for client in range(CLIENTS))
        ]
        time.sleep(0.1 + dice.random() / 2)
        life.process.kill()
        over.set()
        for client in clients:
            client.result()
    life.kill()
    return written


def _client(
    life: Life, written: Written, dice: random.Random, name: str, over: threading.Event
) -> None:
    made = [kind for kind in kinds(life) if kind.name not in _CHANGES_BY_ITSELF]
    count = 0
    while not over.is_set():
        count += 1
        try:
            if dice.random() < 0.5:
                _write_thing(life, written, dice.choice(made), f"{name}n{count}")
            else:
                _write_blob(life, written, dice, f"{name}.bin")
        except httpx.HTTPError:
            return  # killed


def _write_thing(life: Life, written: Written, kind: Kind, name: str) -> None:
    written.under_way[kind.name, name] = 1
    answer = kind.put(life, name)
    assert answer.is_success, answer.text
    written.things[kind.name, name] = sorted(answer.json()["properties"])
    if operation := answer.headers.get("Azure-AsyncOperation"):
        written.operations.add(operation)


def _write_blob(life: Life, written: Written, dice: random.Random, name: str) -> None:
    version = written.under_way.get(("blob", name), 0) + 1
    if dice.random() < 0.1 and written.blobs.get(name):
        written.under_way["blob", name] = 0
        assert life.blob("DELETE", name).status_code == 202
        del written.blobs[name]
        return
    written.under_way["blob", name] = version
    metadata = {"x_ms_meta_version": str(version), "content_type": f"text/v{version}"}
    if dice.random() < 0.5:
        answer = life.blob("PUT", name, content(version), x_ms_blob_type="BlockBlob", **metadata)
    else:
        answer = life.blob("PUT", name, content(version), "comp=block&blockid=MDE%3D")
        assert answer.status_code == 201, answer.text
        blocks = b"<BlockList><Latest>MDE=</Latest></BlockList>"
        named = {"x_ms_blob_content_type": metadata["content_type"], **metadata}
        answer = life.blob("PUT", name, blocks, "comp=blocklist", **named)
    assert answer.status_code == 201, answer.text
    written.blobs[name] = version


def content(version: int) -> bytes:
    return f"{version}.".encode() * 2000


def check(life: Life, written: Written) -> None:
    """Find all that was acknowledged, and nothing that is not whole."""
    by_name = {kind.name: kind for kind in kinds(life)}
    for (kind, name), asked in written.under_way.items():
        if kind == "blob":
            _check_blob(life, written, name, asked)
            continue
        known = written.things.get((kind, name))
        answer = by_name[kind].get(life, name)
        if known is None and answer.status_code == 404:
            continue
        assert answer.status_code == 200, (kind, name, answer.text)
        if known:
            assert sorted(answer.json()["properties"]) == known, (kind, name)
        properties = answer.json()["properties"]
        state = properties["status"] if kind == "jobs" else properties.get("provisioningState")
        assert state in (*_ENDED, None), (kind, name, state)
    for address in written.operations:
        path = httpx.URL(address).path
        assert life.send("GET", path).json()["status"] in _ENDED, address


def _check_blob(life: Life, written: Written, name: str, asked: int) -> None:
    acknowledged = written.blobs.get(name)
    answer = life.blob("GET", name)
    if answer.status_code == 404:
        assert acknowledged is None or asked == 0, name
        written.blobs.pop(name, None)
        return
    version = int(answer.headers["x-ms-meta-version"])
    assert version in (acknowledged, asked) or acknowledged is None, (name, version, acknowledged)
    assert answer.content == content(version), name
    assert answer.headers["content-type"] == f"text/v{version}", name
