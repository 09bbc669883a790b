"""The environment of a distributed job, which its one process here finds complete.

The local Azure ML runs one process however many are asked for: a world of one.
"""

import json

from emulator.config import free_ports


def variables(kind: str | None) -> dict[str, str]:
    """What a launcher of this kind of distribution sets; nothing without one."""
    match (kind or "").lower():
        case "pytorch":
            (port,) = free_ports(1)
            return {
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "WORLD_SIZE": "1",
                "RANK": "0",
                "LOCAL_RANK": "0",
                "NODE_RANK": "0",
            }
        case "tensorflow":
            (port,) = free_ports(1)
            cluster = {"worker": [f"127.0.0.1:{port}"]}
            task = {"type": "worker", "index": 0}
            return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}
        case "mpi":
            return {
                "OMPI_COMM_WORLD_SIZE": "1",
                "OMPI_COMM_WORLD_RANK": "0",
                "OMPI_COMM_WORLD_LOCAL_SIZE": "1",
                "OMPI_COMM_WORLD_LOCAL_RANK": "0",
            }
    return {}
