"""Prefect's own data base may be PostgreSQL: named by a variable, as docs/operations.md says."""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.register import ROOT
from deployments.surroundings import free_port
from tests.deployments.server_support import PrefectServer

USER = "finetune"


def program(name: str) -> str | None:
    """The path of one of PostgreSQL's programs: Debian keeps them out of PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(debian[-1]) if debian else None)


def unprivileged() -> dict[str, Any]:
    """How to start a process that is not root's: PostgreSQL refuses to be."""
    if os.getuid() != 0:
        return {}
    try:
        account = pwd.getpwnam("postgres")
    except KeyError:
        account = pwd.getpwnam("nobody")
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


@pytest.fixture
def postgresql() -> Iterator[str]:
    """A data base in a folder of its own; gives the address that Prefect takes."""
    initdb, postgres = program("initdb"), program("postgres")
    if initdb is None or postgres is None:
        pytest.skip("PostgreSQL's initdb and postgres are not on this machine")
    who, port = unprivileged(), free_port(0)
    # Below /tmp: pytest's own folders are closed to others, and a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    if who:
        os.chown(folder, who["user"], who["group"])
    log, process = folder / "log", None
    try:
        command = [initdb, "-D", "data", "-U", USER, "--auth=trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, **who)
        command = [postgres, "-D", "data", "-h", "127.0.0.1", "-p", str(port), "-k", str(folder)]
        with log.open("wb") as output:
            process = subprocess.Popen(command, cwd=folder, stderr=output, **who)
        deadline = time.monotonic() + 30
        while "ready to accept connections" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield f"postgresql+asyncpg://{USER}@127.0.0.1:{port}/postgres"
    finally:
        if process is not None:
            process.terminate()
            process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


@flow
def add(first: int, second: int) -> int:
    """A run, to be found again."""
    return first + second


def test_everything_is_kept_in_postgresql(postgresql: str, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    variable = re.search(r"export (PREFECT_\w+)=postgresql\+asyncpg:", text)
    assert variable, "docs/operations.md does not say how"
    server = PrefectServer(tmp_path, {variable[1]: postgresql})
    try:
        server.start()
        done = server.python("deployments.register")
        assert done.returncode == 0, done.stdout
        with temporary_settings({PREFECT_API_URL: server.api_url}):
            assert add(1, 2) == 3
        before = server.identifiers()
        server.stop()
        server.start()
        assert server.identifiers() == before
        (run,) = server.ask("/flow_runs/filter", {"flows": {"name": {"any_": ["add"]}}})
    finally:
        server.stop()
    assert (run["state_type"], run["parameters"]) == ("COMPLETED", {"first": 1, "second": 2})
    assert any("deployments" in written for written in before.values())
    assert any("automations" in written for written in before.values())
    assert not list(server.home.glob("*.db")), "there is a SQLite file as well"
