"""The registry: its YAML is what the SDK takes, its service answers as Azure's does."""

import ast
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from azure.ai.ml import load_component
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient

from emulator.blob_store import BlobStore
from emulator.http import AzureError, Router
from emulator.registry import ASSETS, AssetNotFound, Registry
from emulator.registry_service import register
from emulator.store import Store

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

COMPONENTS = sorted(ASSETS.glob("components/*/component.yaml"))
PLACE = (
    "/mferp/managementfrontend/subscriptions/s/resourceGroups/g/providers/"
    "Microsoft.MachineLearningServices/registries/azureml"
)


@pytest.fixture
def extra(tmp_path: Path) -> Path:
    """A registry folder of a user's own."""
    return tmp_path / "registry"


@pytest.fixture
def client(extra: Path, tmp_path: Path) -> TestClient:
    router = Router("data plane")
    register(router)

    async def answer(request: Request) -> Response:
        try:
            return await router.handle(request)
        except AzureError as error:
            return error.response()

    app = Starlette()
    app.add_route("/{path:path}", answer)
    config = SimpleNamespace(
        tenant="00000000-0000-0000-0000-000000000001",
        subscription="s",
        resource_group="g",
        workspace="local",
    )
    store = Store(tmp_path / "store.sqlite")
    registry = Registry([ASSETS, extra])
    blobs = BlobStore(tmp_path / "blobs", "localstorage", "a2V5", store.document("blobs"))
    app.state.emulator = SimpleNamespace(registry=registry, config=config, store=store, blobs=blobs)
    return TestClient(app, base_url="https://eastus.api.azureml.ms")


def get(client: TestClient, path: str) -> dict[str, Any]:
    response = client.get(PLACE + path, params={"api-version": "2021-10-01-dataplanepreview"})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def add_model(folder: Path, name: str, version: str, **more: Any) -> Path:
    """A model of a user's own: a Hugging Face folder and the YAML that names it."""
    place = folder / "models" / name / version
    weights = place / "weights"
    weights.mkdir(parents=True)
    (weights / "config.json").write_text("{}")
    spec = {"name": name, "version": version, "type": "mlflow_model", "path": "./weights", **more}
    (place / "model.yaml").write_text(yaml.safe_dump(spec))
    return weights


@pytest.mark.parametrize("file", COMPONENTS, ids=lambda file: file.parent.name)
def test_the_sdk_finds_no_fault_with_a_component(file: Path) -> None:
    component = load_component(file)
    result = component._validate()
    assert result.passed, result.error_messages


def test_the_pipeline_binds_only_what_exists() -> None:
    registry = Registry()
    pipeline = registry.component("chat_completion_pipeline", "0.0.82")
    for name, step in pipeline["jobs"].items():
        _, component, version = step["component"].split(":")
        declared = registry.component(component, version)
        required = {k for k, v in declared["inputs"].items() if not v.get("optional")}
        assert required <= step["inputs"].keys() <= declared["inputs"].keys(), name
        for value in (*step["inputs"].values(), *step.get("outputs", {}).values()):
            if match := re.fullmatch(r"\$\{\{parent\.(inputs|outputs)\.(\w+)\}\}", value):
                assert match[2] in pipeline[match[1]], value
            elif match := re.fullmatch(r"\$\{\{parent\.jobs\.(\w+)\.outputs\.(\w+)\}\}", value):
                source = pipeline["jobs"][match[1]]["component"].split(":")[1]
                assert match[2] in registry.component(source)["outputs"], value
            else:
                assert "${{" not in value


def test_commands_pass_every_input_and_output() -> None:
    for file in COMPONENTS:
        spec = yaml.safe_load(file.read_text())
        if spec["type"] == "command":
            used = set(re.findall(r"\$\{\{(\w+\.\w+)\}\}", spec["command"]))
            ports = {f"{p}.{name}" for p in ("inputs", "outputs") for name in spec[p]}
            assert used == ports, file


def test_discovery_ends_in_a_slash_because_clients_append_to_it(client: TestClient) -> None:
    found = client.get("/registrymanagement/v1.0/registries/azureml/discovery").json()
    assert found["primaryRegionResourceProviderUri"] == "https://eastus.api.azureml.ms/"
    assert found["registryName"] == "azureml"
    assert found["subscriptionId"]
    assert found["resourceGroup"]


