"""A hub on a real socket that counts what it sends, and can lose connections."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from emulator.hub import hub_app

Message = dict[str, str | None]
Talk = list[Message] | None


def talk(number: int, turns: int = 2) -> list[Message]:
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": f"Grüße {number}/{n} 你好"} for n in range(turns)]


class Lost(Exception):
    """What makes the server close a connection in the middle of an answer."""


@dataclass
class Hub:
    """A running hub: its address, its folder, and what it was asked for."""

    url: str
    folder: Path
    asked: list[str] = field(default_factory=list)
    sent: int = 0
    """Bytes of Parquet files."""
    lose_after: list[int] = field(default_factory=list)
    """The next answers with a part of a Parquet file end after so many bytes."""
    pause: float = 0.0
    """Seconds before each piece of a Parquet file."""
    statuses: list[int] = field(default_factory=list)
    """The next answers with a part of a Parquet file are these errors."""
    whole: bool = False
    """Ranges are ignored."""

    def forget(self) -> None:
        self.asked.clear()
        self.lose_after.clear()
        self.statuses.clear()
        self.sent, self.pause, self.whole = 0, 0.0, False

    def add(self, name: str, splits: dict[str, list[Talk]]) -> None:
        import pyarrow as pa

        message = pa.struct([("content", pa.string()), ("role", pa.string())])
        tables = {
            split: [
                pa.table(
                    {
                        "prompt": [f"prompt {n}" for n in range(len(talks))],
                        "messages": pa.array(talks, pa.list_(message)),
                        "picture": pa.array([b"\x00"] * len(talks)),
                    }
                )
            ]
            for split, talks in splits.items()
        }
        self.add_tables(name, tables)

    def add_tables(
        self, name: str, splits: Mapping[str, Sequence[Any]], card: str = "", **options: Any
    ) -> Path:
        """A dataset with the tables of each split as its Parquet files; gives its folder."""
        import pyarrow.parquet as pq

        home = self.folder / "datasets" / name
        (home / "data").mkdir(parents=True)
        for split, tables in splits.items():
            for number, table in enumerate(tables):
                file = f"{split}-{number:05d}-of-{len(tables):05d}.parquet"
                pq.write_table(table, home / "data" / file, **options)
        files = "".join(f"  - split: {s}\n    path: data/{s}-*\n" for s in splits)
        head = f"configs:\n- config_name: default\n  data_files:\n{files}{card}"
        (home / "README.md").write_text(f"---\n{head}---\n")
        return home


class _Counted:
    """The hub's application with a `Hub` that watches and disturbs it."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._app = hub_app(hub.folder)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        import anyio

        hub = self._hub
        hub.asked.append(scope["path"])
        if not scope["path"].endswith(".parquet") or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        if hub.statuses:
            await send({"type": "http.response.start", "status": hub.statuses.pop(0)})
            await send({"type": "http.response.body", "body": b""})
            return
        if hub.whole:
            scope["headers"] = [(k, v) for k, v in scope["headers"] if k != b"range"]
        left = hub.lose_after.pop(0) if hub.lose_after else None

        async def watched(message: Any) -> None:
            nonlocal left
            body = message.get("body", b"")
            if hub.pause and body:
                await anyio.sleep(hub.pause)
            if left is not None and len(body) > left:
                await send({**message, "body": body[:left], "more_body": True})
                hub.sent += left
                raise Lost
            left = None if left is None else left - len(body)
            hub.sent += len(body)
            await send(message)

        await self._app(scope, receive, watched)


@contextmanager
def running_hub(folder: Path) -> Iterator[Hub]:
    """A hub over a folder, on a port of its own."""
    hub = Hub("", folder)
    config = uvicorn.Config(
        _Counted(hub), host="127.0.0.1", port=0, log_level="critical", lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    hub.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield hub
    server.should_exit = True
    thread.join(10)
