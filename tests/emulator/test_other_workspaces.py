"""Jobs of a workspace beside the configured one: what they name is looked for in their own."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from emulator.resource_manager import jobs
from emulator.resource_manager.datastores import create_system_datastores
from emulator.resource_manager.resources import envelope
from tests.emulator.compute_support import Workplace, command_job, workplace

if TYPE_CHECKING:
    from emulator.store import Resource


def other_workspace(place: Workplace) -> str:
    """A second workspace with a container of its own; gives its path."""
    path = place.config.workspace_path + "-two"
    body = {"properties": {"workspaceId": "11111111-1111-1111-1111-111111111111"}}
    place.store.put(path, envelope(place.store, path, "workspaces", body))
    place.blobs.create_container("second")
    create_system_datastores(place.config, place.store, path, "second")
    return path


def put(place: Workplace, path: str, resource: "Resource") -> None:
    place.store.put(path, envelope(place.store, path, "x", resource))


def test_a_job_reads_and_writes_in_its_own_workspace(tmp_path: Path) -> None:
    async def scenario() -> None:
        workspace = other_workspace(place)
        place.data("in.txt", "of the first")
        place.blobs.write_bytes("second", "in.txt", b"of the second")
        uri = "azureml://datastores/workspaceblobstore/paths/in.txt"
        put(place, f"{workspace}/data/d/versions/1", {"properties": {"dataUri": uri}})
        put(place, f"{workspace}/environments/any/versions/1", {"properties": {"image": "any"}})
        cluster = {"computeType": "AmlCompute", "properties": {"scaleSettings": {}}}
        put(place, f"{workspace}/computes/only-here", {"properties": cluster})
        job = command_job(
            "cat ${{inputs.a}} ${{inputs.b}} ${{inputs.c}} > ${{outputs.out}}/all.txt; "
            "echo $AZUREML_ARM_WORKSPACE_NAME $AZUREML_WORKSPACE_NAME $AZUREML_WORKSPACE_ID "
            "> ${{outputs.out}}/where.txt",
            computeId="only-here",
            inputs={
                "a": {"jobInputType": "uri_file", "uri": uri},
                "b": {"jobInputType": "uri_file", "uri": "azureml:d:1"},
                "c": {"jobInputType": "uri_file", "uri": f"{workspace}/data/d/versions/1"},
            },
            outputs={"out": {"jobOutputType": "uri_folder", "assetName": "made"}},
        )
        jobs.put(place.as_emulator, f"{workspace}/jobs/there", {"properties": job})
        run = await place.until("there")
        assert run["status"] == "Completed", run["error"]
        written = place.blobs.read_bytes("second", "azureml/there/out/all.txt")
        assert written == b"of the second" * 3
        where = place.blobs.read_bytes("second", "azureml/there/out/where.txt").split()
        assert where == [b"local-two", b"local-two", b"1" * 8 + b"-1111-1111-1111-" + b"1" * 12]
        made = place.store.get(f"{workspace}/data/made/versions/1")
        assert made is not None
        assert "/workspaces/local-two/datastores/" in made["properties"]["dataUri"]
        await place.jobs.stop()

    with workplace(tmp_path) as place:
        asyncio.run(scenario())
