"""Requests that no client would send: each is answered, none breaks the emulator."""

import os
import re
from typing import Any
from urllib.parse import quote

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.application import Application
from emulator.config import load_config
from emulator.core import Emulator
from emulator.identity import MANAGEMENT, Tokens
from tests.emulator.running import RunningEmulator

EXAMPLES = 3000 if os.environ.get("EXHAUSTIVE") else 300
MOST_SECONDS = 20

_WORDS = (
    "subscriptions", "a", "1", "latest", "azureml_default", "default", "azureml", "..", "%2e%2e",
    "a b", "'", '"', "<b>", "ünïcode", "x" * 300, "${{inputs.x}}", "azureml:x:1", "\\", "*", "?",
)  # fmt: skip
_NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
_TEXTS = st.sampled_from(_WORDS) | st.text(max_size=20)
_PLAIN = st.none() | st.booleans() | _NUMBERS | _TEXTS
_KEYS = st.sampled_from(
    (
        "properties", "tags", "identity", "location", "sku", "kind", "jobType", "command", "jobs",
        "inputs", "outputs", "settings", "environmentId", "computeId", "codeId", "type", "value",
        "uri", "jobInputType", "jobOutputType", "component", "componentId", "componentSpec",
        "dataUri", "dataType", "modelUri", "condaFile", "image", "computeType", "vmSize",
        "scaleSettings", "maxNodeCount", "authMode", "traffic", "mirrorTraffic", "model",
        "instanceType", "codeConfiguration", "livenessProbe", "requestSettings", "action",
        "trigger", "actionType", "triggerType", "expression", "isEnabled", "limits", "timeout",
        "resources", "instanceCount", "distribution", "datastoreType", "credentials", "runId",
        "paths", "values", "name", "version", "isArchived", "keyType", "tail", "description",
    )
) | st.text(max_size=8)  # fmt: skip
_JSON = st.recursive(
    _PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=20,
)
_QUERY = st.dictionaries(
    st.sampled_from(
        (
            "api-version",
            "$top",
            "$skip",
            "$orderBy",
            "count",
            "listViewType",
            "hash",
            "tag",
            "path",
            "jobType",
            "properties",
            "stage",
            "$expand",
            "run_id",
            "metric_key",
            "max_results",
        )
    ),
    _TEXTS | st.integers(-5, 10**20).map(str),
    max_size=3,
)

SEEDS: dict[str, dict[str, Any]] = {
    "Jobs_CreateOrUpdate": {
        "properties": {
            "jobType": "Command",
            "command": "true ${{inputs.x}}",
            "environmentId": "azureml:none:1",
            "inputs": {"x": {"jobInputType": "literal", "value": "1"}},
            "outputs": {"y": {"jobOutputType": "uri_folder"}},
            "resources": {"instanceCount": 1},
            "limits": {"jobLimitsType": "Command", "timeout": "PT1M"},
        }
    },
    "DataVersions_CreateOrUpdate": {
        "properties": {
            "dataType": "uri_file",
            "dataUri": "azureml://datastores/workspaceblobstore/paths/a",
            "tags": {"a": "b"},
        }
    },
    "ModelVersions_CreateOrUpdate": {
        "properties": {
            "modelType": "custom_model",
            "modelUri": "azureml://datastores/workspaceblobstore/paths/a",
            "flavors": {},
        }
    },
    "EnvironmentVersions_CreateOrUpdate": {"properties": {"image": "a", "condaFile": "name: x"}},
    "ComponentVersions_CreateOrUpdate": {
        "properties": {
            "componentSpec": {
                "type": "command",
                "command": "true",
                "inputs": {"x": {"type": "integer", "default": 1}},
                "outputs": {"y": {"type": "uri_folder"}},
                "environment": "azureml:none:1",
            }
        }
    },
    "Compute_CreateOrUpdate": {
        "properties": {
            "computeType": "AmlCompute",
            "properties": {
                "vmSize": "Standard_DS3_v2",
                "scaleSettings": {"minNodeCount": 0, "maxNodeCount": 1},
            },
        }
    },
    "OnlineEndpoints_CreateOrUpdate": {
        "location": "eastus",
        "properties": {"authMode": "Key", "traffic": {}, "mirrorTraffic": {}},
    },
    "Schedules_CreateOrUpdate": {
        "properties": {
            "isEnabled": False,
            "action": {"actionType": "CreateJob", "jobDefinition": {"jobType": "Command"}},
            "trigger": {"triggerType": "Cron", "expression": "0 0 * * *", "timeZone": "UTC"},
        }
    },
    "Datastores_CreateOrUpdate": {
        "properties": {
            "datastoreType": "AzureBlob",
            "accountName": "a",
            "containerName": "b",
            "credentials": {"credentialsType": "None"},
        }
    },
}
"""Bodies that do, to be broken in one place."""


