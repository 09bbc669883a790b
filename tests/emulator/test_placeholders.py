"""Examples that name their workspace `<SUBSCRIPTION_ID>` and so on, run as they were published."""

from typing import TYPE_CHECKING

import pytest

from tests.emulator.running import RunningEmulator

if TYPE_CHECKING:
    from azure.ai.ml import MLClient


@pytest.fixture
def published(emulator: RunningEmulator) -> "MLClient":
    """The client of a published example."""
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    return MLClient(
        DefaultAzureCredential(),
        "<SUBSCRIPTION_ID>",
        "<RESOURCE_GROUP>",
        "<AML_WORKSPACE_NAME>",
        enable_telemetry=False,
    )


def test_the_default_workspace_is_meant(published: "MLClient", ml_client: "MLClient") -> None:
    found = published.workspaces.get(published.workspace_name)
    assert found.id == ml_client.workspaces.get(ml_client.workspace_name).id


def test_the_names_in_a_body_are_meant_too(published: "MLClient", ml_client: "MLClient") -> None:
    from azure.ai.ml import Input, command
    from azure.ai.ml.entities import Data, Environment

    source = "azureml://datastores/workspaceblobstore/paths/placeholders/"
    published.data.create_or_update(
        Data(name="placeholders", version="1", path=source, type="uri_folder")
    )
    job = command(
        command="test -n '${{inputs.folder}}'",
        inputs={"folder": Input(type="uri_folder", path="azureml:placeholders:1", mode="direct")},
        environment=Environment(name="placeholders", image="docker.io/library/python:3.11"),
        compute="local",
    )
    created = published.jobs.create_or_update(job)
    stored = ml_client.jobs.get(created.name)
    assert ml_client.subscription_id in stored.id
    assert "<" not in stored.inputs["folder"].path
    published.jobs.stream(created.name)
    assert ml_client.jobs.get(created.name).status == "Completed"


def test_another_workspace_is_not_meant(published: "MLClient") -> None:
    from azure.core.exceptions import ResourceNotFoundError

    with pytest.raises(ResourceNotFoundError, match="elsewhere"):
        published.workspaces.get("elsewhere")


def test_what_a_new_workspace_needs_goes_with_it(published: "MLClient") -> None:
    from azure.ai.ml.entities import Workspace

    made = published.workspaces.begin_create(Workspace(name="placed", location="eastus")).result()
    assert "<" not in made.application_insights
    published.workspaces.begin_delete("placed", delete_dependent_resources=True).result()
    assert "placed" not in [each.name for each in published.workspaces.list()]
