"""One request that makes each kind of thing, for the tests that kill the emulator meanwhile."""

from dataclasses import dataclass
from typing import Any

from tests.emulator.kill9_support import Life

REGISTRY = "azureml-mine"
SCRIPT = b"""
import os, subprocess, time
def init():
    global child
    child = subprocess.Popen(["sleep", "600"])
def run(raw):
    time.sleep(600 if "slow" in raw else 0)
    return [os.getpid(), child.pid]
"""


@dataclass(frozen=True)
class Kind:
    """How a thing of a name is made (PUT) and looked at (GET), by whatever can `send`."""

    name: str
    path: str
    properties: dict[str, Any]
    extra: dict[str, Any]
    host: str = ""

    def body(self) -> dict[str, Any]:
        return {"properties": self.properties, **self.extra}

    def put(self, life: Any, name: str) -> Any:
        return life.send("PUT", self.path.format(name=name), self.body(), self.host)

    def get(self, life: Any, name: str) -> Any:
        return life.send("GET", self.path.format(name=name), None, self.host)


def job(command: str, **more: Any) -> dict[str, Any]:
    usual = {"jobType": "Command", "experimentName": "killed", "environmentId": "azureml:own:1"}
    return {**usual, "command": command, **more}


def compute(kind: str = "AmlCompute", nodes: int = 1) -> dict[str, Any]:
    scale = {"scaleSettings": {"maxNodeCount": nodes}} if kind == "AmlCompute" else {}
    return {"computeType": kind, "properties": {"vmSize": "Standard_DS3_v2", **scale}}


def deployment(life: Life) -> dict[str, Any]:
    base = life.config.workspace_path
    return {
        "endpointComputeType": "Managed",
        "instanceType": "Standard_DS3_v2",
        "environmentId": f"{base}/environments/own/versions/1",
        "codeConfiguration": {
            "codeId": f"{base}/codes/score/versions/1",
            "scoringScript": "score.py",
        },
    }


def kinds(life: Life) -> list[Kind]:
    """All kinds; a deployment needs the endpoint `stage`, with its code and its environment."""
    config = life.config
    blobs = f"https://{config.blob_host}/{config.blob_container}"
    versions: dict[str, dict[str, Any]] = {
        "data": {"dataType": "uri_file", "dataUri": f"{blobs}/kept.txt"},
        "models": {"modelType": "custom_model", "modelUri": f"{blobs}/kept.txt"},
        "environments": {"image": "example.test/any:1"},
        "codes": {"codeUri": f"{blobs}/score"},
        "components": {
            "componentSpec": {
                "type": "command",
                "command": "true",
                "environment": "azureml:own:1",
            }
        },
    }
    assets = [
        Kind(name, f"/{name}/{{name}}/versions/1", {**properties, "tags": {"a": "b"}}, {})
        for name, properties in versions.items()
    ]
    group = config.workspace_path.partition("/providers/")[0]
    services = f"{group}/providers/Microsoft.MachineLearningServices"
    registry = f"/mferp/managementfrontend{services}/registries/{REGISTRY}"
    shared = Kind(
        "registry environments",
        f"{registry}/environments/{{name}}/versions/1",
        versions["environments"],
        {},
        config.api_host,
    )
    place = {"location": config.location}
    trigger = {"triggerType": "Cron", "expression": "0 0 * * *", "timeZone": "UTC"}
    daily = {"actionType": "CreateJob", "jobDefinition": job("true")}
    return [
        *assets,
        shared,
        Kind("containers", "/data/c{name}", {"dataType": "uri_file", "tags": {"a": "b"}}, {}),
        Kind("workspaces", f"{services}/workspaces/{{name}}", {"friendlyName": "x"}, place),
        Kind("registries", f"{services}/registries/{{name}}", {}, place),
        Kind(
            "datastores",
            "/datastores/{name}",
            {
                "datastoreType": "AzureBlob",
                "accountName": "other",
                "containerName": "data",
                "credentials": {
                    "credentialsType": "AccountKey",
                    "secrets": {"secretsType": "AccountKey", "key": "c2VjcmV0"},
                },
            },
            {},
        ),
        Kind(
            "connections",
            "/connections/{name}",
            {
                "category": "Git",
                "target": "https://example.test/x",
                "authType": "PAT",
                "credentials": {"pat": "secret"},
            },
            {},
        ),
        Kind("onlineEndpoints", "/onlineEndpoints/{name}", {"authMode": "Key"}, place),
        Kind(
            "deployments",
            "/onlineEndpoints/stage/deployments/{name}",
            deployment(life),
            place | {"sku": {"name": "Default", "capacity": 1}},
        ),
        Kind("clusters", "/computes/c{name}", compute(), place),
        Kind("instances", "/computes/i{name}", compute("ComputeInstance"), place),
        Kind("schedules", "/schedules/{name}", {"trigger": trigger, "action": daily}, {}),
        Kind("jobs", "/jobs/{name}", job("true"), {}),
    ]


def stage(life: Life) -> None:
    """What the kinds refer to."""
    assert life.blob("PUT", "score/score.py", SCRIPT, x_ms_blob_type="BlockBlob").status_code == 201
    assert life.blob("PUT", "kept.txt", b"kept", x_ms_blob_type="BlockBlob").status_code == 201
    by_name = {kind.name: kind for kind in kinds(life)}
    for name, of in (
        ("own", "environments"),
        ("score", "codes"),
        ("stage", "onlineEndpoints"),
        (REGISTRY, "registries"),
    ):
        answer = by_name[of].put(life, name)
        assert answer.status_code in (200, 201, 202), answer.text
