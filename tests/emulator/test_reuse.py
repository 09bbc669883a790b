"""Steps of pipelines that are not run again, because an earlier one did the same."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from emulator.resource_manager import jobs
from tests.emulator.compute_support import Workplace, literal, registry_component, workplace
from tests.emulator.test_compute_pipeline import UPPER, node, pipeline_job

COUNT = """
name: count
version: 1
type: command
environment: azureml:any:1
is_deterministic: {deterministic}
inputs:
  source: {{type: uri_file}}
  runs: {{type: string}}
outputs:
  folder: {{type: uri_folder}}
code: code
command: sh count.sh ${{{{inputs.source}}}} ${{{{inputs.runs}}}} ${{{{outputs.folder}}}}
"""
SCRIPT = 'echo run >> "$2"; cp "$1" "$3/text.txt"; echo counted\n'


def counted(place: Workplace, uri: str, **more: Any) -> dict[str, Any]:
    """A pipeline of a step that writes a line to the file `runs`, and one that reads its output."""
    first = node("count", runs=str(place.config.state / "runs.txt"))
    first["inputs"]["source"] = {"job_input_type": "uri_file", "uri": uri}
    second = node(
        "upper",
        {"result": {"value": "${{parent.outputs.shouted}}", "type": "literal"}},
        folder="${{parent.jobs.first.outputs.folder}}",
    )
    outputs = {"shouted": {"jobOutputType": "uri_folder"}}
    return pipeline_job({"first": first, "second": second}, outputs=outputs, **more)


def runs(place: Workplace) -> int:
    return len((place.config.state / "runs.txt").read_text().splitlines())


def child(place: Workplace, pipeline: str, name: str) -> dict[str, Any]:
    job, _ = place.children(pipeline)[name]
    resource = place.store.get(f"{place.config.workspace_path}/jobs/{job}")
    assert resource is not None
    return resource


def scenario(
    state: Path, what: Callable[[Workplace, str], Awaitable[None]], deterministic: str = "true"
) -> None:
    async def main() -> None:
        place.component(COUNT.format(deterministic=deterministic), {"count.sh": SCRIPT})
        place.component(UPPER)
        uri = place.data("in.txt", "quiet")
        await completed(place, "one", counted(place, uri))
        await what(place, uri)
        await place.jobs.stop()

    with workplace(state) as place:
        asyncio.run(main())


async def completed(place: Workplace, name: str, properties: dict[str, Any]) -> None:
    path = f"{place.config.workspace_path}/jobs/{name}"
    jobs.put(place.as_emulator, path, {"properties": properties})
    run = await place.until(name)
    assert run["status"] == "Completed", run["error"]


def test_the_same_steps_are_reused_and_say_so(tmp_path: Path) -> None:
    async def what(place: Workplace, uri: str) -> None:
        again = place.data("elsewhere/copy.txt", "quiet")
        await completed(place, "two", counted(place, again))
        assert runs(place) == 1
        assert place.read("azureml/two/shouted/text.txt") == "QUIET"
        for name in ("first", "second"):
            earlier, reused = child(place, "one", name), child(place, "two", name)
            assert reused["properties"]["status"] == "Completed"
            properties = reused["properties"]["properties"]
            assert properties["azureml.isreused"] == "true"
            assert properties["azureml.reusedrunid"] == earlier["name"]
            assert properties["azureml.reusedpipelinerunid"] == "one"
            assert "azureml.isreused" not in earlier["properties"]["properties"]
        first = child(place, "two", "first")
        written = child(place, "one", "first")["properties"]["outputs"]["folder"]["uri"]
        assert first["properties"]["outputs"]["folder"]["uri"] == written
        assert child(place, "two", "second")["properties"]["inputs"]["folder"]["uri"] == written
        assert place.log(first["name"]) == "counted\n"
        tracked = place.tracking.runs[first["name"]]
        assert (tracked["status"], tracked["parent"]) == ("FINISHED", "two")

    scenario(tmp_path, what)


def test_of_two_nodes_that_do_the_same_one_runs(tmp_path: Path) -> None:
    async def what(place: Workplace, uri: str) -> None:
        job = counted(place, place.data("in.txt", "new"))
        job["jobs"]["third"] = job["jobs"]["first"]
        await completed(place, "two", job)
        assert runs(place) == 2
        first, third = child(place, "two", "first"), child(place, "two", "third")
        marks = [
            step["properties"]["properties"].get("azureml.isreused") for step in (first, third)
        ]
        assert sorted(marks, key=str) == [None, "true"]
        outputs = [step["properties"]["outputs"]["folder"]["uri"] for step in (first, third)]
        assert outputs[0] == outputs[1]

    scenario(tmp_path, what)


def test_changed_content_under_the_same_name_is_not_reused(tmp_path: Path) -> None:
    async def what(place: Workplace, uri: str) -> None:
        place.data("in.txt", "other")
        await completed(place, "two", counted(place, uri))
        assert runs(place) == 2
        assert place.read("azureml/two/shouted/text.txt") == "OTHER"
        place.component(COUNT.format(deterministic="true"), {"count.sh": SCRIPT + "true\n"})
        await completed(place, "three", counted(place, uri))
        assert runs(place) == 3
        assert child(place, "three", "second")["properties"]["properties"][
            "azureml.reusedpipelinerunid"
        ] == ("two"), "the second step has read the same from a first one that ran again"

    scenario(tmp_path, what)


def test_steps_run_again_when_told_to(tmp_path: Path) -> None:
    async def what(place: Workplace, uri: str) -> None:
        settings = {"default_compute": "local", "force_rerun": True}
        await completed(place, "two", counted(place, uri) | {"settings": settings})
        assert runs(place) == 2
        assert "azureml.isreused" not in child(place, "two", "first")["properties"]["properties"]

    scenario(tmp_path, what)


def test_a_step_that_is_not_deterministic_runs_again(tmp_path: Path) -> None:
    async def what(place: Workplace, uri: str) -> None:
        await completed(place, "two", counted(place, uri))
        assert runs(place) == 2
        assert "azureml.isreused" in child(place, "two", "second")["properties"]["properties"]

    scenario(tmp_path, what, deterministic="'False'")


def test_what_was_deleted_is_not_reused(tmp_path: Path) -> None:
    async def what(place: Workplace, uri: str) -> None:
        place.jobs.forget(f"{place.config.workspace_path}/jobs/one")
        await completed(place, "two", counted(place, uri))
        assert runs(place) == 2

    scenario(tmp_path, what)


@pytest.mark.parametrize("overwritten", [False, True])
def test_an_output_at_a_path_of_the_users_own_is_reused_while_it_is_the_same(
    tmp_path: Path, overwritten: bool
) -> None:
    async def what(place: Workplace, uri: str) -> None:
        source = {"job_input_type": "uri_file", "uri": uri}
        first = {
            "type": "command",
            "componentId": registry_component("count"),
            "inputs": {"source": source, "runs": literal(str(tmp_path / "runs.txt"))},
            "outputs": {
                "folder": {
                    "job_output_type": "uri_folder",
                    "uri": "azureml://datastores/workspaceblobstore/paths/mine",
                }
            },
        }
        await completed(place, "two", pipeline_job({"first": first}))
        assert runs(place) == 2, "the output is another one than before"
        if overwritten:
            place.data("mine/text.txt", "by another")
        await completed(place, "three", pipeline_job({"first": first}))
        assert runs(place) == 2 + overwritten
        assert place.read("mine/text.txt") == "quiet"

    scenario(tmp_path, what)