class Unstarted(Application):
    """The routers alone, for the list of operations."""

    def __init__(self) -> None:
        super().__init__(object.__new__(Emulator))


@pytest.fixture(scope="module")
def operations() -> list[tuple[str, str, str, str]]:
    """Name, method, host and path template of every operation behind a bearer token."""
    application = Unstarted()
    hosts = {
        "management.azure.com": application.management,
        "eastus.api.azureml.ms": application.api,
    }
    return sorted(
        (operation.name, operation.method, host, operation.template)
        for host, router in hosts.items()
        for operation in router.operations
    )


@pytest.fixture(scope="module")
def session(emulator: RunningEmulator) -> requests.Session:
    config = load_config(emulator.state)
    assert config is not None
    session = requests.Session()
    token = Tokens(config).issue(MANAGEMENT[0], config.client_id)
    session.headers["Authorization"] = f"Bearer {token}"
    return session


def _known(emulator: RunningEmulator) -> dict[str, str]:
    variables = emulator.environment
    return {
        "subscription": variables["AZUREML_SUBSCRIPTION_ID"],
        "resource_group": variables["AZUREML_RESOURCE_GROUP"],
        "workspace": variables["AZUREML_WORKSPACE_NAME"],
    }


@st.composite
def _broken(draw: st.DrawFn, value: Any) -> Any:
    """A body with one thing in it replaced, taken away or added."""
    if isinstance(value, dict) and value and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: draw(_broken(value[key]))}
    if isinstance(value, dict) and draw(st.booleans()):
        return {**value, draw(_KEYS): draw(_JSON)}
    return draw(_JSON)


def test_whatever_is_asked_is_answered(
    emulator: RunningEmulator,
    session: requests.Session,
    operations: list[tuple[str, str, str, str]],
) -> None:
    """No 500, no hang, and errors in the shape that clients read. One example an operation."""
    known = _known(emulator)
    broken: dict[str, str] = {}

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=not os.environ.get("EXHAUSTIVE"),
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def ask(data: st.DataObject) -> None:
        name, method, host, template = data.draw(st.sampled_from(operations))

        def segment(match: re.Match[str]) -> str:
            if match[1] in known and data.draw(st.integers(0, 9)):
                return known[match[1]]
            # Mostly a name that is valid everywhere: what comes after the name is reached.
            text = "fuzz1" if data.draw(st.integers(0, 2)) else data.draw(_TEXTS.filter(bool))
            return quote(text, safe="")

        path = re.sub(r"\{(\w+)(?::path)?\}", segment, template)
        path = path if path.startswith("/") else f"/{path}"  # a scope begins with one
        body = None
        if method in ("PUT", "POST", "PATCH"):
            body = data.draw(_broken(SEEDS[name]) if name in SEEDS else _JSON)
        answer = session.request(
            method,
            f"https://{host}{path}",
            params=data.draw(_QUERY),
            json=body,
            timeout=MOST_SECONDS,
        )
        what = f"{method} {path} {body!r:.600} -> {answer.status_code} {answer.text:.300}"
        if answer.status_code == 500:
            broken[name] = what
        elif answer.status_code >= 400 and "/mlflow/" not in path:
            error = answer.json().get("error") or {}
            if not error.get("code") or not error.get("message"):
                broken[name] = what

    ask()
    assert not broken, "\n".join(broken.values())
