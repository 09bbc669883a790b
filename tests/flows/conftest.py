"""A local Azure that can be made to fail, for the command as a user gives it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.control_client import Control
from tests.azure import local_azure
from tests.flows.bad_input_support import User
from tests.flows.cloud_support import Cloud
from tests.flows.retrain_support import Retraining, retraining_in


@pytest.fixture(scope="session")
def cloud_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all cases: the data are prepared once."""
    return tmp_path_factory.mktemp("cloud-home")


@pytest.fixture
def cloud(
    prefect_server: str,
    cloud_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Cloud]:
    """A user of a cloud that does what the test tells it to, and is well again afterwards."""
    from tasks.clients import forget_clients

    azure = local_azure()
    for name, value in azure.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FINETUNE_HOME", str(cloud_home))
    control = Control.of(azure.state)
    control.clear()
    yield Cloud(User(cloud_home, capsys), control)
    control.clear()
    forget_clients()


@pytest.fixture(scope="module")
def retraining(
    prefect_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Retraining]:
    """Retrains against a workspace of the module's own."""
    with retraining_in(tmp_path_factory.mktemp("home")) as made:
        yield made
