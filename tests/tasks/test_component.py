"""The component's inputs arrive typed, also where the registry answers with texts."""

import pytest

from tasks.component import resolve_component
from tasks.errors import NotFound
from tests.tasks.planning_support import component, registry_client


def test_the_fine_tuning_component_declares_its_inputs_with_types_and_limits() -> None:
    found = component()
    assert found.id.startswith("azureml://registries/azureml/components/chat_completion_pipeline/")
    assert set(found.outputs) == {"pytorch_model_folder", "mlflow_model_folder"}
    epochs = found.inputs["num_train_epochs"]
    assert (epochs.type, epochs.default, epochs.minimum, epochs.optional) == ("integer", 1, 1, True)
    assert isinstance(epochs.default, int)
    assert found.inputs["learning_rate"].default == 2e-5
    assert set(found.inputs["precision"].choices) == {"16", "32"}
    assert found.inputs["apply_lora"].default == "false"
    assert found.inputs["task_name"].optional is False
    assert found.inputs["train_file_path"].default is None


def test_an_unknown_component_or_version_is_named() -> None:
    with pytest.raises(NotFound, match="no component chat_pipeline"):
        resolve_component(registry_client(), "chat_pipeline", None)
    with pytest.raises(NotFound, match="component chat_completion_pipeline version 9"):
        resolve_component(registry_client(), "chat_completion_pipeline", "9")


def test_a_component_that_is_no_pipeline_is_refused() -> None:
    with pytest.raises(NotFound, match="not a pipeline"):
        resolve_component(registry_client(), "chat_completion_finetune", None)
