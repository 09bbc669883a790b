"""Pipeline jobs: steps that pass folders, in order, as child jobs of their own."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.emulator.compute_support import (
    Workplace,
    literal,
    registry_component,
    workplace,
)

WRITE = """
name: write
version: 1
type: command
environment: azureml:any:1
inputs:
  text: {type: string}
  source: {type: uri_file, optional: true}
outputs:
  folder: {type: uri_folder}
command: >-
  python write.py --text '${{inputs.text}}' $[[--source ${{inputs.source}}]]
  --to ${{outputs.folder}}
"""
WRITE_CODE = """
import argparse, pathlib
p = argparse.ArgumentParser()
p.add_argument("--text"); p.add_argument("--source"); p.add_argument("--to")
a = p.parse_args()
more = pathlib.Path(a.source).read_text() if a.source else ""
(pathlib.Path(a.to) / "text.txt").write_text(a.text + more)
print("wrote", a.text)
"""
UPPER = """
name: upper
version: 1
type: command
environment: azureml:any:1
inputs:
  folder: {type: uri_folder}
outputs:
  result: {type: uri_folder}
command: >-
  tr a-z A-Z < ${{inputs.folder}}/text.txt > ${{outputs.result}}/text.txt
"""
BOTH = """
name: both
version: 1
type: pipeline
inputs:
  text: {type: string, optional: true, default: hello}
  source: {type: uri_file, optional: true}
outputs:
  shouted: {type: uri_folder}
jobs:
  second:
    type: command
    component: azureml:upper:1
    inputs: {folder: '${{parent.jobs.first.outputs.folder}}'}
    outputs: {result: '${{parent.outputs.shouted}}'}
  first:
    type: command
    component: azureml:write:1
    inputs:
      text: 'I say ${{parent.inputs.text}}'
      source: '${{parent.inputs.source}}'
"""
SHELL = """
name: shell
version: 1
type: command
environment: azureml:any:1
inputs:
  script: {type: string}
  after: {type: uri_folder, optional: true}
outputs:
  folder: {type: uri_folder}
