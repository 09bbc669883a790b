"""What a release does to an endpoint: copies of the traffic, shifts, and deletions under load."""

import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import HttpResponseError

from emulator.control_client import Control
from tests.emulator.endpoint_support import Endpoint, deployment, living_endpoint

if TYPE_CHECKING:
    from azure.ai.ml import MLClient


@pytest.fixture(scope="module")
def endpoint(ml_client: "MLClient", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("models") / "model"
    with living_endpoint(ml_client, folder, "ep-mirror", "old", "new") as endpoint:
        yield endpoint


def shares(client: "MLClient", endpoint: Endpoint, mirror: dict[str, int], **live: int) -> None:
    resource = client.online_endpoints.get(endpoint.name)
    resource.traffic, resource.mirror_traffic = live, mirror
    client.begin_create_or_update(resource).result()


def copies(control: Control) -> list[Any]:
    return [event for event in control.events(operation="Endpoint_Mirror") if event.done]


def test_a_share_of_the_live_requests_is_copied_and_its_answers_are_thrown_away(
    ml_client: "MLClient", endpoint: Endpoint, control: Control
) -> None:
    shares(ml_client, endpoint, {"new": 50}, old=100)
    assert ml_client.online_endpoints.get(endpoint.name).mirror_traffic == {"new": 50}
    answers = [endpoint.score() for _ in range(40)]
    assert {answer.json()[0] for answer in answers} == {"old"}
    deadline = time.monotonic() + 20
    while len(copies(control)) < 5 and time.monotonic() < deadline:
        time.sleep(0.1)
    # Fewer than 5 or more than 35 of 40 come by chance once in a million runs.
    assert 5 <= len(copies(control)) <= 35
    assert {event.path for event in copies(control)} == {"/new/score"}
    assert {event.status for event in copies(control)} <= {200, 429}


def test_a_request_that_names_a_deployment_is_not_copied(
    ml_client: "MLClient", endpoint: Endpoint, control: Control
) -> None:
    shares(ml_client, endpoint, {"new": 50}, old=100)
    assert {endpoint.score("old").status_code for _ in range(20)} == {200}
    assert copies(control) == []


def test_a_copy_that_fails_and_takes_long_does_the_live_requests_no_harm(
    ml_client: "MLClient", endpoint: Endpoint, control: Control
) -> None:
    shares(ml_client, endpoint, {"new": 50}, old=100)
    control.add_fault(
        "Deployment_Score", path="/ep-mirror/new/score", delay=0.6, status=500, times=None
    )
    began = time.monotonic()
    assert {endpoint.score().status_code for _ in range(12)} == {200}
    assert time.monotonic() - began < 3
    shares(ml_client, endpoint, {}, old=100)
    while (answer := endpoint.score("new")).status_code == 429:  # it has some copies to answer yet
        time.sleep(0.2)
    assert answer.status_code == 424
    assert answer.headers["ms-azureml-model-error-statuscode"] == "500"
    assert endpoint.score("old").status_code == 200


@pytest.mark.parametrize(
    ("mirror", "words"),
    [
        ({"new": 51}, "0 to 50"),
        ({"old": 10}, "gets live traffic"),
        ({"nowhere": 10}, "no such deployment"),
    ],
)
def test_impossible_copies_are_refused(
    ml_client: "MLClient", endpoint: Endpoint, mirror: dict[str, int], words: str
) -> None:
    shares(ml_client, endpoint, {}, old=100)
    with pytest.raises(HttpResponseError, match=words) as error:
        shares(ml_client, endpoint, mirror, old=100)
    assert error.value.status_code == 400
    assert not ml_client.online_endpoints.get(endpoint.name).mirror_traffic


def test_a_deployment_that_gets_copies_is_not_deleted(
    ml_client: "MLClient", endpoint: Endpoint
) -> None:
    shares(ml_client, endpoint, {"new": 10}, old=100)
    with pytest.raises(HttpResponseError, match="10 % of the endpoint's mirrored traffic"):
        ml_client.online_deployments.begin_delete("new", endpoint.name).result()


def test_a_deployment_that_is_deleted_answers_the_requests_that_it_has(
    ml_client: "MLClient", endpoint: Endpoint
) -> None:
    going = deployment(endpoint.name, "going", endpoint.model)
    ml_client.online_deployments.begin_create_or_update(going).result()
    shares(ml_client, endpoint, {}, going=100)
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(endpoint.score(sleep=1.5)))
    asking.start()
    time.sleep(0.5)
    shares(ml_client, endpoint, {}, old=100)
    deleting = ml_client.online_deployments.begin_delete("going", endpoint.name)
    time.sleep(0.2)
    assert endpoint.score("going").status_code == 404
    assert endpoint.score().json()[0] == "old"
    deleting.result()
    asking.join()
    assert answers[0].status_code == 200
    assert answers[0].json()[0] == "going"
