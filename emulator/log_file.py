"""The server's log: a line for every request, which must cost the request little."""

import asyncio
import logging
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path


def configure_logging(state: Path, verbose: bool) -> None:
    """The server's log goes to the state folder; warnings and, if asked, requests to stderr."""
    # What no line shows need not be found out for each.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    state.mkdir(parents=True, exist_ok=True)
    file = _LogFile(state / "emulator.log")
    terminal = logging.StreamHandler()
    terminal.setLevel(logging.INFO if verbose else logging.WARNING)
    for handler in (file, terminal):
        handler.setFormatter(_Line("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[file, terminal])
    logging.getLogger("httpx").setLevel(logging.WARNING)


class _LogFile(logging.FileHandler):
    """A file that is written to once in a turn of the event loop, however many lines there are."""

    _waits = False

    def flush(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # before, after or beside the loop
            super().flush()
            return
        if not self._waits:
            self._waits = True
            loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._waits = False
        try:
            super().flush()
        except OSError:  # the disk is full: to say so here would be the next line
            with suppress(OSError):
                if self.stream is not None:
                    self.stream.close()
            self.stream = None  # the next line opens it again

    def close(self) -> None:
        self._flush()
        super().close()


class _Line(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        # A name that a client made up must not look like another line.
        if not record.message.isprintable():
            record.message = record.message.encode("unicode_escape").decode()
        return super().formatMessage(record)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return f"{_second(int(record.created))},{int(record.msecs):03d}"


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
