"""Which requests a fault meets, how often, and what a wrong one is told."""

from typing import TYPE_CHECKING

import pytest
import requests
from azure.core.exceptions import HttpResponseError

from emulator.control_client import Control, ControlError
from tests.emulator.running import RunningEmulator
from tests.emulator.test_faults import exists, impatient, link

if TYPE_CHECKING:
    from azure.ai.ml import MLClient


@pytest.fixture(scope="module")
def client(emulator: RunningEmulator) -> "MLClient":
    once = impatient(emulator)
    once.data.create_or_update(link("warm"))
    return once


def test_after_and_times_count_the_requests_that_match(
    client: "MLClient", control: Control
) -> None:
    with control.fault("DataVersions_Get", status=404, after=1, times=2, path="*/data/warm/*"):
        exists(client, "another")
        assert [exists(client, "warm") for _ in range(4)] == [True, False, False, True]


def test_probability_is_seeded(client: "MLClient", control: Control) -> None:
    def run(seed: int) -> list[bool]:
        options = {"times": None, "probability": 0.5, "seed": seed}
        with control.fault("DataVersions_Get", status=404, **options):
            return [exists(client, "warm") for _ in range(20)]

    first = run(1)
    assert 3 < sum(first) < 17
    assert run(1) == first
    assert run(2) != first


def test_of_two_faults_the_first_that_can_happens(client: "MLClient", control: Control) -> None:
    with (
        control.fault("DataVersions_Get", status=403, method="get") as first,
        control.fault("*", host="management.azure.com", status=404) as second,
    ):
        with pytest.raises(HttpResponseError, match="Forbidden"):
            client.data.get("warm", version="1")
        assert not exists(client, "warm")
        assert exists(client, "warm")
        assert (first.refresh().fired, second.refresh().fired) == (1, 1)


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"operation": "*"}, "action: Field required"),
        ({"action": {}}, "action: give one of status, reset"),
        ({"action": {"status": 200}}, "action.status: Input should be greater than or equal"),
        ({"action": {"status": 500, "reset": "after"}}, "given: status, reset"),
        ({"action": {"reset": "during"}}, "action.reset: Input should be 'before' or 'after'"),
        ({"action": {"reset": "after", "code": "x"}}, "code belong to status"),
        ({"action": {"delay": -1}}, "action.delay"),
        ({"action": {"dealy": 1}}, "action.dealy: there is no such field"),
        ({"times": 0, "action": {"delay": 1}}, "times: Input should be greater"),
        ({"times": "2", "action": {"delay": 1}}, "times: Input should be a valid integer"),
        ({"probability": 2, "action": {"delay": 1}}, "probability"),
        ({"action": {"token": 60}}, "needs the operation Identity_Token"),
        ({"hosts": "x", "action": {"delay": 1}}, "hosts: there is no such field"),
    ],
)
def test_a_bad_fault_is_refused_by_the_name_of_the_field(
    control: Control, rule: dict[str, object], problem: str
) -> None:
    with pytest.raises(ControlError, match="refused") as caught:
        control.request("POST", "/faults", rule)
    assert caught.value.status == 400
    assert problem in str(caught.value)
    assert control.faults() == []


def test_a_fault_that_is_not_there(control: Control) -> None:
    for method, path in (("GET", "/faults/7000"), ("POST", "/faults/7000/release")):
        with pytest.raises(ControlError, match="There is no fault 7000") as caught:
            control.request(method, path)
        assert caught.value.status == 404
    with control.fault(status=500) as fault, pytest.raises(ControlError, match="holds nothing"):
        fault.release()


def test_the_control_api_is_for_who_has_the_key(emulator: RunningEmulator) -> None:
    from azure.identity import DefaultAzureCredential

    token = DefaultAzureCredential().get_token("https://management.azure.com/.default").token
    for headers in ({}, {"Authorization": f"Bearer {token}"}):
        answer = requests.post(
            "https://azureml-emulator.test/faults", json={}, headers=headers, timeout=10
        )
        assert answer.status_code == 401