command: export TO=${{outputs.folder}}; ${{inputs.script}} $[[; true ${{inputs.after}}]]
"""


def two_steps(place: Workplace) -> None:
    place.component(WRITE, {"write.py": WRITE_CODE})
    place.component(UPPER)
    place.component(BOTH)
    place.component(SHELL)


def node(name: str, outputs: dict[str, Any] | None = None, **inputs: str) -> dict[str, Any]:
    return {
        "type": "command",
        "componentId": registry_component(name),
        "inputs": {key: literal(value) for key, value in inputs.items()},
        "outputs": outputs or {},
    }


def pipeline_job(jobs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "jobType": "Pipeline",
        "displayName": "a pipeline",
        "experimentName": "trials",
        "settings": {"default_compute": "local"},
        "jobs": jobs,
        **more,
    }


def test_a_registry_pipeline_component_passes_a_folder_between_its_steps(tmp_path: Path) -> None:
    async def scenario() -> None:
        two_steps(place)
        inner = node("both", {"shouted": {"value": "${{parent.outputs.model}}", "type": "literal"}})
        inner["inputs"]["source"] = {
            "job_input_type": "uri_file",
            "uri": place.data("in/more.txt", ", world"),
        }
        outputs = {"model": {"jobOutputType": "mlflow_model"}}
        place.submit("ft-1", pipeline_job({"tune": inner}, outputs=outputs))
        run = await place.until("ft-1")

        assert run["status"] == "Completed", run["error"]
        assert place.read("azureml/ft-1/model/text.txt") == "I SAY HELLO, WORLD"
        address = "azureml://datastores/workspaceblobstore/paths/azureml/ft-1/model/"
        assert run["outputs"] == {"model": {"uri": address, "type": "mlflow_model"}}
        group, group_run = place.children("ft-1")["tune"]
        assert group_run["status"] == "Completed"
        steps = place.children(group)
        assert list(steps) == ["first", "second"]
        first, first_run = steps["first"]
        assert place.log(first) == "wrote I say hello\n"
        assert first_run["parent"] == group
        assert first_run["root"] == "ft-1"
        resource = place.store.get(f"{place.config.workspace_path}/jobs/{first}")
        assert resource is not None
        assert resource["properties"]["status"] == "Completed"
        assert resource["properties"]["properties"]["azureml.parentrunid"] == group
        assert resource["properties"]["properties"]["azureml.rootrunid"] == "ft-1"
        tracked = place.tracking.runs
        assert {run["status"] for run in tracked.values()} == {"FINISHED"}
        assert tracked[first]["tags"]["mlflow.rootRunId"] == "ft-1"
        assert tracked[first]["parent"] == group
        log = place.log("ft-1", "logs/azureml/executionlogs.txt")
        assert f"first ({first}): Running" in log
        assert not list(place.jobs.folder.glob("*")), "working copies are removed"

    with workplace(tmp_path) as place:
        asyncio.run(scenario())


def test_independent_steps_run_at_the_same_time_within_the_bound(tmp_path: Path) -> None:
    async def scenario() -> None:
        two_steps(place)
        # Each waits for the other's file: they end only when they run at the same time.
        meet = f"touch {tmp_path}/{{0}}; while [ ! -e {tmp_path}/{{1}} ]; do sleep 0.02; done"
        jobs = {
            "a": node("shell", script=meet.format("a", "b")),
            "b": node("shell", script=meet.format("b", "a")),
        }
        place.submit("pair", pipeline_job(jobs))
        assert (await place.until("pair"))["status"] == "Completed"

    with workplace(tmp_path, cores=2) as place:
        asyncio.run(scenario())


@pytest.mark.parametrize(("cores", "nodes"), [(1, 4), (4, 1)])
def test_no_more_steps_run_than_cores_and_nodes(tmp_path: Path, cores: int, nodes: int) -> None:
    async def scenario() -> None:
        two_steps(place)
        place.cluster("small", nodes)
        # mkdir fails when another step has made the folder and not yet removed it.
        alone = f"mkdir {tmp_path}/only && sleep 0.1 && rmdir {tmp_path}/only"
        jobs = {name: node("shell", script=alone) | {"computeId": "small"} for name in "abc"}
        place.submit("queue", pipeline_job(jobs))
        await place.until("queue", "Running")
        assert (await place.until("queue"))["status"] == "Completed"
        compute = place.store.get(f"{place.config.workspace_path}/computes/small")
        assert compute is not None
        assert compute["properties"]["properties"]["currentNodeCount"] == 0

    with workplace(tmp_path, cores=cores) as place:
        asyncio.run(scenario())


def test_a_failed_step_stops_the_pipeline(tmp_path: Path) -> None:
    async def scenario() -> None:
        two_steps(place)
        jobs = {
            "bad": node("shell", script="sleep 0.3; echo no luck; exit 3"),
            "next": node("shell", script="true", after="${{parent.jobs.bad.outputs.folder}}"),
            "beside": node("shell", script="sleep 60"),
        }
        settings = {"default_compute": "local", "continue_on_step_failure": False}
        place.submit("stop", pipeline_job(jobs, settings=settings))
        run = await place.until("stop")

        assert run["status"] == "Failed"
        assert "Failed nodes: /bad." in run["error"]["message"]
        steps = place.children("stop")
        assert set(steps) == {"bad", "beside"}, "a step whose need failed gets no job"
        bad, bad_run = steps["bad"]
        assert bad_run["status"] == "Failed"
        assert bad_run["error"]["code"] == "UserError"
        assert "exited with status code 3" in bad_run["error"]["message"]
        assert bad_run["error"]["message"].endswith("no luck")
        assert steps["beside"][1]["status"] == "Canceled"
        assert place.tracking.runs[bad]["status"] == "FAILED"

    with workplace(tmp_path) as place:
        asyncio.run(scenario())


def test_the_rest_goes_on_after_a_failure_when_the_settings_say_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        two_steps(place)
        jobs = {
            "bad": node("shell", script="exit 1"),
            "beside": node("shell", script="sleep 0.3; echo here"),
            "last": node("shell", script="true", after="${{parent.jobs.beside.outputs.folder}}"),
        }
        settings = {"default_compute": "local", "continue_on_step_failure": True}
        place.submit("go-on", pipeline_job(jobs, settings=settings))
        run = await place.until("go-on")
        assert run["status"] == "Failed"
        ends = {name: run["status"] for name, (_, run) in place.children("go-on").items()}
        assert ends == {"bad": "Failed", "beside": "Completed", "last": "Completed"}

    with workplace(tmp_path) as place:
        asyncio.run(scenario())


def test_a_path_inside_of_an_output_can_be_bound(tmp_path: Path) -> None:
    async def scenario() -> None:
        two_steps(place)
        reader = node("write", text="read: ")
        reader["inputs"]["source"] = {
            "job_input_type": "uri_file",
            "uri": "${{parent.jobs.writer.outputs.folder}}/text.txt",
        }
        jobs = {"reader": reader, "writer": node("write", text="${{parent.inputs.word}}!")}
        inputs = {"word": {"jobInputType": "literal", "value": "hey"}}
        place.submit("inside", pipeline_job(jobs, inputs=inputs))
        run = await place.until("inside")
        assert run["status"] == "Completed", run
        child, _ = place.children("inside")["reader"]
        assert place.read(f"azureml/{child}/folder/text.txt") == "read: hey!"

    with workplace(tmp_path) as place:
        asyncio.run(scenario())


def test_a_component_of_the_workspace_runs_with_its_uploaded_code(tmp_path: Path) -> None:
    async def scenario() -> None:
        workspace = place.config.workspace_path
        place.data("code/abc/hello.py", "print('from the code')")
        code = f"{workspace}/codes/abc/versions/1"
        url = place.blobs.url(place.config.blob_container, "code/abc")
        place.store.put(code, {"id": code, "properties": {"codeUri": url}})
        component = f"{workspace}/components/mine/versions/1"
        spec = {"name": "mine", "type": "command", "command": "python hello.py", "code": code}
        resource = {"id": component, "properties": {"componentSpec": spec}}
        place.store.put(component, resource)
        jobs = {"only": {"type": "command", "componentId": component, "inputs": {}}}
        place.submit("mine", pipeline_job(jobs))
        run = await place.until("mine")
        assert run["status"] == "Completed", place.children("mine")
        child, _ = place.children("mine")["only"]
        assert place.log(child) == "from the code\n"

    with workplace(tmp_path) as place:
        asyncio.run(scenario())


def test_cancelling_a_pipeline_cancels_its_living_steps(tmp_path: Path) -> None:
    async def scenario() -> None:
        two_steps(place)
        jobs = {
            "done": node("shell", script="true"),
            "one": node("shell", script="sleep 60"),
            "two": node("shell", script="sleep 61"),
            "never": node("shell", script="true", after="${{parent.jobs.one.outputs.folder}}"),
        }
        path = place.submit("many", pipeline_job(jobs))
        async with asyncio.timeout(10):
            while [run["status"] for _, run in place.children("many").values()] != [
                "Completed",
                "Running",
                "Running",
            ]:
                await asyncio.sleep(0.02)
        place.jobs.request_cancel(path)
        statuses = {name: run["status"] for name, (_, run) in place.children("many").items()}
        assert statuses == {"done": "Completed", "one": "CancelRequested", "two": "CancelRequested"}
        await place.jobs.wait(path)
        statuses = {name: run["status"] for name, (_, run) in place.children("many").items()}
        assert statuses == {"done": "Completed", "one": "Canceled", "two": "Canceled"}
        run = place.run("many")
        assert (run["status"], run["error"]) == ("Canceled", None)
        assert place.jobs.processes.items() == []

    with workplace(tmp_path, cores=3) as place:
        asyncio.run(scenario())


def test_a_cancelled_step_counts_as_failed_for_its_pipeline(tmp_path: Path) -> None:
    async def scenario() -> None:
        two_steps(place)
        place.submit("one-step", pipeline_job({"only": node("shell", script="sleep 60")}))
        async with asyncio.timeout(10):
            while not place.children("one-step"):
                await asyncio.sleep(0.02)
        child, _ = place.children("one-step")["only"]
        await place.until(child, "Running")
        await place.jobs.cancel(f"{place.config.workspace_path}/jobs/{child}")
        assert place.run(child)["status"] == "Canceled"
        run = await place.until("one-step")
        assert run["status"] == "Failed"
        assert "Failed nodes: /only." in run["error"]["message"]

    with workplace(tmp_path) as place:
        asyncio.run(scenario())


def test_a_node_has_limits_and_variables_of_its_own(tmp_path: Path) -> None:
    async def scenario() -> None:
        two_steps(place)
        more = {"environment_variables": {"WORD": "mine"}, "limits": {"timeout": 1}}
        jobs = {"slow": node("shell", script="echo $WORD; sleep 60") | more}
        place.submit("limited", pipeline_job(jobs))
        await place.until("limited")
        child, run = place.children("limited")["slow"]
        assert place.log(child) == "mine\n"
        assert run["status"] == "Canceled"
        assert "longer than its limit of 1 seconds" in run["error"]["message"]

    with workplace(tmp_path) as place:
        asyncio.run(scenario())
