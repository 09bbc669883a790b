"""Plain values that components write: a file for the step, an input's text for the next one."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from emulator.compute.graph import make_plan
from emulator.http import AzureError
from tests.emulator.compute_support import workplace
from tests.emulator.test_compute_pipeline import node, pipeline_job

WRITER = """
name: writer
version: 1
type: command
environment: azureml:any:1
inputs:
  word: {type: string}
outputs:
  count: {type: integer}
  raised: {type: boolean, is_control: true}
command: >-
  echo '${{inputs.word}}' > ${{outputs.count}}; printf True > ${{outputs.raised}}
"""
READER = """
name: reader
version: 1
type: command
environment: azureml:any:1
inputs:
  number: {type: integer}
  flag: {type: boolean, optional: true}
command: echo got ${{inputs.number}} $[[and ${{inputs.flag}}]]
"""
SILENT = """
{name: silent, version: 1, type: command, environment: 'azureml:any:1',
 outputs: {count: {type: integer}}, command: 'true ${{outputs.count}}'}
"""
FOLDER = """
{name: folder, version: 1, type: command, environment: 'azureml:any:1',
 inputs: {source: {type: uri_folder}}, command: 'ls ${{inputs.source}}'}
"""
INNER = """
name: inner
version: 1
type: pipeline
inputs:
  word: {type: string}
outputs:
  count: {type: integer}
jobs:
  count:
    type: command
    component: azureml:writer:1
    inputs: {word: '${{parent.inputs.word}}'}
    outputs: {count: '${{parent.outputs.count}}'}
"""
COUNT = "${{parent.jobs.first.outputs.count}}"


def finished(state: Path, jobs: dict[str, Any]) -> dict[str, Any]:
    """The run of a pipeline that has ended, with those of its steps by name."""

    async def scenario() -> dict[str, Any]:
        for spec in (WRITER, READER, SILENT, FOLDER, INNER):
            place.component(spec)
        place.submit("p", pipeline_job(jobs))
        return await place.until("p")

    with workplace(state) as place:
        run = asyncio.run(scenario())
        for name, child in place.children("p").items():
            resource = place.store.get(f"{place.config.workspace_path}/jobs/{child[0]}")
            run[name] = child[1] | {"resource": resource}
        if run["then"]["status"] == "Completed":
            run["log"] = place.log(place.children("p")["then"][0])
        return run


def test_the_text_that_a_step_writes_is_the_next_steps_input(tmp_path: Path) -> None:
    flag = "${{parent.jobs.first.outputs.raised}}"
    reader = node("reader", number=COUNT, flag=flag)
    run = finished(tmp_path, {"first": node("writer", word="7"), "then": reader})
    assert run["status"] == "Completed", run["error"]
    assert run["log"] == "got 7 and True\n"
    shown = run["then"]["resource"]["properties"]["inputs"]["number"]
    assert shown == {"jobInputType": "literal", "value": "7"}
    assert run["first"]["resource"]["properties"]["outputs"]["count"]["uri"].endswith("/count")


def test_a_plain_value_leaves_a_pipeline_component(tmp_path: Path) -> None:
    inner = node("inner", word="12") | {"type": "pipeline"}
    run = finished(tmp_path, {"first": inner, "then": node("reader", number=COUNT)})
    assert run["status"] == "Completed", run["error"]
    assert run["log"] == "got 12\n"


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (node("writer", word="seven"), "Invalid value 'seven' of input number: it must be of type"),
        (node("silent"), "the job that it comes from wrote no value"),
    ],
)
def test_a_step_fails_on_a_value_that_it_cannot_use(
    tmp_path: Path, first: dict[str, Any], reason: str
) -> None:
    run = finished(tmp_path, {"first": first, "then": node("reader", number=COUNT)})
    assert (run["first"]["status"], run["then"]["status"]) == ("Completed", "Failed")
    assert reason in run["then"]["error"]["message"]


def test_a_plain_value_is_neither_a_folder_nor_part_of_a_text(tmp_path: Path) -> None:
    with workplace(tmp_path) as place:
        for spec in (WRITER, FOLDER):
            place.component(spec)
        for then, reason in (
            (node("folder", source=COUNT), "bound to a plain value of type integer"),
            (node("writer", word=f"{COUNT}0"), "a plain value stands alone"),
        ):
            job = pipeline_job({"first": node("writer", word="7"), "then": then})
            with pytest.raises(AzureError, match=reason):
                make_plan(place.as_emulator, job)
