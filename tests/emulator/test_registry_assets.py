"""A registry of a user's own: made, filled, shared into, used by jobs, deleted."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

NAME = "Team-registry"


def client_of(registry: str) -> "MLClient":
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    return MLClient(DefaultAzureCredential(), registry_name=registry, enable_telemetry=False)


@pytest.fixture(scope="module")
def registry(ml_client: "MLClient") -> Iterator["MLClient"]:
    """A client of a registry that exists while this file's tests run."""
    from azure.ai.ml.entities import Registry, RegistryRegionDetails

    regions = [RegistryRegionDetails(location="eastus")]
    made = Registry(name=NAME, location="eastus", replication_locations=regions)
    ml_client.registries.begin_create(made).result()
    yield client_of(NAME)
    ml_client.registries.begin_delete(name=NAME).result()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "rows.csv").write_text("a\n1\n")
    return folder


def test_a_registry_is_found_by_its_name(ml_client: "MLClient", registry: "MLClient") -> None:
    assert registry.registries.get(NAME).location == "eastus"
    assert NAME in [r.name for r in ml_client.registries.list()]
    with pytest.raises(HttpResponseError, match="nobodys-registry"):
        client_of("nobodys-registry")


def test_a_client_of_a_registry_may_name_a_workspace(ml_client: "MLClient") -> None:
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    client = MLClient(
        DefaultAzureCredential(),
        ml_client.subscription_id,
        ml_client.resource_group_name,
        registry_name="azureml",
        workspace_reference=ml_client.workspace_name,
        enable_telemetry=False,
    )
    listed = {model.name for model in client_of("azureml").models.list()}
    assert listed
    assert {model.name for model in client.models.list()} == listed


def test_a_model_is_uploaded_listed_and_downloaded(
    registry: "MLClient", folder: Path, tmp_path: Path
) -> None:
    from azure.ai.ml.entities import Model

    models = registry.models
    for expected in ("1", "2"):
        model = models.create_or_update(Model(name="own", path=str(folder), type="custom_model"))
        assert model.id == f"azureml://registries/{NAME}/models/own/versions/{expected}"
    assert models.get("own", label="latest").version == "2"
    models.download("own", "1", tmp_path / "downloaded")
    assert list((tmp_path / "downloaded").rglob("rows.csv"))
    models.archive("own", version="2")
    assert [m.version for m in models.list("own")] == ["1"]
    models.archive("own")
    assert "own" not in [m.name for m in models.list()]
    models.restore("own")
    with pytest.raises(ResourceNotFoundError, match="Could not find asset"):
        models.get("own", version="9")


def test_assets_of_a_workspace_are_shared(
    ml_client: "MLClient", registry: "MLClient", folder: Path
) -> None:
    from azure.ai.ml.entities import Data, Environment, Model

    ml_client.models.create_or_update(Model(name="to-share", version="1", path=str(folder)))
    data = Data(name="to-share", version="1", path=str(folder), type="uri_folder")
    ml_client.data.create_or_update(data)
    ml_client.environments.create_or_update(
        Environment(name="to-share", version="1", image="example.test/i")
    )
    target = {"share_with_name": "shared", "share_with_version": "5", "registry_name": NAME}
    for operations in (ml_client.models, ml_client.data, ml_client.environments):
        shared: Any = operations.share("to-share", "1", **target)
        assert (shared.name, shared.version) == ("shared", "5")
    assert registry.data.get("shared", version="5").type == "uri_folder"
    with pytest.raises(Exception, match="already exists in registry"):
        ml_client.models.share("to-share", "1", **target)


def test_jobs_use_a_registrys_component_data_and_model(
    ml_client: "MLClient", registry: "MLClient", folder: Path
) -> None:
    from azure.ai.ml import Input, Output, command, dsl
    from azure.ai.ml.entities import Data, Environment, Model

    environment = registry.environments.create_or_update(
        Environment(name="used", version="1", image="example.test/image")
    )
    assert environment.id == f"azureml://registries/{NAME.lower()}/environments/used/versions/1"
    registry.data.create_or_update(
        Data(name="used", version="1", path=str(folder), type="uri_folder")
    )
    registry.models.create_or_update(Model(name="used", version="1", path=str(folder)))
    (folder / "main.sh").write_text("cat $1/rows.csv $2/rows.csv > $3\n")
    step = command(
        name="used",
        version="1",
        command="sh main.sh ${{inputs.data}} ${{inputs.model}} ${{outputs.both}}",
        code=str(folder),
        environment=f"azureml://registries/{NAME}/environments/used/versions/1",
        inputs={"data": Input(type="uri_folder"), "model": Input(type="custom_model")},
        outputs={"both": Output(type="uri_file")},
    ).component
    registry.components.create_or_update(step)
    component = registry.components.get("used", version="1")

    def graph() -> dict[str, Any]:
        place = f"azureml://registries/{NAME}"
        used = component(
            data=Input(type="uri_folder", path=f"{place}/data/used/versions/1"),
            model=Input(type="custom_model", path=f"{place}/models/used/versions/1"),
        )
        return {"both": used.outputs.both}

    pipeline = dsl.pipeline(graph, default_compute="local")()
    job = ml_client.jobs.create_or_update(pipeline)
    ml_client.jobs.stream(str(job.name))
    ml_client.jobs.download(str(job.name), output_name="both", download_path=folder / "out")
    (both,) = (path for path in (folder / "out").rglob("*") if path.is_file())
    assert both.read_text() == "a\n1\na\n1\n"


def test_the_system_registry_takes_assets_too(registry_client: "MLClient") -> None:
    from azure.ai.ml.entities import Environment

    environments = registry_client.environments
    environments.create_or_update(Environment(name="added", version="1", image="example.test/i"))
    assert environments.get("added", label="latest").image == "example.test/i"
    names = {e.name for e in environments.list()}
    assert {"added", "acft-hf-nlp-gpu", "sklearn-1.5"} <= names
