"""The quotas of the region by name: what is in use of each, and what it allows."""

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from emulator.http import AzureError
from emulator.resource_manager.places import workspace_paths
from emulator.resource_manager.sizes import SIZES, find_size
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

_VCPU_LIMIT = 500
DEDICATED = "Total Cluster Dedicated Regional vCPUs"
LOW_PRIORITY = "Total Cluster Low Priority Regional vCPUs"
SHARES = "workspaceQuotas"
"""The vCPUs of a family that a workspace may use, by its path and the family's name."""
_LIMITS = {DEDICATED: 2000, LOW_PRIORITY: 1000}


def matching_quotas(pattern: str) -> list[str]:
    """The quotas that a glob names, whatever its case."""
    return [name for name in quota_names() if fnmatchcase(name.lower(), pattern.lower())]


def quota_rows(emulator: "Emulator") -> list[dict[str, Any]]:
    """`family`, `limit` and `used` of each quota, in vCPUs."""
    return [
        {"family": name, "limit": quota(emulator, name), "used": used}
        for name, used in quota_use(emulator).items()
    ]


def quota(emulator: "Emulator", name: str) -> int:
    """The vCPUs that a VM family, or all sizes together, may use in the region."""
    limit: int | None = emulator.store.document("quotas").get(name)
    return _LIMITS.get(name, _VCPU_LIMIT) if limit is None else limit


def quota_names() -> list[str]:
    """Everything that has a quota: the families, and all sizes together."""
    return [*dict.fromkeys(size.family for size in SIZES), DEDICATED, LOW_PRIORITY]


def check_quota(emulator: "Emulator", compute: Resource) -> None:
    """Refuse a compute whose nodes, all of them, exceed what is left of its quotas."""
    path = compute["id"]
    details = compute["properties"]["properties"]
    size = find_size(details["vmSize"])
    if size is None:
        return
    wanted = size.vcpus * _most_nodes(details)
    used = quota_use(emulator, without=path)
    _check_share(emulator, path.partition("/computes/")[0], size.family, wanted, path)
    for name in (LOW_PRIORITY,) if _is_low_priority(details) else (size.family, DEDICATED):
        limit = quota(emulator, name)
        if used[name] + wanted > limit:
            raise AzureError(
                400,
                "ClusterCoreQuotaReached",
                f"Operation results in exceeding quota limits of {spelt(name)}. Maximum allowed: "
                f"{limit}, current in use: {used[name]}, additional requested: {wanted}.",
            )


def _check_share(
    emulator: "Emulator", workspace: str, family: str, wanted: int, compute: str
) -> None:
    """Refuse a compute whose nodes exceed its workspace's share of a family's quota."""
    share: int | None = emulator.store.document(SHARES).get(f"{workspace.lower()}/{family}")
    used = quota_use(emulator, compute, workspace)[family] if share is not None else 0
    if share is not None and used + wanted > share:
        raise AzureError(
            400,
            "ClusterCoreQuotaReached",
            f"Operation results in exceeding quota limits of the workspace for {spelt(family)}. "
            f"Maximum allowed: {share}, current in use: {used}, additional requested: {wanted}.",
        )


def quota_use(emulator: "Emulator", without: str = "", only: str = "") -> dict[str, int]:
    """vCPUs by quota: the nodes that clusters may grow to, and the instances of deployments.

    `without` a compute; `only` those of one workspace.
    """
    used = dict.fromkeys(quota_names(), 0)
    store = emulator.store
    for compute in _below_workspaces(emulator, "computes", only):
        details = compute["properties"]["properties"]
        size = find_size(details["vmSize"])
        failed = compute["properties"]["provisioningState"] == "Failed"
        released = details.get("releaseQuotaOnStop") and details.get("state") == "Stopped"
        other = compute["id"].lower() != without.lower()
        if size is None or failed or released or not other:
            continue
        for name in (LOW_PRIORITY,) if _is_low_priority(details) else (size.family, DEDICATED):
            used[name] += size.vcpus * _most_nodes(details)
    for endpoint in _below_workspaces(emulator, "onlineEndpoints", only):
        for deployment in store.children(endpoint["id"] + "/deployments"):
            size = find_size(deployment["properties"].get("instanceType") or "")
            instances = (deployment.get("sku") or {}).get("capacity") or 1
            for name in (size.family, DEDICATED) if size else ():
                used[name] += size.vcpus * instances if size else 0
    return used


def usages(emulator: "Emulator", subscription: str, location: str) -> list[dict[str, Any]]:
    """What is in use of every quota of a region, as the service lists it."""
    base = f"/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices"
    here = location.lower() == emulator.config.location.lower()
    return [
        {
            "id": f"{base}/locations/{location}/usages/{name.replace(' ', '_')}",
            "amlWorkspaceLocation": location,
            "type": "Microsoft.MachineLearningServices/usages",
            "unit": "Count",
            "currentValue": value if here else 0,
            "limit": quota(emulator, name),
            "name": {"value": name, "localizedValue": spelt(name)},
        }
        for name, value in quota_use(emulator).items()
    ]


def _below_workspaces(emulator: "Emulator", collection: str, only: str = "") -> list[Resource]:
    """The resources of a kind in all workspaces: they share the region's quotas."""
    return [
        resource
        for workspace in ([only] if only else workspace_paths(emulator))
        for resource in emulator.store.children(f"{workspace}/{collection}")
    ]


def _most_nodes(details: dict[str, Any]) -> int:
    nodes: int = (details.get("scaleSettings") or {}).get("maxNodeCount", 1)
    return nodes


def _is_low_priority(details: dict[str, Any]) -> bool:
    return str(details.get("vmPriority", "")).lower() == "lowpriority"


def spelt(name: str) -> str:
    return name if " " in name else f"{name} Cluster Dedicated vCPUs"
