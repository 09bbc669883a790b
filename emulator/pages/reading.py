"""What the pages show, read from the store; nothing secret is among it."""

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from emulator.clock import CLOCK
from emulator.pages.graph import Drawing, Node, draw
from emulator.resource_manager.places import workspace_paths
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

LIVE = ("NotStarted", "Queued", "Preparing", "Provisioning", "Starting", "Running", "Finalizing",
        "CancelRequested")  # fmt: skip
SIGNS = {"Completed": "✓", "Succeeded": "✓", "Failed": "✗", "Canceled": "⊘", "Running": "●"}
_SIGNATURE = re.compile(r"([?&](?:sig|token|key|code)=)[^&\s\"']+", re.IGNORECASE)
_SIBLING = re.compile(r"\$\{\{\s*parent\.jobs\.([\w-]+)\.outputs")


def children(emulator: "Emulator", kind: str) -> list[Resource]:
    """The resources of a kind in all workspaces."""
    paths = workspace_paths(emulator)
    return [found for path in paths for found in emulator.store.children(f"{path}/{kind}")]


def find(emulator: "Emulator", kind: str, name: str) -> Resource | None:
    """The resource of a kind with this name, in whichever workspace it is."""
    paths = [f"{path}/{kind}/{name}" for path in workspace_paths(emulator)]
    return next((found for path in paths if (found := emulator.store.get(path))), None)


def workspaces(emulator: "Emulator") -> list[str]:
    """The names of all workspaces, the configured one first."""
    return [path.rpartition("/")[2] for path in workspace_paths(emulator)]


def workspace_of(resource: Resource) -> str:
    """The name of the workspace that a resource is in."""
    return str(resource["id"]).partition("/workspaces/")[2].partition("/")[0]


def jobs(emulator: "Emulator", state: str = "", skip: int = 0, most: int = 50) -> dict[str, Any]:
    """One page of the jobs that are not steps of others, newest first."""
    found = [
        job
        for job in children(emulator, "jobs")
        if "azureml.parentrunid" not in (job["properties"].get("properties") or {})
    ]
    found.reverse()
    found.sort(key=lambda job: str(job["systemData"]["createdAt"]), reverse=True)
    states = sorted({job["properties"]["status"] for job in found})
    wanted = [job for job in found if not state or job["properties"]["status"] == state]
    page = [job_line(emulator, job) for job in wanted[skip : skip + most]]
    return {"jobs": page, "states": states, "total": len(wanted), "skip": skip, "most": most}


def job_line(emulator: "Emulator", job: Resource) -> dict[str, Any]:
    properties = job["properties"]
    run = emulator.store.document("runs").get(job["name"]) or {}
    return {
        "name": job["name"],
        "workspace": workspace_of(job),
        "display": properties.get("displayName") or job["name"],
        "type": properties.get("jobType"),
        "state": properties.get("status"),
        "experiment": properties.get("experimentName"),
        "created": job["systemData"]["createdAt"][:19].replace("T", " "),
        "duration": _duration(run.get("startTimeUtc"), run.get("endTimeUtc")),
    }


def job(emulator: "Emulator", name: str) -> dict[str, Any] | None:
    """All of one job: its line, what went in and out, its graph, its children, its logs."""
    resource = find(emulator, "jobs", name)
    if resource is None:
        return None
    properties = resource["properties"]
    run = emulator.store.document("runs").get(resource["name"]) or {}
    below = _children(emulator, resource["name"])
    error = run.get("error") or {}
    container = emulator.config.artifact_container
    logs = [log for log in run.get("logs", []) if emulator.blobs.get(container, log)]
    prefix = f"ExperimentRun/dcid.{resource['name']}/"
    return {
        **job_line(emulator, resource),
        "command": without_signatures(properties.get("command") or ""),
        "compute": (properties.get("computeId") or "").rpartition("/")[2],
        "environment": properties.get("environmentId"),
        "inputs": _items(properties.get("inputs")),
        "outputs": _items(properties.get("outputs")),
        "tags": properties.get("tags") or {},
        "error": f"{error.get('code')}: {error.get('message')}" if error else None,
        "children": [job_line(emulator, child) for child in below],
        "graph": _graph(properties.get("jobs") or {}, below) if below else None,
        "logs": [log.removeprefix(prefix) for log in logs],
        "live": properties.get("status") in LIVE,
        "parent": run.get("parent"),
    }


def _children(emulator: "Emulator", name: str) -> list[Resource]:
    """The jobs below a job, however deep."""
    found = []
    for child in (emulator.store.document("runs").get(name) or {}).get("children", []):
        resource = find(emulator, "jobs", child)
        if resource is not None:
            found += [resource, *_children(emulator, child)]
    return found


def _graph(jobs: dict[str, Any], children: list[Resource]) -> Drawing:
    """The steps that have a job, and the nodes of the pipeline that have none yet."""
    nodes: dict[str, Node] = {}
    writers: dict[str, str] = {}
    pipelines: dict[str, str] = {}
    for child in children:
        properties = child["properties"]
        own = properties["properties"]
        if properties["jobType"] != "Command":
            pipelines[own.get("azureml.nodepath", "")] = child["name"]
            continue
        key = own["azureml.nodepath"]
        reused = str(own.get("azureml.isreused", "")).lower() == "true"
        nodes[key] = Node(key, properties["status"], child["name"], reused)
        for output in (properties.get("outputs") or {}).values():
            if "/ExperimentRun/" not in output.get("uri", ""):
                writers[output.get("uri", "").rstrip("/")] = key
    for child in children:
        key = child["properties"]["properties"].get("azureml.nodepath", "")
        if key in nodes:
            nodes[key].reads = _read(child, writers) - {key}
    begun = {key.partition("/")[0] for key in nodes}
    for name, node in jobs.items():
        if name not in begun:
            bound = set(_SIBLING.findall(str((node or {}).get("inputs"))))
            reads = {key for key in nodes if key.partition("/")[0] in bound} | bound
            nodes[name] = Node(name, "NotStarted", reads=reads)
    drawing = draw(nodes.values())
    for group in drawing.groups:
        group.job = pipelines.get(group.key)
    return drawing


