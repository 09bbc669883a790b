"""A pytest plugin that notes which operations the emulator's own tests make succeed.

`pytest -p tests.contract.record tests/emulator/...` adds to exercised.txt: a line for each
operation, with a test that passed and made it succeed.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from emulator.control_client import Control
from tests.contract.published import published_name
from tests.emulator.running import RunningEmulator

FILE = Path(__file__).with_name("exercised.txt")
_last: dict[Path, int] = {}


def exercised() -> dict[str, str]:
    """The operations that were noted, and the test of each, if it is still there."""
    lines = FILE.read_text().splitlines() if FILE.exists() else []
    noted = (line.split(" ", 1) for line in lines)
    return {name: test for name, test in noted if _is_there(test)}


@cache
def _is_there(test: str) -> bool:
    file, _, function = test.partition("::")
    path = Path(__file__).parents[2] / file
    return path.exists() and f"def {function}(" in path.read_text()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    yield
    for fixture in getattr(item, "funcargs", {}).values():
        if isinstance(fixture, RunningEmulator):
            _note(fixture, item.nodeid.partition("[")[0])


def _note(emulator: RunningEmulator, test: str) -> None:
    found = exercised()
    for event in Control.of(emulator.state).events(after=_last.get(emulator.state, 0)):
        _last[emulator.state] = event.sequence
        if event.status is not None and event.status < 400 and not event.fault:
            found.setdefault(published_name(event.method, event.path) or event.operation, test)
    FILE.write_text("".join(f"{name} {test}\n" for name, test in sorted(found.items())))
