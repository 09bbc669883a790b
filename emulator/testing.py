"""A pytest plugin: a local Azure ML for a test session, and control over it.

With the package installed the fixtures are there; else `-p emulator.testing`, or
`pytest_plugins = ["emulator.testing"]` in the topmost conftest.py.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

    from emulator.control_client import Control


@dataclass(frozen=True)
class LocalAzureML:
    """An emulator that runs for a state folder, and the environment that leads clients to it."""

    state: Path
    environment: dict[str, str]


@pytest.fixture(scope="session")
def azureml_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAzureML]:
    """One emulator for the session. Its environment is set for the tests' own process."""
    from emulator.cli import running_emulator
    from emulator.compute.unwatched import AT_ONCE, SWITCH

    previous = dict(os.environ)
    os.environ[SWITCH] = AT_ONCE
    try:
        with running_emulator(tmp_path_factory.mktemp("azureml")) as config:
            environment = config.client_environment()
            os.environ.update(environment)
            yield LocalAzureML(config.state, environment)
    finally:
        os.environ.clear()
        os.environ.update(previous)


@pytest.fixture(scope="session")
def azureml_client(azureml_emulator: LocalAzureML) -> "MLClient":
    """The unmodified SDK's client for the emulator's workspace."""
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    variables = azureml_emulator.environment
    return MLClient(
        DefaultAzureCredential(),
        variables["AZUREML_SUBSCRIPTION_ID"],
        variables["AZUREML_RESOURCE_GROUP"],
        variables["AZUREML_WORKSPACE_NAME"],
        enable_telemetry=False,
    )


@pytest.fixture
def azureml_workspace(azureml_client: "MLClient", azureml_control: "Control") -> "MLClient":
    """The client of a workspace that is empty: what earlier tests left is gone."""
    azureml_control.reset()
    return azureml_client


@pytest.fixture
def azureml_control(azureml_emulator: LocalAzureML) -> Iterator["Control"]:
    """Faults, events, transitions, clock and quotas; all as they were when the test ends."""
    from emulator.control_client import Control

    control = Control.of(azureml_emulator.state)
    try:
        yield control
    finally:
        control.clear()