def _read(child: Resource, writers: dict[str, str]) -> set[str]:
    uris = [str(i.get("uri") or "") for i in (child["properties"].get("inputs") or {}).values()]
    return {key for uri in uris for written, key in writers.items() if uri.startswith(written)}


def _items(given: dict[str, Any] | None) -> list[tuple[str, str, str]]:
    """Name, type and value of inputs or outputs."""
    found = []
    for name, item in (given or {}).items():
        if isinstance(item, dict):
            kind = item.get("jobInputType") or item.get("jobOutputType") or ""
            value = str(item.get("value", item.get("uri")) or "")
            found.append((name, kind, without_signatures(value)))
    return found


def endpoints(emulator: "Emulator") -> list[dict[str, Any]]:
    store, found = emulator.store, []
    for endpoint in children(emulator, "onlineEndpoints"):
        properties = endpoint["properties"]
        deployments = [
            {
                "name": deployment["name"],
                "state": deployment["properties"]["provisioningState"],
                "model": _model(deployment["properties"].get("model")),
                "share": (properties.get("traffic") or {}).get(deployment["name"], 0),
                "mirror": (properties.get("mirrorTraffic") or {}).get(deployment["name"], 0),
                "size": deployment["properties"].get("instanceType"),
            }
            for deployment in store.children(f"{endpoint['id']}/deployments")
        ]
        found.append(
            {
                "name": endpoint["name"],
                "workspace": workspace_of(endpoint),
                "state": properties["provisioningState"],
                "auth": properties["authMode"],
                "uri": properties["scoringUri"],
                "deployments": deployments,
            }
        )
    return found


def _model(model: Any) -> str:
    reference = str(
        (model.get("assetId") or model.get("path")) if isinstance(model, dict) else model
    )
    parts = reference.split("/")
    return f"{parts[-3]}:{parts[-1]}" if len(parts) > 3 and parts[-2] == "versions" else reference


def assets(emulator: "Emulator") -> dict[str, list[dict[str, Any]]]:
    """Names and versions of each kind of asset that the workspaces keep."""
    found = {}
    for kind in ("models", "data", "components", "environments"):
        containers = children(emulator, kind)
        found[kind] = [
            {
                "name": container["name"],
                "workspace": workspace_of(container),
                "versions": [
                    version["name"]
                    for version in emulator.store.children(f"{container['id']}/versions")
                ],
                "archived": bool(container["properties"].get("isArchived")),
            }
            for container in containers
            if not container["name"].startswith("azureml_anonymous")
        ]
    return found


def computes(emulator: "Emulator") -> list[dict[str, Any]]:
    found = []
    for compute in children(emulator, "computes"):
        properties = compute["properties"]
        details = properties.get("properties") or {}
        scale = details.get("scaleSettings") or {}
        found.append(
            {
                "name": compute["name"],
                "workspace": workspace_of(compute),
                "type": properties.get("computeType"),
                "size": details.get("vmSize"),
                "state": details.get("state") or properties.get("provisioningState"),
                "nodes": details.get("currentNodeCount", 1),
                "most": scale.get("maxNodeCount", 1),
            }
        )
    return found


def schedules(emulator: "Emulator") -> list[dict[str, Any]]:
    return [
        {
            "name": schedule["name"],
            "workspace": workspace_of(schedule),
            "next": _next(emulator, schedule),
            "enabled": bool(schedule["properties"].get("isEnabled", True)),
            "trigger": _trigger(schedule["properties"].get("trigger") or {}),
        }
        for schedule in children(emulator, "schedules")
    ]


def _next(emulator: "Emulator", schedule: Resource) -> str:
    """When a schedule fires next, in UTC; nothing for one that does not."""
    due = emulator.alarms.due(str(schedule["id"]).lower())
    return due.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if due else ""


def _trigger(trigger: dict[str, Any]) -> str:
    zone = trigger.get("timeZone") or "UTC"
    if str(trigger.get("triggerType")).lower() == "cron":
        return f"cron {trigger.get('expression')} ({zone})"
    return f"every {trigger.get('interval')} {trigger.get('frequency')} ({zone})"


def counts(emulator: "Emulator") -> dict[str, int]:
    """How many there are of each kind but jobs."""
    kinds = ("models", "data", "components", "computes", "schedules")
    words = {"onlineEndpoints": "endpoints"} | {kind: kind for kind in kinds}
    return {word: len(children(emulator, kind)) for kind, word in words.items()}


def without_signatures(text: str) -> str:
    """Addresses without what would let their reader in."""
    return _SIGNATURE.sub(r"\1...", text)


def _duration(start: str | None, end: str | None) -> str:
    if not start:
        return ""
    last = datetime.fromisoformat(end) if end else CLOCK.now()
    length = last - datetime.fromisoformat(start)
    return str(timedelta(seconds=round(length.total_seconds())))
