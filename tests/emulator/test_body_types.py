"""Bodies with fields of other JSON types: 400 that names the field, whatever the operation."""

import re
from typing import Any

import pytest
import requests

from emulator.body_check import ListOf, MapOf, Shape, wrong_types
from emulator.body_fields import MLFLOW_REGISTRY
from emulator.body_shapes import SHAPES
from emulator.config import load_config
from emulator.identity import MANAGEMENT, Tokens
from tests.emulator.running import RunningEmulator
from tests.emulator.test_fuzz import Unstarted

_WRONG: dict[str, list[Any]] = {
    "text": [5, True, [], {}],
    "boolean": ["x", 1, [], {}],
    "whole": ["1", True, 1.5, [], {}],
    "number": ["1", True, [], {}],
    "scalar": [[], {}],
    "object": ["x", 1, True, []],
    "list": ["x", 1, True, {}],
}


def broken(shape: Shape, where: str = "") -> list[tuple[str, Any]]:
    """Every place in a shape, and a body that is wrong only there."""
    if isinstance(shape, str):
        return [(where, value) for value in _WRONG[shape]]
    if isinstance(shape, ListOf):
        inner = [(place, [value]) for place, value in broken(shape.shape, f"{where}[0]")]
        return [(where, value) for value in _WRONG["list"]] + inner
    parts = {"any": shape.shape} if isinstance(shape, MapOf) else shape.shapes
    found = [(where, value) for value in _WRONG["object"]]
    for key, part in parts.items():
        found += [(p, {key: v}) for p, v in broken(part, f"{where}.{key}" if where else key)]
    return found


def test_each_field_of_each_operation_is_looked_at() -> None:
    cases = 0
    for shape in (*SHAPES.values(), MLFLOW_REGISTRY):
        for where, body in broken(shape):
            (sentence,) = wrong_types(body, shape)
            assert sentence.startswith(f"{where or 'the body'} must be "), sentence
            cases += 1
    assert cases > 3000


def test_nulls_and_unknown_fields_pass() -> None:
    shape = SHAPES["Jobs_CreateOrUpdate"]
    assert not list(wrong_types({"properties": {"command": None, "other": [5]}}, shape))


@pytest.fixture(scope="module")
def headers(emulator: RunningEmulator) -> dict[str, str]:
    config = load_config(emulator.state)
    assert config is not None
    token = Tokens(config).issue(MANAGEMENT[0], config.client_id)
    return {"Authorization": f"Bearer {token}"}


def test_each_operation_refuses_what_no_handler_could_read(
    emulator: RunningEmulator, headers: dict[str, str]
) -> None:
    """Over the wire, one wrong field for each operation, all of them 400 and none 500."""
    application = Unstarted()
    hosts = {
        "management.azure.com": application.management,
        "eastus.api.azureml.ms": application.api,
    }
    asked = set()
    with requests.Session() as session:
        session.headers.update(headers)
        for host, router in hosts.items():
            for operation in router.operations:
                shape = SHAPES.get(operation.name)
                if shape is None:
                    continue
                where, body = next(
                    (w, b) for w, b in reversed(broken(shape)) if w not in ("", "properties")
                )
                path = re.sub(r"\{[^}]+\}", "any", operation.template)
                url = f"https://{host}{path}"
                answer = session.request(operation.method, url, json=body, timeout=20)
                assert answer.status_code == 400, (operation.name, body, answer.text)
                assert f"{where} must be " in answer.json()["error"]["message"]
                asked.add(operation.name)
    assert asked == set(SHAPES)


def test_mlflow_reads_the_refusal_in_its_own_shape(
    emulator: RunningEmulator, headers: dict[str, str]
) -> None:
    config = load_config(emulator.state)
    assert config is not None
    url = (
        f"https://{config.api_host}/mlflow/v2.0{config.workspace_path}"
        "/api/2.0/mlflow/registered-models/create"
    )
    answer = requests.post(url, json={"name": ["x"]}, headers=headers, timeout=20)
    assert answer.status_code == 400
    assert answer.json()["error_code"] == "INVALID_PARAMETER_VALUE"
    assert "name must be text, not a list" in answer.json()["message"]
