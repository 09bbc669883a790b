"""An online endpoint with one deployment of one's own code."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.contract.created import Created
from tests.contract.plan import ENDPOINT_SIZE, SERVING_IMAGE
from tests.contract.service import Service

_SCORE = """
import json, os
def init():
    global words, files
    folder = os.environ["AZUREML_MODEL_DIR"]
    words = open(os.path.join(folder, os.environ["MODEL"], "weights.txt")).read()
    files = [name for _, _, names in os.walk(folder) for name in names]
    print("loaded", words)
def run(raw):
    return {"words": words, "sum": sum(json.loads(raw)["numbers"]), "files": files}
"""


@pytest.fixture(scope="module")
def endpoint(client: Any, created: Created) -> str:
    """The name of an endpoint without deployments."""
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    name = created.name("ep")
    endpoint = ManagedOnlineEndpoint(name=name, auth_mode="key", tags=created.tags)
    client.online_endpoints.begin_create_or_update(endpoint).result()
    return name


@pytest.fixture(scope="module")
def deployed(
    client: Any,
    created: Created,
    endpoint: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """The endpoint with a deployment that has all the traffic."""
    from azure.ai.ml.entities import (
        CodeConfiguration,
        Environment,
        ManagedOnlineDeployment,
        Model,
    )

    folder = tmp_path_factory.mktemp("endpoint")
    model, code = folder / f"{created.prefix}-served", folder / f"{created.prefix}-score"
    for each in (model, code):
        each.mkdir()
    (model / "weights.txt").write_text(created.prefix)
    (code / "score.py").write_text(f"# {created.prefix}{_SCORE}")
    deployment = ManagedOnlineDeployment(
        name="blue",
        endpoint_name=endpoint,
        model=Model(name=created.name("served"), version="1", path=str(model), tags=created.tags),
        code_configuration=CodeConfiguration(code=str(code), scoring_script="score.py"),
        environment=Environment(
            name=created.name("env"), version="1", image=SERVING_IMAGE, tags=created.tags
        ),
        environment_variables={"MODEL": model.name},
        instance_type=ENDPOINT_SIZE,
        instance_count=1,
    )
    client.online_deployments.begin_create_or_update(deployment).result()
    found = client.online_endpoints.get(endpoint)
    found.traffic = {"blue": 100}
    client.online_endpoints.begin_create_or_update(found).result()
    return endpoint


def _ask(client: Any, name: str, folder: Path) -> Any:
    request = folder / "request.json"
    request.write_text(json.dumps({"numbers": [1, 2, 3]}))
    answer: Any = json.loads(client.online_endpoints.invoke(name, request_file=str(request)))
    return json.loads(answer) if isinstance(answer, str) else answer


@pytest.mark.operation(
    "OnlineEndpoints_CreateOrUpdate",
    "OnlineEndpoints_Get",
    "OnlineEndpoints_List",
    cost="storage",
)
def test_an_endpoint_has_an_address(client: Any, endpoint: str, created: Created) -> None:
    found = client.online_endpoints.get(endpoint)
    assert found.provisioning_state == "Succeeded"
    assert found.auth_mode == "key"
    assert found.tags.items() >= created.tags.items()
    assert found.scoring_uri.startswith(f"https://{endpoint}.")
    assert found.scoring_uri.endswith("/score")
    assert endpoint in {each.name for each in client.online_endpoints.list()}


@pytest.mark.operation("OnlineEndpoints_ListKeys", "OnlineEndpoints_RegenerateKeys", cost="storage")
def test_a_key_is_made_anew(client: Any, endpoint: str) -> None:
    before = client.online_endpoints.get_keys(endpoint)
    client.online_endpoints.begin_regenerate_keys(endpoint, key_type="secondary").wait()
    after = client.online_endpoints.get_keys(endpoint)
    assert before.primary_key == after.primary_key != after.secondary_key
    assert before.secondary_key != after.secondary_key


@pytest.mark.operation("OnlineEndpoints_Update", cost="storage")
def test_tags_are_patched(service: Service, endpoint: str, created: Created) -> None:
    answer = service.send(
        "PATCH", f"/onlineEndpoints/{endpoint}", {"tags": {**created.tags, "patched": "yes"}}
    )
    assert answer.status_code in (200, 202)
    if "azure-asyncoperation" in answer.headers:
        assert service.finish(answer)["status"] == "Succeeded"
    tags = service.send("GET", f"/onlineEndpoints/{endpoint}").json()["tags"]
    assert tags["patched"] == "yes"


@pytest.mark.expensive
@pytest.mark.operation(
    "OnlineDeployments_CreateOrUpdate",
    "OnlineDeployments_Get",
    "OnlineDeployments_List",
    cost="endpoint-minutes",
)
def test_a_deployment_is_there(client: Any, deployed: str) -> None:
    found = client.online_deployments.get("blue", deployed)
    assert found.provisioning_state == "Succeeded"
    assert found.instance_type.lower() == ENDPOINT_SIZE.lower()
    assert found.environment_variables["MODEL"].endswith("-served")
    assert [each.name for each in client.online_deployments.list(deployed)] == ["blue"]
    assert client.online_endpoints.get(deployed).traffic == {"blue": 100}


@pytest.mark.expensive
@pytest.mark.operation("Endpoint_Score", cost="endpoint-minutes")
def test_it_answers(client: Any, deployed: str, created: Created, tmp_path: Path) -> None:
    answer = _ask(client, deployed, tmp_path)
    assert (answer["words"], answer["sum"]) == (created.prefix, 6)


@pytest.mark.expensive
def test_its_model_is_a_folder_of_files(client: Any, deployed: str, tmp_path: Path) -> None:
    assert _ask(client, deployed, tmp_path)["files"] == ["weights.txt"]


@pytest.mark.expensive
@pytest.mark.operation("Endpoint_Score", cost="endpoint-minutes")
def test_the_answer_names_the_deployment(client: Any, deployed: str) -> None:
    address = client.online_endpoints.get(deployed).scoring_uri
    key = client.online_endpoints.get_keys(deployed).primary_key
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.post(address, json={"numbers": [1]}, headers=headers, timeout=60)
    assert answer.status_code == 200
    assert answer.headers["azureml-model-deployment"] == "blue"
    assert "x-request-id" in answer.headers
    refused = httpx.post(
        address, json={"numbers": [1]}, headers={"Authorization": "Bearer wrong"}, timeout=60
    )
    assert refused.status_code == 401


@pytest.mark.expensive
@pytest.mark.operation("OnlineDeployments_GetLogs", cost="endpoint-minutes")
def test_what_it_printed_is_in_its_logs(client: Any, deployed: str, created: Created) -> None:
    logs = client.online_deployments.get_logs("blue", deployed, lines=200)
    assert f"loaded {created.prefix}" in logs


@pytest.mark.expensive
def test_a_deployment_with_traffic_is_not_deleted(client: Any, deployed: str) -> None:
    with pytest.raises(HttpResponseError) as error:
        client.online_deployments.begin_delete("blue", deployed).wait()
    assert "traffic" in str(error.value)


@pytest.mark.expensive
@pytest.mark.operation("OnlineDeployments_Delete", cost="endpoint-minutes")
def test_z_a_deployment_without_traffic_is_deleted(client: Any, deployed: str) -> None:
    found = client.online_endpoints.get(deployed)
    found.traffic = {"blue": 0}
    client.online_endpoints.begin_create_or_update(found).result()
    client.online_deployments.begin_delete("blue", deployed).wait()
    assert list(client.online_deployments.list(deployed)) == []


@pytest.mark.operation("OnlineEndpoints_Delete", cost="storage")
def test_a_deleted_endpoint_is_gone(client: Any, service: Service, created: Created) -> None:
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    name = created.name("ep")
    client.online_endpoints.begin_create_or_update(
        ManagedOnlineEndpoint(name=name, auth_mode="key", tags=created.tags)
    ).result()
    answer = service.send("DELETE", f"/onlineEndpoints/{name}")
    assert answer.status_code == 202
    assert {"location", "azure-asyncoperation"} <= set(answer.headers)
    assert service.finish(answer)["status"] == "Succeeded"
    with pytest.raises(ResourceNotFoundError):
        client.online_endpoints.get(name)
    assert service.send("DELETE", f"/onlineEndpoints/{name}").status_code == 204
