"""Faults, seen with the real SDK: what it is told, and whether the effect took place."""

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import requests
from azure.core.exceptions import (
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
    IncompleteReadError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)

from emulator.control_client import Control
from emulator.exchange import merged
from tests.emulator.running import RunningEmulator

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import AmlCompute, Data

PUT_DATA = "DataVersions_CreateOrUpdate"
NO_ANSWER = (ServiceRequestError, ServiceResponseError)
"""The first is what urllib3 makes of it through a proxy, the second without one."""
PUT_COMPUTE = "Compute_CreateOrUpdate"


def cluster(name: str) -> "AmlCompute":
    from azure.ai.ml.entities import AmlCompute

    return AmlCompute(name=name, size="Standard_DS3_v2", max_instances=1)


def link(name: str) -> "Data":
    """A data asset that needs no upload: one request makes it."""
    from azure.ai.ml.entities import Data

    return Data(name=name, version="1", path="https://example.com/x", type="uri_file")


def exists(client: "MLClient", name: str) -> bool:
    try:
        client.data.get(name, version="1")
    except ResourceNotFoundError:
        return False
    return True


def impatient(emulator: RunningEmulator) -> "MLClient":
    """A client that does not repeat what fails."""
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    return MLClient(
        DefaultAzureCredential(),
        emulator.environment["AZUREML_SUBSCRIPTION_ID"],
        emulator.environment["AZUREML_RESOURCE_GROUP"],
        emulator.environment["AZUREML_WORKSPACE_NAME"],
        enable_telemetry=False,
        retry_total=0,
    )


@pytest.fixture(scope="module")
def client(emulator: RunningEmulator) -> "MLClient":
    once = impatient(emulator)
    once.data.create_or_update(link("warm"))
    return once


def test_a_status_is_answered_and_nothing_happens(client: "MLClient", control: Control) -> None:
    options = {"code": "QuotaExceeded", "message": "no more data today"}
    with control.fault(PUT_DATA, status=403, **options) as fault:
        with pytest.raises(HttpResponseError, match="no more data today") as caught:
            client.data.create_or_update(link("refused"))
        assert caught.value.status_code == 403
        assert "(QuotaExceeded)" in str(caught.value)
        assert not exists(client, "refused")
        client.data.create_or_update(link("refused"))
        assert fault.refresh().fired == 1
        assert fault.matched == 2
    assert exists(client, "refused")
    first, second = control.events(operation=PUT_DATA)
    assert (first.status, first.effect) == (403, False)
    assert (first.fault, first.action) == (fault.id, "status")
    assert (second.status, second.effect, second.fault) == (201, True, None)


def test_the_sdk_waits_as_retry_after_tells_it(ml_client: "MLClient", control: Control) -> None:
    with control.fault(PUT_DATA, status=429, times=2, headers={"Retry-After": "1"}) as fault:
        began = time.monotonic()
        ml_client.data.create_or_update(link("throttled"))
        assert 2 <= time.monotonic() - began < 10
        assert fault.refresh().fired == 2
    assert [event.status for event in control.events(operation=PUT_DATA)] == [429, 429, 201]


def test_a_status_for_ever_ends_with_the_fault(client: "MLClient", control: Control) -> None:
    with control.fault("Data*", status=503, times=None) as fault:
        for _ in range(3):
            with pytest.raises(HttpResponseError):
                client.data.get("warm", version="1")
        assert fault.refresh().fired == 3
    assert exists(client, "warm")


