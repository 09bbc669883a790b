"""The computes that steps run on: whether they are there, and how many nodes of them work."""

from emulator.compute.plan import Plan
from emulator.compute.records import job_name
from emulator.http import AzureError
from emulator.resource_manager.compute_instances import check_target
from emulator.resource_manager.nodes import record_use
from emulator.store import Store

NO_CLUSTER = frozenset({"local", "serverless"})
"""Computes that need not be created."""


def compute_path(workspace: str, compute: str) -> str:
    """The path of a compute of a workspace, there or not."""
    return f"{workspace}/computes/{compute}"


def check(store: Store, workspace: str, plan: Plan) -> None:
    """Raise AzureError 400 unless every step of a plan has a compute that can run it."""
    for step in plan.steps.values():
        path = compute_path(workspace, step.compute)
        most = nodes(store, path)
        where = f" of job {step.key}" if step.key else ""
        if step.compute not in NO_CLUSTER and most is None:
            raise AzureError(
                400,
                "UserError",
                f"The compute target {step.compute}{where} does not exist in the workspace. "
                "Create it, or use an existing one.",
            )
        if target := store.get(path):
            check_target(target)
        if most is not None and step.command.instances > most:
            raise AzureError(
                400,
                "UserError",
                f"The job{where} asks for {step.command.instances} nodes; the compute target "
                f"{step.compute} has at most {most}.",
            )


def nodes(store: Store, path: str) -> int | None:
    """The most nodes that a compute can have; None for one that is not in the workspace."""
    if job_name(path) in NO_CLUSTER:
        return None
    resource = store.get(path)
    if resource is None:
        return None
    details = resource["properties"].get("properties") or {}
    return int((details.get("scaleSettings") or {}).get("maxNodeCount") or 1)


def show_use(store: Store, path: str, used: int) -> None:
    """Show on a cluster how many of its nodes work."""
    resource = store.get(path)
    if resource is None:
        return
    details = resource["properties"].setdefault("properties", {})
    details["currentNodeCount"] = details["targetNodeCount"] = used
    details.setdefault("nodeStateCounts", {})["runningNodeCount"] = used
    store.put(path, resource)
    record_use(store, path, used)
