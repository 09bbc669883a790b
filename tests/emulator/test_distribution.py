"""What a distributed job finds in its environment: a world of one process."""

import asyncio
import json
from pathlib import Path

from tests.emulator.compute_support import command_job, workplace

KINDS = {"PyTorch": "$RANK/$WORLD_SIZE", "Mpi": "$OMPI_COMM_WORLD_RANK/$OMPI_COMM_WORLD_SIZE"}


def test_the_one_process_is_told_that_it_is_the_first_of_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        for kind, ranks in KINDS.items():
            distribution = {"distributionType": kind, "processCountPerInstance": 2}
            place.submit(kind, command_job(f'echo "{ranks}"', distribution=distribution))
        distribution = {"distributionType": "TensorFlow", "workerCount": 2}
        place.submit("tf", command_job('echo "$TF_CONFIG"', distribution=distribution))
        for name in (*KINDS, "tf"):
            assert (await place.until(name))["status"] == "Completed"
        assert [place.log(kind) for kind in KINDS] == ["0/1\n", "0/1\n"]
        told = json.loads(place.log("tf"))
        assert len(told["cluster"]["worker"]) == 1
        assert told["task"] == {"type": "worker", "index": 0}

    with workplace(tmp_path) as place:
        asyncio.run(scenario())
