"""The event log: every request by its operation, nothing secret, and quotas, reset, fixtures."""

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from emulator.control_client import Control, ControlError
from emulator.events import EventLog
from tests.emulator.running import ROOT, RunningEmulator
from tests.emulator.test_faults import cluster, link

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import Data


def uploaded(folder: Path, name: str) -> "Data":
    from azure.ai.ml.entities import Data

    (folder / "file.txt").write_text(str(folder))
    return Data(name=name, version="1", path=str(folder / "file.txt"), type="uri_file")


def test_every_host_names_its_operations(
    ml_client: "MLClient", emulator: RunningEmulator, control: Control, tmp_path: Path
) -> None:
    from azure.identity import DefaultAzureCredential

    DefaultAzureCredential().get_token("https://management.azure.com/.default")
    ml_client.data.create_or_update(uploaded(tmp_path, "uploaded"))
    hub = emulator.environment["HF_ENDPOINT"]
    requests.get(f"{hub}/api/datasets/no/thing", timeout=10)
    requests.post("https://nothing.eastus.inference.ml.azure.com/score", timeout=10)
    requests.get("https://management.azure.com/no/such/thing", timeout=10)
    events = control.events()
    assert [event.sequence for event in events] == list(
        range(events[0].sequence, events[0].sequence + len(events))
    )
    found = {(event.operation, event.kind, event.status) for event in events}
    assert found >= {
        ("Identity_Token", "read", 200),
        ("Datastores_ListSecrets", "read", 200),
        ("BlockBlob_Upload", "write", 201),
        ("DataVersions_CreateOrUpdate", "write", 201),
        ("Hub_Info", "read", 404),
        ("Endpoint_Score", "read", 404),
        ("NotSupported", "read", 401),
    }
    (write,) = control.events(operation="DataVersions_CreateOrUpdate", kind="write")
    assert write.correlation
    assert write.effect
    assert write.host == "management.azure.com"
    assert write.path.endswith("/data/uploaded/versions/1")


def test_nothing_secret_is_logged(
    ml_client: "MLClient", emulator: RunningEmulator, control: Control, tmp_path: Path
) -> None:
    ml_client.data.create_or_update(uploaded(tmp_path, "secret"))
    text = json.dumps(control.request("GET", "/events"))
    assert "BlockBlob_Upload" in text
    for secret in ("sig=", "Bearer", "SharedKey", control.config.client_secret):
        assert secret not in text


def test_events_can_be_read_on_and_deleted(ml_client: "MLClient", control: Control) -> None:
    ml_client.data.create_or_update(link("first"))
    last = control.last_event()
    ml_client.data.create_or_update(link("second"))
    later = control.events(after=last)
    assert later[0].sequence == last + 1
    assert not any("first" in event.path for event in later)
    assert {event.kind for event in control.events(kind="write")} == {"write"}
    control.clear_events()
    assert control.events() == []
    assert control.last_event() >= later[-1].sequence


def test_a_bad_query_is_refused_by_name(control: Control) -> None:
    for query, problem in (("after=x", "after"), ("kind=both", "kind"), ("last=1", "no such")):
        with pytest.raises(ControlError, match=problem) as caught:
            control.request("GET", f"/events?{query}")
        assert caught.value.status == 400


def test_the_log_is_bounded() -> None:
    log = EventLog(most=3)
    for _ in range(5):
        log.add(time=0, host="", method="GET", path="", operation="x", correlation=None)
    assert [event["sequence"] for event in log.select()] == [3, 4, 5]
    assert [event["sequence"] for event in log.select(after=1)] == [3, 4, 5]
    assert [event["sequence"] for event in log.select(after=4)] == [5]
    assert log.select(after=9) == []


def test_quotas_are_exhausted_and_given_back(ml_client: "MLClient", control: Control) -> None:
    from azure.core.exceptions import HttpResponseError

    ml_client.compute.begin_create_or_update(cluster("has-some")).result()
    control.exhaust_quota("standardDSv2*")
    (row,) = [q for q in control.quotas() if q["family"] == "standardDSv2Family"]
    assert row["limit"] == row["used"] > 0
    with pytest.raises(HttpResponseError, match="exceeding quota limits"):
        ml_client.compute.begin_create_or_update(cluster("has-none")).result()
    refused = ml_client.compute.get("has-none")
    assert refused.provisioning_errors == "ClusterCoreQuotaReached"
    control.clear_quotas()
    ml_client.compute.begin_create_or_update(cluster("has-none")).result()
    for body, problem in (({}, "limit"), ({"limit": -1}, "limit: "), ({"limits": 1}, "limits")):
        with pytest.raises(ControlError, match=problem):
            control.request("PUT", "/quotas/standardDSv2Family", body)
    with pytest.raises(ControlError, match="there is no VM family 'x'"):
        control.set_quota("x", 1)


PROJECT = """
from azure.ai.ml import MLClient
from azure.identity import DefaultAzureCredential
import os, pytest

def get():
    names = ("SUBSCRIPTION_ID", "RESOURCE_GROUP", "WORKSPACE_NAME")
    names = [os.environ["AZUREML_" + name] for name in names]
    client = MLClient(DefaultAzureCredential(), *names, enable_telemetry=False, retry_total=0)
    return client.workspaces.get(names[2])

def test_fails(azureml_control):
    azureml_control.add_fault("Workspaces_Get", status=500, times=None)
    with pytest.raises(Exception, match="Internal Server Error"):
        get()

def test_is_itself_again(azureml_control):
    assert azureml_control.faults() == []
    assert get().name == "local"
"""


def test_the_plugin_in_another_project(tmp_path: Path) -> None:
    (tmp_path / "test_project.py").write_text(PROJECT)
    options = ["-p", "no:cacheprovider", "-q", str(tmp_path)]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", str(tmp_path)],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "2 passed" in result.stdout, result.stdout + result.stderr


def test_the_plugin_is_light() -> None:
    code = (
        "import sys, emulator.testing; "
        "print([m for m in ('uvicorn', 'starlette', 'pydantic', 'jwt') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stderr