def test_a_status_can_hide_an_effect(client: "MLClient", control: Control) -> None:
    with (
        control.fault(PUT_DATA, status=500, effect=True),
        pytest.raises(HttpResponseError, match="Internal Server Error"),
    ):
        client.data.create_or_update(link("hidden"))
    assert exists(client, "hidden")
    (event,) = control.events(operation=PUT_DATA)
    assert (event.status, event.effect) == (500, True)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_reset_before_or_after_the_effect(
    client: "MLClient", control: Control, when: str
) -> None:
    name = f"reset-{when}"
    with (
        control.fault(PUT_DATA, reset=when),
        pytest.raises(
            NO_ANSWER, match=r"closed connection without response|reset by peer|EOF occurred"
        ),
    ):
        client.data.create_or_update(link(name))
    assert exists(client, name) is (when == "after")
    (event,) = control.events(operation=PUT_DATA)
    assert (event.status, event.effect) == (None, when == "after")
    assert event.done


def test_the_sdk_repeats_a_put_whose_answer_was_lost(
    ml_client: "MLClient", control: Control
) -> None:
    with control.fault(PUT_DATA, reset="after"):
        ml_client.data.create_or_update(link("repeated"))
    events = control.events(operation=PUT_DATA)
    assert [(event.status, event.effect) for event in events] == [(None, True), (200, True)]


def test_a_broken_body(client: "MLClient", control: Control) -> None:
    with control.fault(PUT_DATA, body="broken"), pytest.raises(DecodeError):
        client.data.create_or_update(link("broken"))
    assert exists(client, "broken")
    (event,) = control.events(operation=PUT_DATA)
    assert (event.status, event.effect, event.action) == (201, True, "body:broken")


def test_a_body_that_is_cut(client: "MLClient", control: Control) -> None:
    with control.fault(PUT_DATA, body="cut"), pytest.raises(IncompleteReadError):
        client.data.create_or_update(link("cut"))
    assert exists(client, "cut")


def test_an_empty_answer_is_broken_too(client: "MLClient", control: Control) -> None:
    client.compute.begin_create_or_update(cluster("broken-delete")).result()
    with control.fault("Compute_Delete", body="broken") as fault:
        client.compute.begin_delete("broken-delete").result()
        assert fault.refresh().fired == 1


def test_another_answer(client: "MLClient", control: Control) -> None:
    patch = {"properties": {"description": "of a fault", "tags": None, "isArchived": True}}
    with control.fault("DataVersions_Get", merge=patch):
        other = client.data.get("warm", version="1")
    assert other.description == "of a fault"
    assert client.data.get("warm", version="1").description != "of a fault"


def test_a_patch_removes_merges_and_replaces() -> None:
    content = {"a": {"b": 1, "c": 2}, "d": [1], "e": "text"}
    assert merged(content, {"a": {"b": None, "f": 3}, "d": [2], "e": {"g": 1}}) == {
        "a": {"c": 2, "f": 3},
        "d": [2],
        "e": {"g": 1},
    }
    assert content["a"] == {"b": 1, "c": 2}


def test_a_delay(client: "MLClient", control: Control) -> None:
    with control.fault("DataVersions_Get", delay=1.2):
        began = time.monotonic()
        assert exists(client, "warm")
        assert time.monotonic() - began >= 1.2
    with control.fault("DataVersions_Get", delay=0.3, status=404):
        assert not exists(client, "warm")


def test_an_operation_that_fails(client: "MLClient", control: Control) -> None:
    result = {"status": "Failed", "code": "AllocationFailed", "message": "no capacity in eastus"}
    with (
        control.fault(PUT_COMPUTE, operation_result=result),
        pytest.raises(HttpResponseError, match="no capacity in eastus"),
    ):
        client.compute.begin_create_or_update(cluster("lro-fails")).result()
    failed = client.compute.get("lro-fails")
    assert failed.provisioning_state == "Failed"
    assert failed.provisioning_errors == "AllocationFailed"
    repeated = client.compute.begin_create_or_update(cluster("lro-fails")).result()
    assert repeated.provisioning_state == "Succeeded"


