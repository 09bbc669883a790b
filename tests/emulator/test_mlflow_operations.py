"""MLflow's calls that its client seldom sends, by plain HTTP."""

import json
import time
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.contract.service import Service
from tests.emulator.wire_support import ok, service

__all__ = ["service"]


class Tracking:
    """MLflow's REST calls of the workspace; each must succeed."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._base = service.tracking()

    def send(self, method: str, call: str, body: Any = None) -> Any:
        return self._service.send(method, f"{self._base}/{call}", body, version=None)

    def get(self, call: str, **query: str) -> Any:
        return ok(self.send("GET", f"{call}?{urlencode(query)}"))

    def post(self, call: str, **body: Any) -> Any:
        return ok(self.send("POST", call, body))

    def patch(self, call: str, **body: Any) -> Any:
        return ok(self.send("PATCH", call, body))

    def delete(self, call: str, **body: Any) -> Any:
        return ok(self.send("DELETE", call, body))


@pytest.fixture(scope="module")
def tracking(service: Service) -> Tracking:
    return Tracking(service)


@pytest.fixture(scope="module")
def experiment(tracking: Tracking) -> str:
    """The id of an experiment."""
    return str(tracking.post("experiments/create", name="seldom")["experiment_id"])


@pytest.fixture
def run(tracking: Tracking, experiment: str) -> str:
    """The id of a run."""
    now = int(time.time() * 1000)
    made = tracking.post("runs/create", experiment_id=experiment, start_time=now)
    return str(made["run"]["info"]["run_id"])


def test_an_experiment_is_renamed_and_restored(tracking: Tracking, experiment: str) -> None:
    def stage() -> str:
        found = tracking.get("experiments/get", experiment_id=experiment)["experiment"]
        assert found["name"] == "seldom-2"
        return str(found["lifecycle_stage"])

    tracking.post("experiments/update", experiment_id=experiment, new_name="seldom-2")
    assert stage() == "active"
    tracking.post("experiments/delete", experiment_id=experiment)
    assert stage() == "deleted"
    tracking.post("experiments/restore", experiment_id=experiment)
    assert stage() == "active"


def test_a_run_is_restored(tracking: Tracking, run: str) -> None:
    tracking.post("runs/delete", run_id=run)
    deleted = tracking.get("runs/get", run_id=run)["run"]["info"]
    assert deleted["lifecycle_stage"] == "deleted"
    tracking.post("runs/restore", run_id=run)
    restored = tracking.get("runs/get", run_id=run)["run"]["info"]
    assert restored["lifecycle_stage"] == "active"


def test_a_run_names_its_data_and_its_model(tracking: Tracking, run: str) -> None:
    dataset = {
        "name": "rows",
        "digest": "abc",
        "source_type": "local",
        "source": "{}",
        "schema": "{}",
        "profile": "{}",
    }
    tracking.post("runs/log-inputs", run_id=run, datasets=[{"dataset": dataset, "tags": []}])
    model = {"run_id": run, "artifact_path": "model", "flavors": {}, "utc_time_created": "x"}
    tracking.post("runs/log-model", run_id=run, model_json=json.dumps(model))
    found = tracking.get("runs/get", run_id=run)["run"]
    assert found["inputs"]["dataset_inputs"][0]["dataset"]["name"] == "rows"
    tags = {tag["key"]: tag["value"] for tag in found["data"]["tags"]}
    assert "artifact_path" in tags["mlflow.log-model.history"]
    assert tracking.get("artifacts/list", run_id=run)["root_uri"]


def test_a_logged_model_from_its_name_to_its_end(
    tracking: Tracking, experiment: str, run: str
) -> None:
    made = tracking.post("logged-models", experiment_id=experiment, name="m", source_run_id=run)
    model = made["model"]["info"]["model_id"]
    params, tags = [{"key": "depth", "value": "3"}], [{"key": "team", "value": "red"}]
    tracking.post(f"logged-models/{model}/params", model_id=model, params=params)
    tracking.patch(f"logged-models/{model}/tags", model_id=model, tags=tags)
    tracking.patch(f"logged-models/{model}", model_id=model, status="LOGGED_MODEL_READY")
    found = tracking.get(f"logged-models/{model}")["model"]
    assert found["data"]["params"] == [{"key": "depth", "value": "3"}]
    assert {"key": "team", "value": "red"} in found["info"]["tags"]
    searched = tracking.post("logged-models/search", experiment_ids=[experiment])["models"]
    assert [each["info"]["model_id"] for each in searched] == [model]
    tracking.delete(f"logged-models/{model}/tags/team", model_id=model, tag_key="team")
    left = tracking.get(f"logged-models/{model}")["model"]["info"].get("tags", [])
    assert "team" not in {tag["key"] for tag in left}
    tracking.delete(f"logged-models/{model}", model_id=model)
    assert tracking.send("GET", f"logged-models/{model}").status_code == 404


def test_a_registered_model_from_its_name_to_its_end(tracking: Tracking, service: Service) -> None:
    name = "seldom-model"
    files = "azureml://datastores/workspaceblobstore/paths/seldom"
    properties = {"modelType": "custom_model", "modelUri": files}
    ok(service.send("PUT", f"/models/{name}/versions/1", {"properties": properties}), 201)
    tracking.patch("registered-models/update", name=name, description="said")
    tracking.post("registered-models/set-tag", name=name, key="team", value="red")
    listed = tracking.get("registered-models/list")["registered_models"]
    (found,) = (model for model in listed if model["name"] == name)
    assert found["description"] == "said"
    assert {"key": "team", "value": "red"} in found["tags"]
    tracking.delete("registered-models/delete-tag", name=name, key="team")
    told = tracking.get("registered-models/get", name=name)["registered_model"]
    assert not told.get("tags")
    tracking.post("model-versions/set-tag", name=name, version="1", key="a", value="b")
    tracking.delete("model-versions/delete-tag", name=name, version="1", key="a")
    version = tracking.get("model-versions/get", name=name, version="1")["model_version"]
    assert not version.get("tags")
    tracking.delete("registered-models/delete", name=name)
    assert service.send("GET", f"/models/{name}").status_code == 404
