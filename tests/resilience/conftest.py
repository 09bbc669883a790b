"""One failing cloud for every test file."""

from collections.abc import Iterator

import pytest

from benchmarks.rig import Rig, rig


@pytest.fixture(scope="module")
def cloud(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """An emulator, a home folder and a fleet of runs for the tests of one file."""
    with rig(tmp_path_factory.mktemp("cloud"), prefect_server) as made:
        yield made


@pytest.fixture(autouse=True)
def clear(cloud: Rig) -> Iterator[None]:
    """Every test begins without faults."""
    yield
    cloud.control.clear_faults()
    cloud.control.clear_transitions()
