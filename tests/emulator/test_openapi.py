"""All that the SDK is answered is what the published OpenAPI says, down to each discriminator."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from azure.core.exceptions import HttpResponseError

from tests.emulator.openapi_fixtures import api, check, exchanges, folder, needs_specifications
from tests.emulator.openapi_support import OpenApi

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

pytestmark = needs_specifications
__all__ = ["api", "check", "exchanges", "folder"]


def test_assets(ml_client: "MLClient", check: Callable[..., None], folder: Path) -> None:
    from azure.ai.ml.entities import Data, Environment, Model

    table = folder / "table"
    table.mkdir()
    (table / "MLTable").write_text("paths:\n  - file: ./rows.csv\n")
    for kind, path in (("uri_file", folder / "rows.csv"), ("uri_folder", folder)):
        data = Data(name=f"published-{kind}", version="1", path=str(path), type=kind)
        ml_client.data.create_or_update(data)
    ml_client.models.create_or_update(Model(name="published", version="1", path=str(folder)))
    environment = Environment(name="published", version="1", image="example.test/image")
    ml_client.environments.create_or_update(environment)
    for operations in (ml_client.data, ml_client.models, ml_client.environments):
        list(operations.list())
        name = "published-uri_file" if operations is ml_client.data else "published"
        list(operations.list(name))
        operations.get(name, version="1")
        operations.archive(name)
        operations.restore(name)
        with suppress(HttpResponseError):
            operations.get("unpublished", version="1")
    kinds = ("Data", "Model", "Environment")
    check(*(f"{kind}Versions_{verb}" for kind in kinds for verb in ("List", "Get")))


def test_components_and_code(
    ml_client: "MLClient", check: Callable[..., None], folder: Path
) -> None:
    from azure.ai.ml import Input, command, dsl
    from azure.ai.ml.entities import Environment

    step = command(
        name="published",
        version="1",
        command="echo ${{inputs.count}}",
        code=str(folder),
        environment=Environment(name="published-code", version="1", image="example.test/image"),
        inputs={"count": Input(type="integer", default=1, min=0)},
    ).component
    ml_client.components.create_or_update(step)
    published = ml_client.components.get("published", version="1")

    def graph() -> None:
        published(count=2)

    pipeline = dsl.pipeline(graph, name="published_pipeline", version="1")
    ml_client.components.create_or_update(pipeline().component)
    list(ml_client.components.list())
    list(ml_client.components.list(name="published"))
    check(
        "CodeVersions_List",
        "CodeVersions_CreateOrGetStartPendingUpload",
        "CodeVersions_CreateOrUpdate",
        "ComponentVersions_CreateOrUpdate",
        "ComponentVersions_Get",
        "ComponentContainers_List",
    )


def test_datastores_and_workspaces(ml_client: "MLClient", check: Callable[..., None]) -> None:
    from azure.ai.ml import entities

    key = entities.AccountKeyConfiguration(account_key="c2VjcmV0")
    name = "published"
    stores = (
        entities.AzureBlobDatastore(name=name, account_name="a", container_name="c"),
        entities.AzureFileDatastore(
            name=name, account_name="a", file_share_name="s", credentials=key
        ),
        entities.AzureDataLakeGen2Datastore(name=name, account_name="a", filesystem="f"),
    )
    for store in stores:
        ml_client.datastores.create_or_update(store)
        ml_client.datastores.get(name, include_secrets=True)
        ml_client.datastores.delete(name)
    list(ml_client.datastores.list())
    with suppress(HttpResponseError):
        ml_client.datastores.get("unpublished")
    list(ml_client.workspaces.list())
    ml_client.workspaces.get(ml_client.workspace_name)
    ml_client.workspaces.get_keys()
    ml_client.workspaces.begin_diagnose(ml_client.workspace_name).result()
    check(
        "Datastores_CreateOrUpdate",
        "Datastores_List",
        "Datastores_ListSecrets",
        "Datastores_Delete",
        "Workspaces_ListByResourceGroup",
        "Workspaces_ListKeys",
        "Workspaces_Diagnose",
    )


def test_registries(ml_client: "MLClient", check: Callable[..., None], folder: Path) -> None:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import Data, Environment, Model, Registry, RegistryRegionDetails
    from azure.identity import DefaultAzureCredential

    regions = [RegistryRegionDetails(location="eastus")]
    registry = Registry(name="published", location="eastus", replication_locations=regions)
    ml_client.registries.begin_create(registry).result()
    ml_client.registries.get("published")
    list(ml_client.registries.list())
    client = MLClient(DefaultAzureCredential(), registry_name="published", enable_telemetry=False)
    client.models.create_or_update(Model(name="m", version="1", path=str(folder)))
    client.data.create_or_update(Data(name="d", version="1", path=str(folder), type="uri_folder"))
    client.environments.create_or_update(Environment(name="e", version="1", image="example.test/i"))
    for operations in (client.models, client.environments):
        list(operations.list())
    ml_client.registries.begin_delete(name="published").result()
    check(
        "Registries_CreateOrUpdate",
        "Registries_Get",
        "Registries_List",
        "Registries_Delete",
        "RegistryModelVersions_CreateOrUpdate",
        "RegistryDataVersions_CreateOrUpdate",
        "RegistryEnvironmentContainers_List",
    )


def test_the_check_itself_finds_what_is_wrong(api: OpenApi) -> None:
    workspace = (
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
    )
    operation = api.find("GET", f"{workspace}/datastores/d")
    assert operation
    assert operation.name == "Datastores_Get"
    properties = {
        "datastoreType": "AzureBlob",
        "credentials": {"credentialsType": "AccountKey", "secrets": {"key": "k"}},
        "accountName": 1,
        "filesystem": "of another type",
        "serviceDataAccessAuthIdentity": "Nobody",
    }
    found = {str(p) for p in api.problems(operation, 200, {"properties": properties})}
    assert found == {
        "properties.accountName: 1 is no string",
        "properties.credentials.secrets: this property is never answered",
        "properties.filesystem: there is no such property",
        "properties.serviceDataAccessAuthIdentity: 'Nobody' is none of None, "
        "WorkspaceSystemAssignedIdentity, WorkspaceUserAssignedIdentity",
    }
    properties["datastoreType"] = "AzureFile"
    missing = {str(p) for p in api.problems(operation, 200, {"properties": properties})}
    assert "properties: fileShareName is missing" in missing
    assert [str(p) for p in api.problems(operation, 201, {})] == [
        "the body: status 201 is none of 200, default"
    ]