def test_an_operation_that_never_ends_until_the_fault_does(
    client: "MLClient", control: Control
) -> None:
    with control.fault(PUT_COMPUTE, operation_result="never") as fault:
        poller = client.compute.begin_create_or_update(cluster("lro-never"))
        poller.wait(1)
        assert not poller.done()
        assert client.compute.get("lro-never").provisioning_state == "Creating"
        assert fault.refresh().waiting == 1
    assert poller.result().provisioning_state == "Succeeded"


def test_a_token_that_has_expired_is_refused_as_azure_does(
    client: "MLClient", control: Control
) -> None:
    with (
        control.fault(PUT_DATA, token="expired"),
        pytest.raises(ClientAuthenticationError, match="access token expiry has passed"),
    ):
        client.data.create_or_update(link("expired"))
    assert not exists(client, "expired")


def test_the_sdk_answers_a_claims_challenge_with_a_new_token(
    client: "MLClient", control: Control
) -> None:
    with control.fault(PUT_DATA, token="revoked"):
        client.data.create_or_update(link("revoked"))
    writes = control.events(operation=PUT_DATA)
    assert [event.status for event in writes] == [401, 201]
    (token,) = control.events(operation="Identity_Token")
    assert writes[0].sequence < token.sequence < writes[1].sequence


@pytest.mark.parametrize(("token", "status"), [("expired", 401), (1, 401), (600, 200)])
def test_a_new_token_can_be_old(
    emulator: RunningEmulator, control: Control, token: str | int, status: int
) -> None:
    from azure.identity import DefaultAzureCredential

    with control.fault("Identity_Token", token=token):
        issued = DefaultAzureCredential().get_token("https://management.azure.com/.default")
    time.sleep(1 if token == 1 else 0)
    answer = requests.get(
        f"https://management.azure.com{Control.of(emulator.state).config.workspace_path}",
        headers={"Authorization": f"Bearer {issued.token}"},
        params={"api-version": "2024-10-01"},
        timeout=10,
    )
    assert answer.status_code == status


MAKE_DATA = """
import os, sys
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Data
from azure.identity import DefaultAzureCredential
ml = MLClient(DefaultAzureCredential(), *[os.environ["AZUREML_" + n] for n in
    ("SUBSCRIPTION_ID", "RESOURCE_GROUP", "WORKSPACE_NAME")], enable_telemetry=False)
ml.data.create_or_update(Data(name=sys.argv[1], version="1", path="https://example.com/x",
    type="uri_file"))
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_client_is_killed_just_before_or_just_after_the_effect(
    client: "MLClient", control: Control, when: str
) -> None:
    name = f"killed-{when}"
    with control.fault(PUT_DATA, hold=when) as fault:
        process = subprocess.Popen([sys.executable, "-c", MAKE_DATA, name])
        fault.wait_until_held(timeout=60)
        assert exists(client, name) is (when == "after")
        process.kill()
        process.wait()
        until_done(control)
    assert exists(client, name) is (when == "after")
    (event,) = control.events(operation=PUT_DATA)
    assert (event.status, event.effect) == (None, when == "after")


def until_done(control: Control) -> None:
    deadline = time.monotonic() + 10
    while not all(event.done for event in control.events(operation=PUT_DATA)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_held_request_goes_on_when_it_is_released(
    client: "MLClient", control: Control, when: str
) -> None:
    name = f"released-{when}"
    with control.fault(PUT_DATA, hold=when) as fault:
        process = subprocess.Popen([sys.executable, "-c", MAKE_DATA, name])
        fault.wait_until_held(timeout=60)
        assert fault.release() == 1
        assert process.wait(timeout=30) == 0
    assert exists(client, name)


def test_the_fault_that_is_taken_away_releases(client: "MLClient", control: Control) -> None:
    fault = control.add_fault(PUT_DATA, hold="before")
    process = subprocess.Popen([sys.executable, "-c", MAKE_DATA, "freed"])
    fault.wait_until_held(timeout=60)
    control.clear_faults()
    assert process.wait(timeout=30) == 0
    assert exists(client, "freed")
