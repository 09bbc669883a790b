"""Environments, components and models as users version them through the unmodified SDK."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.contract.service import Service
from tests.emulator.wire_support import ok, service

if TYPE_CHECKING:
    from azure.ai.ml import MLClient


__all__ = ["service"]


def component(name: str, command: str = "echo ${{inputs.count}}", **options: Any) -> Any:
    from azure.ai.ml import Input
    from azure.ai.ml import command as command_of
    from azure.ai.ml.entities import Environment

    inputs: dict[str, Any] = {
        "count": Input(type="number", default=2.5),
        "loud": Input(type="boolean", default=True),
        "note": Input(type="string", optional=True),
    }
    environment = Environment(name="component-env", version="1", image="example.test/image")
    return command_of(
        name=name, command=command, inputs=inputs, environment=environment, **options
    ).component


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "main.py").write_text("print(1)\n")
    return folder


def test_an_environment_without_a_version_gets_a_new_one_only_when_it_changed(
    ml_client: "MLClient",
) -> None:
    from azure.ai.ml.entities import Environment

    versions = [
        ml_client.environments.create_or_update(Environment(name="moving", image=image)).version
        for image in ("example.test/1", "example.test/1", "example.test/2")
    ]
    assert versions == ["1", "1", "2"]
    assert ml_client.environments.get("moving", label="latest").image == "example.test/2"
    with pytest.raises(HttpResponseError) as refused:
        ml_client.environments.create_or_update(
            Environment(name="moving", version="1", image="example.test/3")
        )
    assert refused.value.status_code == 409


def test_an_operating_system_is_the_same_however_it_is_spelt(ml_client: "MLClient") -> None:
    from azure.ai.ml.entities import Environment

    for os_type in (None, "linux", "Linux"):
        made = ml_client.environments.create_or_update(
            Environment(name="spelt", version="1", image="example.test/1", os_type=os_type)
        )
        assert made.os_type == "Linux"


def test_a_conda_file_and_a_build_context_come_back(ml_client: "MLClient", tmp_path: Path) -> None:
    from azure.ai.ml.entities import BuildContext, Environment

    conda = {"name": "x", "dependencies": ["python=3.11", {"pip": ["numpy"]}]}
    environments = ml_client.environments
    environments.create_or_update(
        Environment(name="with-conda", version="1", image="example.test/1", conda_file=conda)
    )
    assert environments.get("with-conda", version="1").conda_file == conda
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    built = Environment(name="with-build", version="1", build=BuildContext(path=tmp_path))
    environments.create_or_update(built)
    assert "/LocalUpload/" in str(environments.get("with-build", version="1").build.path)


def test_the_services_own_environments_are_found(ml_client: "MLClient") -> None:
    listed = [e.name for e in ml_client.environments.list() if e.name.startswith("AzureML-")]
    newest = ml_client.environments.get(listed[0], label="latest")
    assert newest.image
    with pytest.raises(ResourceNotFoundError, match="No environment exists for name: own-one"):
        ml_client.environments.get("own-one", version="1")


def test_a_component_comes_back_as_the_service_writes_it(ml_client: "MLClient", code: Path) -> None:
    processes = {"type": "pytorch", "process_count_per_instance": 2}
    created = component("normalised", version="1", code=str(code), distribution=processes)
    ml_client.components.create_or_update(created)
    resource = ml_client.components._get_component_version("normalised", "1")
    spec = resource.properties.component_spec
    assert spec["inputs"]["count"] == {"type": "number", "default": "2.5", "optional": "False"}
    assert spec["inputs"]["loud"]["default"] == "True"
    assert spec["inputs"]["note"]["optional"] == "True"
    assert spec["resources"]["instance_count"] == "1"
    assert spec["distribution"] == {"type": "pytorch", "process_count_per_instance": "2"}
    assert spec["is_deterministic"] == "True"
    assert spec["$schema"]
    read = ml_client.components.get("normalised", version="1")
    assert read.inputs["count"].default == 2.5
    assert read.inputs["note"].optional is True


def test_a_components_content_is_fixed_and_its_description_is_not(
    ml_client: "MLClient", code: Path
) -> None:
    first = component("fixed", version="1", code=str(code))
    ml_client.components.create_or_update(first)
    again = component("fixed", version="1", code=str(code), description="now told")
    assert ml_client.components.create_or_update(again).description == "now told"
    (code / "main.py").write_text("print(2)\n")
    with pytest.raises(HttpResponseError, match='since field "code" is immutable') as refused:
        ml_client.components.create_or_update(component("fixed", version="1", code=str(code)))
    assert refused.value.status_code == 400


def test_a_components_next_version_is_the_time_unless_nothing_changed(
    ml_client: "MLClient",
) -> None:
    components = ml_client.components
    assert components.create_or_update(component("counting")).version == "1"
    second = components.create_or_update(component("counting")).version
    assert re.fullmatch(r"\d{4}(-\d{2}){5}-\d{7}", second)
    same = components.create_or_update(component("counting"), skip_if_no_change=True)
    assert same.version == second
    newest = components.get("counting")
    assert newest.version == second
    assert newest.id.endswith("/components/counting/labels/default")
    components.archive("counting", version=second)
    assert [c.version for c in components.list(name="counting")] == ["1"]
    assert components.get("counting").version == "1"
    everything = components.list(name="counting", list_view_type="All")
    assert {c.version for c in everything} == {"1", second}


def test_an_anonymous_component_gets_the_services_own_version(ml_client: "MLClient") -> None:
    versions = set()
    for _ in range(2):
        anonymous = component("unnamed")
        created = ml_client.components.create_or_update(anonymous, is_anonymous=True)
        sent = anonymous._get_rest_name_version()
        assert created.name == "unnamed"
        name, _, version = created.id.split("/")[-3:]
        assert name == sent[0] == "azureml_anonymous"
        assert version != sent[1]
        versions.add(version)
    assert len(versions) == 1
    found = ml_client.components.get("azureml_anonymous", version=versions.pop())
    assert found.command == "echo ${{inputs.count}}"


def test_where_a_component_was_written_is_no_part_of_it(ml_client: "MLClient") -> None:
    once = component("moved", version="1")
    ml_client.components.create_or_update(once)
    again = component("moved", version="1")
    again._source = "YAML.COMPONENT" if once._source != "YAML.COMPONENT" else "CLASS"
    assert ml_client.components.create_or_update(again).version == "1"


def test_a_pipelines_output_is_early_available_where_the_steps_is(ml_client: "MLClient") -> None:
    from azure.ai.ml import Output, dsl
    from azure.ai.ml import command as command_of
    from azure.ai.ml.entities import Environment

    step: Any = command_of(
        name="early",
        command="echo True > ${{outputs.go}}; echo 1 > ${{outputs.count}}",
        environment=Environment(name="component-env", version="1", image="example.test/image"),
        outputs={
            "go": Output(type="boolean", early_available=True),
            "count": Output(type="integer"),
        },
    ).component

    def early_pipeline() -> Any:
        return dict(step().outputs)

    pipeline: Any = dsl.pipeline
    whole = pipeline()(early_pipeline)().component
    whole.name, whole.version = "early_pipeline", "1"
    kept = ml_client.components.create_or_update(whole)._to_dict()["outputs"]
    assert kept["go"] == {"type": "boolean", "early_available": True}
    assert "early_available" not in kept["count"]


def test_a_spark_components_data_has_no_mode(ml_client: "MLClient", tmp_path: Path) -> None:
    from azure.ai.ml import load_component

    (tmp_path / "main.py").write_text("")
    (tmp_path / "spark.yml").write_text(
        "{type: spark, name: spark_rows, version: '1', code: ., entry: {file: main.py},\n"
        " inputs: {rows: {type: uri_file, mode: direct}},\n"
        " outputs: {made: {type: uri_folder, mode: direct}},\n"
        " args: '${{inputs.rows}} ${{outputs.made}}',\n"
        " conf: {spark.driver.cores: 1, spark.driver.memory: 1g, spark.executor.cores: 1,\n"
        "        spark.executor.memory: 1g, spark.executor.instances: 1}}\n"
    )
    ml_client.components.create_or_update(load_component(tmp_path / "spark.yml"))
    kept = ml_client.components.get("spark_rows", version="1")._to_dict()
    assert kept["inputs"] == {"rows": {"type": "uri_file", "optional": False}}
    assert kept["outputs"] == {"made": {"type": "uri_folder"}}
    assert kept["conf"]["spark.driver.cores"] == 1


def test_a_curated_environment_is_one_of_the_system_registry(
    ml_client: "MLClient", tmp_path: Path
) -> None:
    curated = "AzureML-sklearn-1.0-ubuntu20.04-py38-cpu"
    registered = f"azureml://registries/azureml/environments/{curated}/versions/33"
    sent = component("curated", version="1")
    sent.environment = f"azureml:{curated}:33"
    assert ml_client.components.create_or_update(sent).environment == registered
    ml_client.components.download("curated", tmp_path / "here", version="1")
    assert registered in (tmp_path / "here" / "component_spec.yaml").read_text()


def test_a_component_is_checked_without_being_made(
    ml_client: "MLClient",
) -> None:
    components = ml_client.components
    checked = components.validate(
        component("checked", version="1"), raise_on_failure=False, skip_remote_validation=False
    )
    assert checked.passed, checked.error_messages
    with pytest.raises(ResourceNotFoundError):
        components.get("checked", version="1")
    components.create_or_update(component("checked", version="1"))
    changed = component("checked", "echo ${{inputs.count}} changed", version="1")
    with pytest.raises(HttpResponseError, match='field "command" is immutable') as refused:
        components.validate(changed, raise_on_failure=False, skip_remote_validation=False)
    assert refused.value.status_code == 400
    assert components.get("checked", version="1").command == "echo ${{inputs.count}}"


def test_a_component_is_downloaded_with_its_code(
    ml_client: "MLClient", code: Path, tmp_path: Path
) -> None:
    ml_client.components.create_or_update(component("taken", version="1", code=str(code)))
    ml_client.components.download("taken", tmp_path / "here", version="1")
    assert (tmp_path / "here" / "code" / "main.py").read_text() == "print(1)\n"


def test_models_are_listed_by_stage_and_downloaded(
    ml_client: "MLClient", code: Path, tmp_path: Path
) -> None:
    from azure.ai.ml.entities import Model

    for stage in ("Development", "Production"):
        ml_client.models.create_or_update(Model(name="staged", path=str(code), stage=stage))
    assert [m.version for m in ml_client.models.list("staged", stage="Production")] == ["2"]
    ml_client.models.download("staged", "2", tmp_path / "models")
    assert (tmp_path / "models" / "staged" / "code" / "main.py").exists()
    with pytest.raises(ResourceNotFoundError, match="specified resource was not found"):
        ml_client.models._model_container_operation.get(
            name="never",
            workspace_name=str(ml_client.workspace_name),
            **ml_client.models._scope_kwargs,
        )


def test_what_is_not_emulated_is_refused_by_its_operations_name(ml_client: "MLClient") -> None:
    for kind, operation in (
        (ml_client.feature_sets, "FeaturesetContainers_List"),
        (ml_client.feature_store_entities, "FeaturestoreEntityContainers_List"),
    ):
        with pytest.raises(HttpResponseError, match=operation) as refused:
            list(kind.list())
        assert refused.value.status_code == 501


def test_a_flow_is_not_pretended_to_be_a_component(ml_client: "MLClient", tmp_path: Path) -> None:
    from azure.ai.ml import load_component

    schema = "https://azuremlschemas.azureedge.net/promptflow/latest/Flow.schema.json"
    (tmp_path / "flow.dag.yaml").write_text(
        f"$schema: {schema}\ninputs: {{}}\noutputs: {{}}\nnodes: []\n"
    )
    (tmp_path / ".promptflow").mkdir()
    (tmp_path / ".promptflow" / "flow.tools.json").write_text("{}")
    flow = load_component(tmp_path / "flow.dag.yaml")
    with pytest.raises(HttpResponseError, match="is a flow") as refused:
        ml_client.components.create_or_update(flow, version="1")
    assert refused.value.status_code == 501


def test_one_component_from_two_sources_is_the_same(service: Service) -> None:
    """As early clients send it: by the hash of a spec that does not hold its source."""
    spec = {"type": "command", "command": "true", "environment": "azureml:component-env:1"}
    path = "/components/azureml_anonymous/versions/0123-4567"
    ids = set()
    for source in ("YAML.COMPONENT", "YAML.JOB", "DSL"):
        given = {"isAnonymous": True, "componentSpec": {**spec, "_source": source}}
        answer = ok(service.send("PUT", path, {"properties": given}), 201)
        assert answer["properties"]["componentSpec"]["_source"] == source
        ids.add(answer["id"])
    assert len(ids) == 1