def test_an_unknown_registry_is_not_found(client: TestClient) -> None:
    response = client.get("/registrymanagement/v1.0/registries/mine/discovery")
    assert response.status_code == 404
    assert "mine" in response.json()["error"]["message"]


def test_a_model_carries_its_tags_as_text(client: TestClient) -> None:
    model = get(client, "/models/Phi-3-mini-4k-instruct/versions/15")
    assert model["id"] == ("azureml://registries/azureml/models/Phi-3-mini-4k-instruct/versions/15")
    properties = model["properties"]
    tags = properties["tags"]
    assert all(isinstance(value, str) for value in tags.values())
    assert all(isinstance(value, str) for value in properties["properties"].values())
    assert "Standard_NC24ads_A100_v4" in ast.literal_eval(tags["finetune_compute_allow_list"])
    defaults = json.loads(tags["model_specific_defaults"])
    assert defaults == ast.literal_eval(tags["model_specific_defaults"])
    assert defaults["learning_rate"] == "5e-6"
    assert defaults["apply_lora"] == "true"
    assert tags["FinetuneRetirementDate"] == "2025-08-30"
    assert isinstance(properties["flavors"], dict)


def test_the_newer_form_has_system_metadata_and_no_allow_list_tags(client: TestClient) -> None:
    properties = get(client, "/models/Phi-4/versions/8")["properties"]
    assert properties["tags"].keys() == {"model_specific_defaults"}
    computes = properties["system_metadata"]["supportedComputes"]["finetuneComputes"]
    assert "Standard_NC24ads_A100_v4" in computes
    assert properties["systemMetadata"] == properties["system_metadata"]


def test_an_unknown_asset_is_named_in_the_error(client: TestClient) -> None:
    for path in ("/models/Phi-9/versions/1", "/models/Phi-4/versions/99"):
        response = client.get(PLACE + path)
        assert response.status_code == 404
        error = response.json()["error"]
        assert error["code"] == "UserError"
        reference = "azureml://registries/azureml" + path
        assert error["message"] == f"Could not find asset with ID: {reference}"
    assert client.get(PLACE + "/models/Phi-9").status_code == 404


def test_versions_come_newest_first_and_in_pages(client: TestClient, extra: Path) -> None:
    for version, day in (("1", "01"), ("10", "03"), ("9", "02")):
        created = {"created_at": f"2026-01-{day}T00:00:00Z"}
        add_model(extra, "own", version, creation_context=created)
    path = "/models/own/versions?$orderBy=createdtime desc&$top=2"
    first = client.get(PLACE + path).json()
    assert [item["name"] for item in first["value"]] == ["10", "9"]
    second = client.get(first["nextLink"]).json()
    assert [item["name"] for item in second["value"]] == ["1"]
    assert "nextLink" not in second
    assert get(client, "/models/own")["properties"]["latestVersion"] == "10"
    assert get(client, "/models/none/versions") == {"value": []}
    assert client.get(PLACE + "/models/own/versions?$top=many").status_code == 400


def test_a_user_adds_a_model_while_the_registry_runs(client: TestClient, extra: Path) -> None:
    before = [item["name"] for item in get(client, "/models")["value"]]
    weights = add_model(extra, "own", "1")
    names = [item["name"] for item in get(client, "/models")["value"]]
    assert set(names) - set(before) == {"own"}
    assert Registry([ASSETS, extra]).model_folder("own", "1") == weights


def test_a_user_replaces_a_shipped_model(extra: Path) -> None:
    weights = add_model(extra, "Phi-4", "8")
    assert Registry([ASSETS, extra]).model_folder("Phi-4", "8") == weights
    assert Registry([ASSETS, extra]).model_folder("Phi-4", "latest") == weights


def test_a_missing_folder_is_named(extra: Path) -> None:
    weights = add_model(extra, "own", "1")
    (weights / "config.json").unlink()
    weights.rmdir()
    with pytest.raises(AssetNotFound, match=re.escape(str(weights))):
        Registry([extra]).model_folder("own", "1")


def test_yaml_without_a_version_is_refused(extra: Path) -> None:
    file = extra / "models" / "own" / "model.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("name: own\n")
    with pytest.raises(ValueError, match="version missing"):
        Registry([extra]).names("models")


