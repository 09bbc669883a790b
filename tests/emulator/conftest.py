"""A real emulator process behind real sockets, and the real SDK's clients for it."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from emulator.control_client import Control
from tests.emulator.running import RunningEmulator, StartedEmulator

if TYPE_CHECKING:
    from azure.ai.ml import MLClient


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEmulator]:
    """One emulator for the whole session; its environment is set for the tests' own process."""
    with StartedEmulator(tmp_path_factory.mktemp("emulator")) as running:
        previous = dict(os.environ)
        os.environ.update(running.environment)
        yield running
        os.environ.clear()
        os.environ.update(previous)


@pytest.fixture
def control(emulator: RunningEmulator) -> Iterator[Control]:
    """The emulator's control API; all that a test sets through it is taken back."""
    control = Control.of(emulator.state)
    control.clear_events()
    yield control
    control.clear()


@pytest.fixture(scope="session")
def ml_client(emulator: RunningEmulator) -> "MLClient":
    return client_for(emulator)


def client_for(emulator: RunningEmulator) -> "MLClient":
    """The SDK's client for an emulator's workspace; the environment must lead to it."""
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    return MLClient(
        DefaultAzureCredential(),
        emulator.environment["AZUREML_SUBSCRIPTION_ID"],
        emulator.environment["AZUREML_RESOURCE_GROUP"],
        emulator.environment["AZUREML_WORKSPACE_NAME"],
        enable_telemetry=False,
    )


@pytest.fixture(scope="session")
def registry_client(emulator: RunningEmulator) -> "MLClient":
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    return MLClient(DefaultAzureCredential(), registry_name="azureml", enable_telemetry=False)
