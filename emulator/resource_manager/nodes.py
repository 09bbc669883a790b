"""The nodes of clusters and instances: how many work, how many wait, and for how long yet.

A cluster's nodes come when a job needs them and go when they have been idle for its
`nodeIdleTimeBeforeScaleDown`. Nothing runs meanwhile: what is there now follows from when the
jobs came and went.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from emulator.clock import CLOCK
from emulator.compute.durations import seconds
from emulator.store import Resource, Store

if TYPE_CHECKING:
    from emulator.core import Emulator

_KIND = "nodes"
_USUAL_IDLE_SECONDS = 120.0
_FIRST_PORT = 50000


@dataclass(frozen=True)
class Nodes:
    running: int
    idle: int

    @property
    def count(self) -> int:
        return self.running + self.idle


def record_use(store: Store, path: str, used: int) -> None:
    """Record that so many nodes of a compute work now; the others begin to wait."""
    document = store.document(_KIND)
    record = document.get(path.lower()) or {"running": 0, "idle": []}
    resource = store.get(path)
    idle = _alive(record["idle"], resource) if resource else []
    change = used - record["running"]
    now = CLOCK.now().isoformat()
    idle = idle[: max(0, len(idle) - change)] if change > 0 else idle + [now] * -change
    document.put(path.lower(), {"running": used, "idle": idle, "changed": now})


def count_nodes(store: Store, compute: Resource) -> Nodes:
    """The nodes that a compute has now."""
    record = store.document(_KIND).get(compute["id"].lower()) or {"running": 0, "idle": []}
    scale = _scale(compute)
    least, most = scale.get("minNodeCount") or 0, scale.get("maxNodeCount") or 1
    waiting = len(_alive(record["idle"], compute))
    running = int(record["running"])
    return Nodes(running, max(0, min(max(waiting, least - running), most - running)))


def changed_at(store: Store, path: str) -> datetime | None:
    """When a job last came to a compute or left it."""
    record = store.document(_KIND).get(path.lower())
    return datetime.fromisoformat(record["changed"]) if record else None


def node_state(store: Store, compute: Resource) -> dict[str, Any]:
    """What a cluster shows of its nodes."""
    nodes = count_nodes(store, compute)
    return {
        "currentNodeCount": nodes.count,
        "targetNodeCount": nodes.count,
        "nodeStateCounts": {
            "idleNodeCount": nodes.idle,
            "runningNodeCount": nodes.running,
            "preparingNodeCount": 0,
            "unusableNodeCount": 0,
            "leavingNodeCount": 0,
            "preemptedNodeCount": 0,
        },
    }


def list_nodes(emulator: "Emulator", compute: Resource) -> list[dict[str, Any]]:
    """A cluster's nodes, as the service lists them: first those that work, with their jobs."""
    nodes = count_nodes(emulator.store, compute)
    jobs = _jobs_on(emulator, compute["id"])
    return [
        {
            "nodeId": _node_id(compute["id"], i),
            "privateIpAddress": f"10.0.0.{4 + i}",
            "publicIpAddress": None,
            "port": _FIRST_PORT + i,
            "nodeState": "running" if i < nodes.running else "idle",
            "runId": jobs[i] if i < min(nodes.running, len(jobs)) else None,
        }
        for i in range(nodes.count)
    ]


def forget(store: Store, path: str) -> None:
    """Forget the nodes of a deleted compute."""
    store.document(_KIND).delete(path.lower())


def release_all(store: Store) -> None:
    """After a restart no node works: what ran was ended with the emulator."""
    for path, record in store.document(_KIND).items():
        if record["running"]:
            record_use(store, path, 0)


def _node_id(path: str, number: int) -> str:
    return f"tvmps_{hashlib.sha256(f'{path}/{number}'.encode()).hexdigest()}_d"


def _jobs_on(emulator: "Emulator", path: str) -> list[str]:
    """The jobs that run on a compute, once for each of their nodes."""
    workspace, _, name = path.rpartition("/computes/")
    found = []
    for job, run in emulator.jobs.records.living():
        resource = emulator.store.get(f"{workspace}/jobs/{job}")
        properties = resource["properties"] if resource else {}
        target = str(properties.get("computeId") or "").rpartition("/")[2]
        if run["status"] == "Running" and target.lower() == name.lower():
            instances = (properties.get("resources") or {}).get("instanceCount") or 1
            found += [job] * int(instances)
    return found


def _alive(idle: list[str], compute: Resource) -> list[str]:
    """Of the times since when nodes wait, those of nodes that are still there."""
    longest = seconds(_scale(compute).get("nodeIdleTimeBeforeScaleDown"))
    limit = timedelta(seconds=_USUAL_IDLE_SECONDS if longest is None else longest)
    now = CLOCK.now()
    # Turned back, the clock may show a time before the node began to wait.
    return [time for time in idle if now < datetime.fromisoformat(time) + limit]


def _scale(compute: Resource) -> dict[str, Any]:
    details = compute["properties"].get("properties") or {}
    scale: dict[str, Any] = details.get("scaleSettings") or {}
    return scale
