"""Environments: named ones of a workspace."""

from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError

from tests.contract.created import Created
from tests.contract.plan import IMAGE
from tests.contract.service import Service

CONDA: dict[str, object] = {
    "name": "small",
    "channels": ["conda-forge"],
    "dependencies": ["python=3.10", "pip"],
}


def _environment(
    client: Any, created: Created, name: str, conda: dict[str, object] | None = None
) -> Any:
    from azure.ai.ml.entities import Environment

    return client.environments.create_or_update(
        Environment(name=name, image=IMAGE, conda_file=conda, tags=created.tags)
    )


@pytest.mark.operation(
    "EnvironmentVersions_CreateOrUpdate",
    "EnvironmentVersions_Get",
    "EnvironmentVersions_List",
    cost="storage",
)
def test_an_environment_comes_back(client: Any, created: Created) -> None:
    name = created.name("env")
    made = _environment(client, created, name, CONDA)
    assert made.version == "1"
    found = client.environments.get(name, version="1")
    assert found.image == IMAGE
    assert found.conda_file["dependencies"] == CONDA["dependencies"]
    assert client.environments.get(name, label="latest").version == "1"
    assert [e.version for e in client.environments.list(name)] == ["1"]


@pytest.mark.operation("EnvironmentContainers_Get", cost="storage")
def test_another_content_is_another_version(client: Any, created: Created) -> None:
    name = created.name("env")
    versions = [_environment(client, created, name, conda).version for conda in (CONDA, None, None)]
    assert versions == ["1", "2", "2"]


@pytest.mark.operation(
    "EnvironmentContainers_List", "EnvironmentContainers_CreateOrUpdate", cost="storage"
)
def test_archive_and_restore(client: Any, created: Created) -> None:
    name = created.name("env")
    _environment(client, created, name)
    assert name in {e.name for e in client.environments.list()}
    client.environments.archive(name)
    assert name not in {e.name for e in client.environments.list()}
    client.environments.restore(name)
    assert name in {e.name for e in client.environments.list()}


@pytest.mark.operation("EnvironmentVersions_CreateOrUpdate", cost="storage")
def test_every_put_of_a_version_says_created(
    client: Any, service: Service, created: Created
) -> None:
    name = created.name("env")
    _environment(client, created, name)
    path = f"/environments/{name}/versions/1"
    resource = service.send("GET", path).json()
    assert resource["properties"]["condaFile"] == ""
    assert resource["properties"]["environmentType"] == "UserCreated"
    answer = service.send("PUT", path, {"properties": resource["properties"]})
    assert answer.status_code == 201


def test_an_environment_that_is_not_there(client: Any, service: Service, created: Created) -> None:
    name = created.name("none")
    with pytest.raises(ResourceNotFoundError):
        client.environments.get(name, version="1")
    error = service.send("GET", f"/environments/{name}").json()["error"]
    assert error["code"] == "UserError"
    assert error["message"].startswith(f"No environment exists for name: {name}")
