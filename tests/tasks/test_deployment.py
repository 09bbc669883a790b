"""A model on an endpoint, without a training: the registry's base model serves as it is."""

from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError

from emulator.registry import Registry
from tasks.asking import ask_model
from tasks.clients import workspace_client
from tasks.deployment import deploy_model
from tasks.endpoint import delete_endpoint
from tasks.errors import DeploymentFailed, UserError
from tasks.values import LiveEndpoint, RegisteredModel
from tests.tasks.test_job import plan

TAGS = {"run_key": "abc", "flow_run_id": "f"}


def registered(workspace: str, name: str, path: str) -> RegisteredModel:
    from azure.ai.ml.constants import AssetTypes
    from azure.ai.ml.entities import Model

    client = workspace_client(workspace)
    model = Model(name=name, version="1", path=path, type=AssetTypes.MLFLOW_MODEL)
    made: Any = client.models.create_or_update(model)
    return RegisteredModel(id=made.id, name=name, version="1")


@pytest.fixture
def model(workspace: str) -> RegisteredModel:
    folder = Registry().model_folder("Phi-3-mini-4k-instruct")
    return registered(workspace, "base", str(folder))


@pytest.fixture
def live(workspace: str, model: RegisteredModel) -> Iterator[LiveEndpoint]:
    made = plan()
    yield deploy_model.fn(workspace, made, model, TAGS)
    delete_endpoint(workspace_client(workspace), made.names.endpoint, minutes=1)


def test_a_model_is_deployed_adopted_asked_and_deleted(
    workspace: str, model: RegisteredModel, live: LiveEndpoint
) -> None:
    client = workspace_client(workspace)
    endpoint = client.online_endpoints.get(live.endpoint)
    assert endpoint.traffic == {"demo": 100}
    assert endpoint.auth_mode == "key"
    assert endpoint.tags["flow_run_id"] == "f"
    deployment = client.online_deployments.get("demo", live.endpoint)
    assert deployment.liveness_probe.initial_delay == 600
    assert deployment.request_settings.request_timeout_ms == 90_000

    assert deploy_model.fn(workspace, plan(), model, TAGS) == live

    talk = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]
    reply = ask_model.fn(workspace, live, talk, 20)
    assert reply.reply
    assert reply.expected == "hi"

    gone = live.model_copy(update={"deployment": "absent"})
    with pytest.raises(UserError, match="absent"):
        ask_model.fn(workspace, gone, talk, 20)

    assert delete_endpoint(client, live.endpoint, minutes=1) is True
    with pytest.raises(ResourceNotFoundError):
        client.online_endpoints.get(live.endpoint)
    assert delete_endpoint(client, live.endpoint, minutes=1) is False


def test_a_deployment_that_fails_shows_its_logs(workspace: str, tmp_path: Any) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    broken = registered(workspace, "broken", str(tmp_path))
    made = plan(attempt=2)
    try:
        with pytest.raises(DeploymentFailed, match="last log lines"):
            deploy_model.fn(workspace, made, broken, TAGS)
    finally:
        delete_endpoint(workspace_client(workspace), made.names.endpoint, minutes=1)
