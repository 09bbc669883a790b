"""The store: what is read is what was written last, from memory or not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.store import Store

WORKSPACE = "/subscriptions/s/workspaces/w"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store.sqlite")
    yield store
    store.close()


def test_a_resource_is_as_it_was_written_last(store: Store) -> None:
    path = f"{WORKSPACE}/jobs/One"
    for state in ("Running", "Completed"):
        store.put(path, {"status": state})
        for written in (path, path.upper(), path.replace("One", "%6Fne")):
            assert store.get(written) == {"status": state}
    store.delete(WORKSPACE)
    assert store.get(path) is None
    store.put(path, {"status": "Running"})
    assert store.text(path) == '{"status":"Running"}'
    store.clear()
    assert store.text(path) is None


def test_what_is_read_is_a_copy(store: Store) -> None:
    store.put(WORKSPACE, {"tags": {}})
    for _ in range(2):
        resource = store.get(WORKSPACE)
        assert resource == {"tags": {}}
        resource["tags"]["a"] = "b"


def test_large_and_many_resources_are_read_too(store: Store) -> None:
    large = {"text": "ü" * 20_000}
    store.put(f"{WORKSPACE}/data/large", {})
    store.put(f"{WORKSPACE}/data/large", large)
    for number in range(1500):
        store.put(f"{WORKSPACE}/data/d{number}", {"number": number})
    assert store.get(f"{WORKSPACE}/data/large") == large
    assert [store.get(f"{WORKSPACE}/data/d{n}") for n in (0, 1499)] == [
        {"number": 0},
        {"number": 1499},
    ]
