"""Files on a server that are fetched in parts: only what is read, and never twice.

A part that has arrived stays on disk beside a map of what is there, so that a run that was cut off,
or whose connection was, goes on from the same place.
"""

import hashlib
import io
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

BLOCK = 1 << 18
"""Bytes that are there or not."""

_REQUEST = 32 * BLOCK
_WORKERS = 4
_TRIES = 6
_TIMEOUT = 30.0
_TOTAL = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class RemoteFile(io.RawIOBase):
    """One file, read like a local one; `ask` gives a streaming response for a Range header.

    What is not on disk is fetched when it is read, or before, by a `Fetcher`. Safe for one reader
    and any number of fetching threads. Raises what the connection raises, after some tries.
    """

    def __init__(self, address: str, ask: Callable[[str, str], Any], cache: Path) -> None:
        self._address = address
        self._ask = ask
        self._position = 0
        self._error: Exception | None = None
        self._arrived = threading.Condition()
        self._planned: set[int] = set()
        cache.mkdir(parents=True, exist_ok=True)
        key = hashlib.sha256(address.encode()).hexdigest()[:24]
        self._data = os.open(cache / f"{key}.data", os.O_RDWR | os.O_CREAT)
        self._map = os.open(cache / f"{key}.map", os.O_RDWR | os.O_CREAT)
        # The map begins with the file's size, in 8 bytes.
        known = os.pread(self._map, 8, 0)
        self.size = int.from_bytes(known) if len(known) == 8 else self._first_look()
        blocks = -(-self.size // BLOCK)
        self._there = bytearray(os.pread(self._map, blocks, 8).ljust(blocks, b"\0"))

    def _first_look(self) -> int:
        """Fetch the end, where the description of a Parquet file is; gives the size."""
        tries, content = 0, b""
        while not content:
            try:
                with self._ask(self._address, f"bytes=-{BLOCK}") as response:
                    content = response.read()
                    found = _TOTAL.match(response.headers.get("content-range", ""))
                if not content:
                    raise OSError(f"{self._address} is empty")
            except Exception as error:
                tries += 1
                _wait_or_raise(error, tries)
        size = int(found[3]) if found else len(content)
        self._there = bytearray(-(-size // BLOCK))
        self.size = size
        self._keep(size - len(content), content)
        os.pwrite(self._map, size.to_bytes(8), 0)
        return size

    def _keep(self, start: int, content: bytes | memoryview) -> int:
        """Write what begins at `start` and note its whole blocks; gives where the next one begins.

        Only whole blocks count: the rest of `content` is to come again with what follows it.
        """
        first = -(-start // BLOCK)
        end = start + len(content)
        last = len(self._there) if end >= self.size else end // BLOCK
        if last <= first:
            return start
        offset = first * BLOCK - start
        stop = min(last * BLOCK, self.size) - start
        os.pwrite(self._data, content[offset:stop], first * BLOCK)
        os.pwrite(self._map, b"\1" * (last - first), 8 + first)
        with self._arrived:
            self._there[first:last] = b"\1" * (last - first)
            self._arrived.notify_all()
        return start + stop

    def missing(self, ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """What of the ranges (start, end) in bytes is not there, as runs of blocks, in order."""
        runs: list[tuple[int, int]] = []
        for start, end in ranges:
            for block in range(start // BLOCK, -(-min(end, self.size) // BLOCK)):
                if self._there[block] or block in self._planned:
                    continue
                self._planned.add(block)
                grows = runs and runs[-1][1] == block and block - runs[-1][0] < _REQUEST // BLOCK
                if grows:
                    runs[-1] = (runs[-1][0], block + 1)
                else:
                    runs.append((block, block + 1))
        return runs

    def fetch(self, first: int, last: int) -> None:
        """Bring the blocks `first` to `last` (exclusive), from where a lost connection left off."""
        tries = 0
        while (first := self._next_missing(first, last)) < last and not self._error:
            try:
                self._stream(first, last)
                error: Exception = OSError(f"{self._address} gave less than was asked for")
            except Exception as caught:
                error = caught
            tries = 0 if self._next_missing(first, last) > first else tries + 1
            _wait_or_raise(error, tries)

    def _next_missing(self, first: int, last: int) -> int:
        while first < last and self._there[first]:
            first += 1
        return first

    def _stream(self, first: int, last: int) -> None:
        start, end = first * BLOCK, min(last * BLOCK, self.size)
        rest = b""
        with self._ask(self._address, f"bytes={start}-{end - 1}") as response:
            if response.status_code != 206:  # the range was not honoured: the whole file comes
                start = 0
            for chunk in response.iter_raw(BLOCK):
                content = rest + chunk if rest else chunk  # nearly always a whole block
                kept = self._keep(start, memoryview(content))
                start, rest = kept, content[kept - start :]

    def fail(self, error: Exception) -> None:
        """What is awaited will not come."""
        with self._arrived:
            self._error = error
            self._arrived.notify_all()

    def _need(self, block: int) -> None:
        with self._arrived:
            while not self._there[block] and block in self._planned and not self._error:
                self._arrived.wait()
        if self._error:
            raise self._error.with_traceback(None)
        if not self._there[block]:
            self.fetch(block, min(block + 4, len(self._there)))

    def read(self, size: int = -1) -> bytes:
        end = self.size if size < 0 else min(self._position + size, self.size)
        if end <= self._position:
            return b""
        for block in range(self._position // BLOCK, -(-end // BLOCK)):
            if not self._there[block]:
                self._need(block)
        content = os.pread(self._data, end - self._position, self._position)
        self._position += len(content)
        return content

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            os.close(self._data)
            os.close(self._map)
        super().close()


class Fetcher:
    """Brings parts of files in the order in which they will be read, some at once."""

    def __init__(self) -> None:
        self._runs: queue.SimpleQueue[tuple[RemoteFile, int, int] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._stopped = False

    def add(self, file: RemoteFile, ranges: Iterable[tuple[int, int]]) -> None:
        """Fetch these parts, (start, end) in bytes, after what was added before."""
        for first, last in file.missing(ranges):
            self._runs.put((file, first, last))

    def __enter__(self) -> "Fetcher":
        return self

    def start(self) -> None:
        self._threads = [
            threading.Thread(target=self._work, name="fetch", daemon=True) for _ in range(_WORKERS)
        ]
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        for _thread in self._threads:
            self._runs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (run := self._runs.get()) is not None:
            file, first, last = run
            if self._stopped:
                continue
            try:
                file.fetch(first, last)
            except Exception as error:
                file.fail(error)


def _wait_or_raise(error: Exception, tries: int) -> None:
    """Wait before the next try, where one may help: the connection broke, the server is busy."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    may_pass = status is None or status in (408, 429) or status >= 500
    if tries >= _TRIES or not may_pass:
        raise error
    if tries:
        time.sleep(min(0.1 * 2**tries, 8.0))


def ask_hub(headers: Mapping[str, str]) -> Callable[[str, str], Any]:
    """How to ask the Hugging Face hub for a part of a file: as its own client does."""
    from contextlib import contextmanager

    from huggingface_hub import get_session, hf_raise_for_status

    @contextmanager
    def ask(address: str, wanted: str) -> Any:
        given = {**headers, "Range": wanted, "Accept-Encoding": "identity"}
        with get_session().stream("GET", address, headers=given, timeout=_TIMEOUT) as response:
            if response.status_code not in (200, 206):
                response.read()
                hf_raise_for_status(response)
            yield response

    return ask