def test_steps_of_a_pipeline_are_named_by_their_registry_ids(client: TestClient) -> None:
    answer = get(client, "/components/chat_completion_pipeline/versions/azureml_default")
    spec = answer["properties"]["componentSpec"]
    assert spec["version"] == "0.0.82"
    assert spec["jobs"]["chat_completion_finetune"]["component"] == (
        "azureml://registries/azureml/components/chat_completion_finetune/versions/0.0.81"
    )


def test_the_environment_of_the_steps_exists(client: TestClient) -> None:
    environment = get(client, "/environments/acft-hf-nlp-gpu/versions/112")
    assert environment["properties"]["osType"] == "Linux"


def test_what_is_not_emulated_says_so(client: TestClient) -> None:
    response = client.get(PLACE + "/featuresets/things/versions/1")
    assert response.status_code == 501
    assert "/featuresets/things" in response.json()["error"]["message"]


def test_the_sdk_reads_models(registry_client: "MLClient") -> None:
    model = registry_client.models.get("Phi-3-mini-4k-instruct", label="latest")
    assert model.id == "azureml://registries/azureml/models/Phi-3-mini-4k-instruct/versions/15"
    assert (model.name, model.version, model.type) == (
        "Phi-3-mini-4k-instruct",
        "15",
        "mlflow_model",
    )
    assert model.tags["license"] == "mit"
    names = {item.name for item in registry_client.models.list()}
    assert {"Phi-3-mini-4k-instruct", "Phi-4"} <= names


def test_the_sdk_downloads_a_model(registry_client: "MLClient", tmp_path: Path) -> None:
    registry_client.models.download("Phi-3-mini-4k-instruct", "15", tmp_path)
    (found,) = tmp_path.rglob("MLmodel")
    held = Registry().model_folder("Phi-3-mini-4k-instruct", "15")
    assert found.read_bytes() == (held / "MLmodel").read_bytes()
    names = {str(file.relative_to(held)) for file in held.rglob("*") if file.is_file()}
    assert {
        str(f.relative_to(found.parent)) for f in found.parent.rglob("*") if f.is_file()
    } == names


def test_a_changed_folder_is_published_again(client: TestClient, extra: Path) -> None:
    weights = add_model(extra, "own", "1")
    first = get(client, "/models/own/versions/1")["properties"]["modelUri"]
    assert first == get(client, "/models/own/versions")["value"][0]["properties"]["modelUri"]
    (weights / "more.json").write_text("{}")
    assert get(client, "/models/own/versions/1")["properties"]["modelUri"] != first


def test_system_metadata_passes_through_the_sdk(registry_client: "MLClient") -> None:
    """The Model entity drops it; the object that the entity is made from keeps it."""
    rest_model = registry_client.models._get("Phi-4", "8")
    metadata = rest_model.properties["system_metadata"]
    assert metadata["tasks"]["fineTuningTasks"] == ["chat-completion"]


def test_the_sdk_reads_the_pipeline_component(registry_client: "MLClient") -> None:
    component = registry_client.components.get("chat_completion_pipeline", label="latest")
    assert component.version == "0.0.82"
    spec = yaml.safe_load(
        (ASSETS / "components/chat_completion_pipeline/component.yaml").read_text()
    )
    assert component.inputs.keys() == spec["inputs"].keys()
    assert component.outputs.keys() == spec["outputs"].keys()
    epochs = component.inputs["num_train_epochs"]
    assert (epochs.type, epochs.optional, epochs.default, epochs.min) == ("integer", True, 1, 1)
    assert component.inputs["lr_scheduler_type"].enum[0] == "linear"
    assert component.inputs["task_name"].optional is False
    step = component(mlflow_model_path=None, num_train_epochs=2)
    assert step.inputs.num_train_epochs._data == 2
    with pytest.raises(Exception, match="learning_rate_min"):
        component(learning_rate_min=1)


def test_the_sdk_raises_for_what_is_not_there(registry_client: "MLClient") -> None:
    with pytest.raises(ResourceNotFoundError, match="Could not find asset"):
        registry_client.models.get("Phi-9", version="1")
    with pytest.raises((ResourceNotFoundError, HttpResponseError), match="Could not find asset"):
        registry_client.components.get("nothing", version="1")
