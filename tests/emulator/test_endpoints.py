"""Online endpoints behind keys and traffic, as the SDK and plain HTTP see them."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from azure.core.exceptions import HttpResponseError

from tests.emulator.endpoint_support import (
    Endpoint,
    ResourceManager,
    deployment,
    living_endpoint,
    route,
)
from tests.emulator.running import RunningEmulator

if TYPE_CHECKING:
    from azure.ai.ml import MLClient


@pytest.fixture(scope="module")
def endpoint(ml_client: "MLClient", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("models") / "model"
    with living_endpoint(ml_client, folder, "ep-traffic", "one", "two") as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def manager(emulator: RunningEmulator) -> ResourceManager:
    return ResourceManager(emulator)


def test_an_endpoint_has_an_address_and_two_keys(ml_client: "MLClient", endpoint: Endpoint) -> None:
    resource = ml_client.online_endpoints.get(endpoint.name)
    keys = ml_client.online_endpoints.get_keys(endpoint.name)
    assert resource.scoring_uri == f"https://{endpoint.name}.eastus.inference.ml.azure.com/score"
    assert resource.provisioning_state == "Succeeded"
    assert keys.primary_key != keys.secondary_key
    assert endpoint.name in [e.name for e in ml_client.online_endpoints.list()]
    names = [d.name for d in ml_client.online_deployments.list(endpoint.name)]
    assert names == ["one", "two"]


def test_the_sdk_asks_the_deployment_that_it_names(
    ml_client: "MLClient", endpoint: Endpoint, tmp_path: Path
) -> None:
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"input_data": [{"x": 1}]}))
    answer = ml_client.online_endpoints.invoke(
        endpoint.name, request_file=str(request), deployment_name="two"
    )
    assert json.loads(answer)[0] == "two"


def test_a_request_needs_a_key(endpoint: Endpoint) -> None:
    refused = endpoint.score("one", key="wrong")
    assert refused.status_code == 401
    assert "key_auth_access_denied" in refused.text


def test_without_traffic_only_a_named_deployment_answers(
    endpoint: Endpoint, ml_client: "MLClient"
) -> None:
    route(ml_client, endpoint.name, {"one": 0, "two": 0})
    assert endpoint.score().status_code == 404
    answer = endpoint.score("one")
    assert answer.json()[0] == "one"
    assert answer.headers["azureml-model-deployment"] == "one"
    assert answer.headers["x-request-id"]
    assert endpoint.score("three").status_code == 404


def test_traffic_is_split(endpoint: Endpoint, ml_client: "MLClient") -> None:
    route(ml_client, endpoint.name, {"one": 100, "two": 0})
    assert Counter(endpoint.score().json()[0] for _ in range(10)) == {"one": 10}
    route(ml_client, endpoint.name, {"one": 50, "two": 50})
    # Either is missed by chance once in 5e8 runs.
    assert set(Counter(endpoint.score().json()[0] for _ in range(30))) == {"one", "two"}


@pytest.mark.parametrize("traffic", [{"nowhere": 100}, {"one": 60}, {"one": 101, "two": -1}])
def test_impossible_traffic_is_refused(
    ml_client: "MLClient", endpoint: Endpoint, traffic: dict[str, int]
) -> None:
    before = ml_client.online_endpoints.get(endpoint.name).traffic
    with pytest.raises(HttpResponseError) as error:
        route(ml_client, endpoint.name, traffic)
    assert error.value.status_code == 400
    assert ml_client.online_endpoints.get(endpoint.name).traffic == before


def test_an_error_of_the_model_is_told_apart(endpoint: Endpoint) -> None:
    answer = endpoint.score("one", fail=True)
    assert answer.status_code == 424
    assert answer.headers["ms-azureml-model-error-statuscode"] == "500"
    assert answer.headers["ms-azureml-model-error-reason"] == "model_error"
    assert "the model cannot do this" in answer.text


def test_a_deployment_answers_as_many_requests_at_a_time_as_it_says(
    endpoint: Endpoint,
) -> None:
    slow = threading.Thread(target=endpoint.score, args=("one",), kwargs={"sleep": 2})
    slow.start()
    time.sleep(0.5)
    busy = endpoint.score("one")
    slow.join()
    assert busy.status_code == 429
    assert endpoint.score("one").status_code == 200


def test_a_slow_answer_times_out_and_settings_change_without_a_new_process(
    endpoint: Endpoint, ml_client: "MLClient"
) -> None:
    process = endpoint.score("two").json()[1]
    ml_client.online_deployments.begin_create_or_update(
        deployment(endpoint.name, "two", endpoint.model, request_seconds=1)
    ).result()
    assert endpoint.score("two").json()[1] == process
    answer = endpoint.score("two", sleep=2)
    assert answer.status_code == 408
    assert "1 seconds" in answer.json()["error"]["message"]


@pytest.mark.parametrize("name", ["ab", "1abc", "a" * 33, "under_score", "ends-"])
def test_an_endpoint_name_must_be_a_host_name(manager: ResourceManager, name: str) -> None:
    answer = manager.send("PUT", f"/onlineEndpoints/{name}", {"properties": {"authMode": "Key"}})
    assert answer.status_code == 400
    assert "3 to 32" in answer.json()["error"]["message"]


def test_a_new_key_replaces_the_old(endpoint: Endpoint, ml_client: "MLClient") -> None:
    old = ml_client.online_endpoints.get_keys(endpoint.name)
    ml_client.online_endpoints.begin_regenerate_keys(endpoint.name, key_type="primary").result()
    new = ml_client.online_endpoints.get_keys(endpoint.name)
    assert endpoint.score("one", key=old.primary_key).status_code == 401
    assert endpoint.score("one", key=new.primary_key).status_code == 200
    assert endpoint.score("one", key=old.secondary_key).status_code == 200
