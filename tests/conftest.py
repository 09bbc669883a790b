"""What every test starts from: no network proxy, no account, no set-up of the user's.

Prefect and the Hugging Face libraries read their environment when they are imported, so it is
set here, before any test module is.
"""

import fcntl
import os
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest

_FOREIGN = ("AZURE_", "AZUREML_", "ARM_", "MLFLOW_", "PREFECT_", "HF_", "HUGGINGFACE_")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_FOLDER = pytest.StashKey[Path]()
_KEPT = Path(__file__).parents[1] / ".local" / "tests"


def pytest_configure(config: pytest.Config) -> None:
    folder = Path(tempfile.mkdtemp(prefix="finetune-tests-"))
    config.stash[_FOLDER] = folder
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background job
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in list(os.environ):
        if name.startswith(_FOREIGN) or name.lower() in _PROXIES:
            del os.environ[name]
    os.environ.update(
        {
            "AZUREML_EMULATOR_ENDPOINTS": "at-once",
            "FINETUNE_RETRY_SECONDS": "0.2",
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
            "HF_HOME": str(folder / "huggingface"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "MPLCONFIGDIR": str(folder / "matplotlib"),
            "MPLBACKEND": "Agg",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "NO_PROXY": "localhost,127.0.0.1",
        }
    )


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_FOLDER], ignore_errors=True)


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server for the tests that ask for one, one a session; gives its API URL."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from benchmarks.prefect_server import prefect_server

    home = tmp_path_factory.mktemp("prefect-server")
    with started_once(home) as fresh, prefect_server(home) as api:
        fresh()
        with temporary_settings({PREFECT_API_URL: api}):
            yield api


@contextmanager
def started_once(home: Path) -> Iterator[Callable[[], None]]:
    """Put the database of a server that was started before below `home`, if there is one.

    Making an empty one takes a server most of its start. Gives what is to be called once the
    server answers: it keeps the database for the next one, if this is the first.
    """
    kept = _KEPT / f"prefect-{version('prefect')}.db"
    kept.parent.mkdir(parents=True, exist_ok=True)
    lock = kept.with_suffix(".lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    database = home / "prefect.db"
    if found := kept.exists():
        shutil.copyfile(kept, database)
        lock.close()

    def fresh() -> None:
        if not found:
            part = kept.with_suffix(".part")
            part.unlink(missing_ok=True)
            with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(part)) as to:
                source.backup(to)
            part.replace(kept)
            lock.close()

    try:
        yield fresh
    finally:
        lock.close()
