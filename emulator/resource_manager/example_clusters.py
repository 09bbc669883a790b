"""The clusters that Microsoft's examples take for granted in a workspace."""

from typing import TYPE_CHECKING

from emulator.resource_manager.clusters import KIND
from emulator.resource_manager.computes import describe_compute

if TYPE_CHECKING:
    from emulator.core import Emulator

_SIZES = {"cpu-cluster": "Standard_DS3_v2", "gpu-cluster": "Standard_NC6s_v3"}
_NODES = 4


def create(emulator: "Emulator") -> None:
    """Put them into the configured workspace, when it is new. They have no nodes without a job."""
    for name, size in _SIZES.items():
        path = f"{emulator.config.workspace_path}/computes/{name}"
        scale = {"minNodeCount": 0, "maxNodeCount": _NODES, "nodeIdleTimeBeforeScaleDown": "PT120S"}
        details = {"vmSize": size, "vmPriority": "Dedicated", "scaleSettings": scale}
        body = {"properties": {"computeType": KIND, "properties": details}}
        cluster = describe_compute(emulator, path, body)
        cluster["properties"]["provisioningState"] = "Succeeded"
        emulator.store.put(path, cluster)
