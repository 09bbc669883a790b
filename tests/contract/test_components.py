"""Command components: registered, versioned, resolved by label."""

from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.contract.created import Created
from tests.contract.plan import IMAGE
from tests.contract.service import Service


def component(name: str, created: Created, **changes: Any) -> Any:
    """A component that writes a line of its inputs to its output."""
    from azure.ai.ml import Input, Output, command
    from azure.ai.ml.entities import Environment

    parts: dict[str, Any] = {
        "display_name": "Greet",
        "command": "echo ${{inputs.word}} $[[--more ${{inputs.more}}]] > ${{outputs.line}}/line",
        "inputs": {
            "word": Input(type="string", default="hello"),
            "more": Input(type="integer", optional=True),
        },
        "outputs": {"line": Output(type="uri_folder")},
        "environment": Environment(
            name=created.prefix + "-inline", version="1", image=IMAGE, tags=created.tags
        ),
        "tags": created.tags,
    } | changes
    made: Any = command(name=name, **parts).component
    made.name = name
    made.version = "1"
    return made


@pytest.fixture(scope="module")
def greeting(client: Any, created: Created) -> Any:
    return client.components.create_or_update(component(created.name("greet", "_"), created))


@pytest.mark.operation("ComponentVersions_CreateOrUpdate", "ComponentVersions_Get", cost="storage")
def test_a_component_comes_back(client: Any, greeting: Any) -> None:
    found = client.components.get(greeting.name, version="1")
    assert found.type == "command"
    assert found.display_name == "Greet"
    assert found.inputs["word"].default == "hello"
    assert found.inputs["more"].optional
    assert set(found.outputs) == {"line"}


@pytest.mark.operation("ComponentVersions_Get", cost="storage")
def test_its_specification_is_normalised(service: Service, greeting: Any) -> None:
    answer = service.send("GET", f"/components/{greeting.name}/versions/1").json()
    spec = answer["properties"]["componentSpec"]
    assert (spec["name"], spec["version"], spec["type"]) == (greeting.name, "1", "command")
    assert spec["inputs"]["word"]["optional"] == "False"
    assert spec["inputs"]["more"]["optional"] == "True"
    assert spec["is_deterministic"] == "True"
    assert spec["resources"]["instance_count"] == "1"
    assert "$schema" in spec


@pytest.mark.operation("ComponentVersions_List", cost="storage")
def test_latest_and_the_default_version(client: Any, service: Service, greeting: Any) -> None:
    assert client.components.get(greeting.name, label="latest").version == "1"
    assert [c.version for c in client.components.list(greeting.name)] == ["1"]
    answer = service.send("GET", f"/components/{greeting.name}/versions/azureml_default")
    assert answer.json()["name"] == "1"


@pytest.mark.operation(
    "ComponentContainers_List",
    "ComponentContainers_Get",
    "ComponentContainers_CreateOrUpdate",
    cost="storage",
)
def test_archive_and_restore(client: Any, created: Created) -> None:
    name = created.name("greet", "_")
    client.components.create_or_update(component(name, created))
    assert name in {c.name for c in client.components.list()}
    client.components.archive(name)
    assert name not in {c.name for c in client.components.list()}
    client.components.restore(name)
    assert name in {c.name for c in client.components.list()}


@pytest.mark.operation(
    "CodeVersions_CreateOrGetStartPendingUpload",
    "CodeVersions_CreateOrUpdate",
    "CodeVersions_List",
    cost="storage",
)
def test_the_code_of_a_version_is_fixed(client: Any, created: Created, tmp_path: Path) -> None:
    name = created.name("coded", "_")
    for version in ("one", "two"):
        folder = tmp_path / version
        folder.mkdir()
        (folder / "main.py").write_text(f"print('{created.prefix} {version}')")
    client.components.create_or_update(
        component(name, created, code=str(tmp_path / "one"), command="python main.py")
    )
    with pytest.raises(HttpResponseError) as error:
        client.components.create_or_update(
            component(name, created, code=str(tmp_path / "two"), command="python main.py")
        )
    assert error.value.status_code == 400
    assert 'since field "code" is immutable' in str(error.value)


def test_a_component_that_is_not_there(client: Any, service: Service, created: Created) -> None:
    name = created.name("none", "_")
    with pytest.raises(ResourceNotFoundError):
        client.components.get(name, version="1")
    error = service.send("GET", f"/components/{name}").json()["error"]
    assert (error["code"], error["message"]) == ("UserError", f"Not found component {name}.")
