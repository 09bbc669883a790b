"""What can be read of the registry that everybody can read."""

from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError

_MODEL = "Phi-3-mini-4k-instruct"
_COMPONENT = "chat_completion_pipeline"


@pytest.fixture(scope="module")
def registry(client: Any) -> Any:
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    return MLClient(DefaultAzureCredential(), registry_name="azureml", enable_telemetry=False)


@pytest.mark.operation(
    "RegistryManagement_Discovery", "RegistryModelVersions_List", "RegistryModelVersions_Get"
)
def test_the_newest_version_of_a_model(registry: Any) -> None:
    model = registry.models.get(_MODEL, label="latest")
    assert model.name == _MODEL
    assert model.id.startswith(f"azureml://registries/azureml/models/{_MODEL}/versions/")
    assert model.type == "mlflow_model"
    assert model.path
    assert registry.models.get(_MODEL, version=model.version).id == model.id


@pytest.mark.operation("RegistryComponentVersions_List")
def test_the_newest_version_of_a_component(registry: Any) -> None:
    component = registry.components.get(_COMPONENT, label="latest")
    assert component.type == "pipeline"
    assert component.id.startswith(f"azureml://registries/azureml/components/{_COMPONENT}/")
    assert "num_train_epochs" in component.inputs


def test_a_model_that_no_registry_has(registry: Any) -> None:
    with pytest.raises(ResourceNotFoundError):
        registry.models.get("no-one-made-this-model", version="1")


@pytest.mark.operation("RegistryModelContainers_List")
def test_models_are_listed(registry: Any) -> None:
    names = (model.name for model in registry.models.list())
    assert _MODEL in names


@pytest.mark.operation("RegistryEnvironmentVersions_List")
def test_a_curated_environment_has_a_newest_version(registry: Any) -> None:
    environment = registry.environments.get("sklearn-1.5", label="latest")
    assert environment.version.isdigit()
    assert environment.id.startswith("azureml://registries/azureml/environments/sklearn-1.5/")
