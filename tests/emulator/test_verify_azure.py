"""`make verify-azure` with a workspace that it cannot tell from one of the real service."""

import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from emulator.control_client import Control
from tests.emulator.running import ROOT, RunningEmulator, StartedEmulator

_LISTS = (
    *("computes", "jobs", "data", "models", "environments", "components", "codes"),
    *("onlineEndpoints", "schedules", "datastores"),
)


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEmulator]:
    """A service with a workspace that somebody uses."""
    with StartedEmulator(tmp_path_factory.mktemp("azure")) as running:
        yield running


def _verify(azure: RunningEmulator, *arguments: str) -> "subprocess.Popen[str]":
    names = ("AZURE", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")
    leading = (*names, "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
    environment = {k: v for k, v in azure.environment.items() if k.startswith(leading)}
    environment.pop("AZUREML_EMULATOR_STATE", None)
    options = ("-q", "-p", "no:xdist", "-p", "no:cacheprovider", "-W", "ignore")
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "tests/contract", *options, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment, "VERIFY_AZURE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _content(azure: RunningEmulator) -> set[str]:
    """All that the workspace holds: resources by their ids, files, experiments."""
    names = azure.environment
    base = (
        f"https://management.azure.com/subscriptions/{names['AZUREML_SUBSCRIPTION_ID']}"
        f"/resourceGroups/{names['AZUREML_RESOURCE_GROUP']}/providers"
        f"/Microsoft.MachineLearningServices/workspaces/{names['AZUREML_WORKSPACE_NAME']}"
    )
    blobs = azure.state / "blobs"
    containers = (c for c in blobs.iterdir() if c.name != "azureml-registry")  # the registry's own
    files = (file for container in containers for file in container.rglob("*") if file.is_file())
    found = {str(file.relative_to(blobs)) for file in files}
    with closing(_client(azure)) as client:
        for kind in _LISTS:
            answer = client.get(f"{base}/{kind}", params={"listViewType": "All"})
            answer.raise_for_status()
            found |= {item["id"] for item in answer.json()["value"]}
        tracking = client.get(base).json()["properties"]["mlFlowTrackingUri"]
        tracking = tracking.replace("azureml://", "https://").replace("/v1.0/", "/v2.0/")
        answer = client.post(
            f"{tracking}/api/2.0/mlflow/experiments/search",
            json={"max_results": 100, "view_type": "ACTIVE_ONLY"},
        )
        found |= {each["name"] for each in answer.json()["experiments"]}
    return found


def _client(azure: RunningEmulator) -> httpx.Client:
    names = azure.environment
    client = httpx.Client(
        proxy=names["HTTPS_PROXY"],
        verify=names["SSL_CERT_FILE"],
        params={"api-version": "2024-10-01-preview"},
        timeout=60,
    )
    answer = client.post(
        f"https://login.microsoftonline.com/{names['AZURE_TENANT_ID']}/oauth2/v2.0/token",
        data={
            "grant_type": "client_credentials",
            "client_id": names["AZURE_CLIENT_ID"],
            "client_secret": names["AZURE_CLIENT_SECRET"],
            "scope": "https://management.azure.com/.default",
        },
    )
    client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return client


def _writes(azure: RunningEmulator) -> list[str]:
    return [event.operation for event in Control.of(azure.state).events(kind="write")]


def test_nothing_is_created_without_a_yes(azure: RunningEmulator) -> None:
    before = _writes(azure)
    output, _ = _verify(azure).communicate("no\n", timeout=60)
    assert f"tests will use the workspace {azure.environment['AZUREML_WORKSPACE_NAME']}" in output
    assert "one cluster of 0 to 1 Standard_DS3_v2" in output
    assert "one online endpoint" in output
    assert "Create this? [y/N]" in output
    assert "Nothing was created." in output
    assert _writes(azure) == before


def test_the_plan_names_what_the_chosen_tests_cost(azure: RunningEmulator) -> None:
    process = _verify(azure, "-m", "not expensive", "-k", "test_datastores or test_workspace")
    output, _ = process.communicate("", timeout=60)
    assert "datastores" in output
    assert "cluster" not in output
    assert "online endpoint" not in output


def test_all_passes_and_nothing_is_left(azure: RunningEmulator, tmp_path: Path) -> None:
    before = _content(azure)
    report = tmp_path / "report.xml"
    process = _verify(azure, f"--junitxml={report}")
    output, _ = process.communicate("yes\n", timeout=300)
    print(output)
    failed = {
        f"{case.attrib['classname'].rpartition('.')[2]}.py::{case.attrib['name']}"
        for case in ET.parse(report).iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    }
    assert not failed
    assert "Jobs_CreateOrUpdate" in _writes(azure)
    assert _content(azure) == before


def test_an_interrupted_run_removes_what_it_created(azure: RunningEmulator) -> None:
    before = _content(azure)
    control = Control.of(azure.state)
    last = control.last_event()
    process = _verify(azure, "--yes", "-k", "test_data or test_models")
    deadline = time.monotonic() + 60
    while not control.events(after=last, operation="DataVersions_CreateOrUpdate"):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in output
    assert _content(azure) == before
