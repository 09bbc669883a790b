"""What the emulator knows, in SQLite: Azure resources by path, and small documents by key."""

import asyncio
import json
import logging
import sqlite3
import threading
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from emulator.storage_errors import NotKept, storage_problem

_log = logging.getLogger(__name__)

Resource = dict[str, Any]

_MOST_TEXTS = 1000
_LONGEST_TEXT = 16 << 10
"""Of the texts that are kept in memory, in characters: 16 MB at most."""


class Store:
    """Resources and documents that survive a restart.

    Resource paths are compared without regard to case, as Azure does. A value that is read is a
    copy: change it and put it back. Calls are synchronous and short; a handler that does not
    await between a read and a write cannot be interrupted. Nor can it by the end of the process:
    what is written on the event loop without a pause is kept whole or not at all.
    """

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._closed = False
        self.losses = 0
        """How often the disk did not take what was written."""
        self._texts: dict[str, str] = {}
        self._texts_lock = threading.Lock()
        self._connection.executescript(
            """
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = NORMAL;
            CREATE TABLE IF NOT EXISTS resources (
                sequence INTEGER PRIMARY KEY AUTOINCREMENT,
                key TEXT NOT NULL UNIQUE,
                parent TEXT NOT NULL,
                body TEXT NOT NULL
            );
            CREATE INDEX IF NOT EXISTS resources_by_parent ON resources (parent, sequence);
            CREATE TABLE IF NOT EXISTS documents (
                sequence INTEGER PRIMARY KEY AUTOINCREMENT,
                kind TEXT NOT NULL,
                key TEXT NOT NULL,
                body TEXT NOT NULL,
                UNIQUE (kind, key)
            );
            """
        )

    def get(self, path: str) -> Resource | None:
        text = self.text(path)
        return json.loads(text) if text else None

    def text(self, path: str) -> str | None:
        """A resource as its JSON, in ASCII. The last ones that were used are in memory."""
        key = _key(path)
        if text := self._texts.get(key):
            return text
        with self._texts_lock:
            row = self._connection.execute(
                "SELECT body FROM resources WHERE key = ?", (key,)
            ).fetchone()
            if row:
                self._remember(key, row[0])
        return row[0] if row else None

    def put(self, path: str, resource: Resource) -> None:
        key, text = _key(path), json.dumps(resource, separators=(",", ":"))
        self._begin()
        with self._texts_lock:
            self._connection.execute(
                "INSERT INTO resources (key, parent, body) VALUES (?, ?, ?) "
                "ON CONFLICT (key) DO UPDATE SET body = excluded.body",
                (key, key.rpartition("/")[0], text),
            )
            self._remember(key, text)

    def delete(self, path: str) -> list[str]:
        """Delete a resource and all below it; gives the keys that were deleted."""
        key = _key(path)
        self._begin()
        with self._texts_lock:
            # '0' is the character after '/': the range holds just what lies below the path.
            rows = self._connection.execute(
                "DELETE FROM resources WHERE key = ? OR (key > ? AND key < ?) RETURNING key",
                (key, key + "/", key + "0"),
            ).fetchall()
            for (deleted,) in rows:
                self._texts.pop(deleted, None)
        return [row[0] for row in rows]

    def children(self, path: str) -> list[Resource]:
        """The resources directly below a collection's path, in the order of their creation."""
        rows = self._connection.execute(
            "SELECT body FROM resources WHERE parent = ? ORDER BY sequence", (_key(path),)
        ).fetchall()
        return [json.loads(row[0]) for row in rows]

    def document(self, kind: str) -> "Document":
        return Document(self, self._connection, kind)

    def clear(self) -> None:
        self._begin()
        with self._texts_lock:
            self._connection.execute("DELETE FROM resources")
            self._connection.execute("DELETE FROM documents")
            self._texts.clear()

    def commit(self) -> None:
        """Keep what was written, whatever happens now. To be called before anybody is told.

        Raises NotKept when the disk does not take it; then it is undone.
        """
        if self._closed:
            return
        try:
            self._connection.commit()
        except sqlite3.OperationalError as error:
            self.losses += 1
            with self._texts_lock:
                self._connection.rollback()
                self._texts.clear()
            raise NotKept(storage_problem(error) or str(error)) from error

    def _commit_soon(self) -> None:
        try:
            self.commit()
        except NotKept:
            _log.exception("what was written last is lost")

    def close(self) -> None:
        self.commit()
        self._closed = True
        self._connection.close()

    def _remember(self, key: str, text: str) -> None:
        self._texts.pop(key, None)
        if len(text) <= _LONGEST_TEXT:
            self._texts[key] = text
        if len(self._texts) > _MOST_TEXTS:
            del self._texts[next(iter(self._texts))]

    def _begin(self) -> None:
        """Begin what is kept when the event loop goes on; elsewhere each write stands alone."""
        if self._connection.in_transaction:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._connection.execute("BEGIN")
        loop.call_soon(self._commit_soon)


class Document:
    """A table of JSON values by key, for all that is not an Azure resource."""

    def __init__(self, store: Store, connection: sqlite3.Connection, kind: str) -> None:
        self._connection = connection
        self._kind = kind
        self._begin = store._begin
        self.commit = store.commit

    def get(self, key: str) -> Any | None:
        row = self._connection.execute(
            "SELECT body FROM documents WHERE kind = ? AND key = ?", (self._kind, key)
        ).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, key: str, value: Any) -> None:
        self._begin()
        self._connection.execute(
            "INSERT INTO documents (kind, key, body) VALUES (?, ?, ?) "
            "ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body",
            (self._kind, key, json.dumps(value)),
        )

    def delete(self, key: str) -> None:
        self._begin()
        self._connection.execute(
            "DELETE FROM documents WHERE kind = ? AND key = ?", (self._kind, key)
        )

    def items(self) -> list[tuple[str, Any]]:
        rows = self._connection.execute(
            "SELECT key, body FROM documents WHERE kind = ? ORDER BY sequence", (self._kind,)
        ).fetchall()
        return [(key, json.loads(body)) for key, body in rows]


def _key(path: str) -> str:
    return unquote(path).rstrip("/").lower()
