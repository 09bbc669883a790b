"""Nodes that run under conditions, and again and again; jobs that are a component."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from emulator.compute.graph import make_plan
from emulator.http import AzureError
from tests.emulator.compute_support import Workplace, workplace
from tests.emulator.test_compute_pipeline import node, pipeline_job, two_steps
from tests.emulator.test_jobs import on_the_wire

DECIDE = """
{name: decide, version: 1, type: command, environment: 'azureml:any:1',
 inputs: {word: {type: string}}, outputs: {chosen: {type: boolean, early_available: true}},
 command: 'echo ${{inputs.word}} > ${{outputs.chosen}}'}
"""
COUNT_DOWN = """
name: count_down
version: 1
type: command
environment: azureml:any:1
inputs: {number: {type: integer}, before: {type: uri_folder, optional: true}}
outputs: {number: {type: integer}, more: {type: boolean}, trace: {type: uri_folder}}
command: >-
  n=$((${{inputs.number}} - 1)); echo $n > ${{outputs.number}};
  [ $n -gt 0 ] && echo True > ${{outputs.more}} || echo False > ${{outputs.more}};
  $[[cat ${{inputs.before}}/t > ${{outputs.trace}}/t;]] echo $n >> ${{outputs.trace}}/t
"""
INNER = """
name: inner
version: 1
type: pipeline
inputs: {number: {type: integer}, before: {type: uri_folder, optional: true}}
outputs: {number: {type: integer}, more: {type: boolean}, trace: {type: uri_folder}}
jobs:
  step:
    type: command
    component: azureml:count_down:1
    inputs: {number: '${{parent.inputs.number}}', before: '${{parent.inputs.before}}'}
    outputs:
      number: '${{parent.outputs.number}}'
      more: '${{parent.outputs.more}}'
      trace: '${{parent.outputs.trace}}'
"""
TELL = """
{name: tell, version: 1, type: command, environment: 'azureml:any:1',
 inputs: {number: {type: integer}, trace: {type: uri_folder}},
 command: 'echo ${{inputs.number}}; cat ${{inputs.trace}}/t'}
"""
SAY = """
{name: say, version: 1, type: command, environment: 'azureml:any:1',
 inputs: {word: {type: string}}, command: "echo '${{inputs.word}}'"}
"""
SHOW = """
name: show
version: 1
type: command
environment: azureml:any:1
inputs: {table: {type: mltable, mode: eval_mount}}
command: cd ${{inputs.table}}; for d in *; do echo $d; cat $d/text.txt; echo; done
"""
DECIDED = "${{parent.jobs.decide.outputs.chosen}}"


def block(name: str) -> str:
    return f"${{{{parent.jobs.{name}}}}}"


def if_else(condition: object, **blocks: Any) -> dict[str, Any]:
    return {"type": "if_else", "condition": condition, **blocks}


def components(place: Workplace) -> None:
    two_steps(place)
    for spec in (DECIDE, COUNT_DOWN, INNER, TELL, SAY, SHOW):
        place.component(spec)


def ended(tmp_path: Path, properties: dict[str, Any]) -> dict[str, Any]:
    """The run of a pipeline job after its end; `logs` has what its steps printed, by node."""

    async def scenario(place: Workplace) -> dict[str, Any]:
        components(place)
        place.submit("job", properties)
        run = await place.until("job")
        children = place.children("job")
        logs = {
            name: "\n".join(place.log(child).split())
            for name, (child, of) in children.items()
            if not of["children"]
        }
        return {
            **run,
            "logs": logs,
            "made": [place.run(name)["displayName"] for name in run["children"]],
            "log": place.log("job", "logs/azureml/executionlogs.txt"),
        }

    with workplace(tmp_path) as place:
        return asyncio.run(scenario(place))


def decided(word: str, **more: Any) -> dict[str, Any]:
    """A node `decide` that says the word, two nodes that it chooses from, and one after `no`."""
    return pipeline_job(
        {
            "decide": node("decide", word=word),
            "yes": node("shell", script="echo taken"),
            "no": node("shell", script="echo left"),
            "after": node("shell", script="true", after="${{parent.jobs.no.outputs.folder}}"),
            "choice": if_else(DECIDED, true_block=block("yes"), false_block=[block("no")]),
        },
        **more,
    )


@pytest.mark.parametrize(
    ("word", "made"), [("True", {"decide", "yes"}), ("false", {"decide", "no", "after"})]
)
def test_a_condition_chooses_what_runs(tmp_path: Path, word: str, made: set[str]) -> None:
    run = ended(tmp_path, decided(word))
    assert run["status"] == "Completed", run["error"]
    assert set(run["made"]) == made, "what it leaves out gets no job, nor what reads only that"


def test_a_condition_without_a_boolean_fails_what_waits_for_it(tmp_path: Path) -> None:
    run = ended(tmp_path, decided("perhaps"))
    assert run["status"] == "Failed"
    assert set(run["made"]) == {"decide"}
    assert "yes cannot run: its condition is perhaps, neither true nor false" in run["log"]


@pytest.mark.parametrize("body", ["count_down", "inner"])
def test_a_loop_gives_each_iteration_what_the_one_before_wrote(tmp_path: Path, body: str) -> None:
    loop = {
        "type": "do_while",
        "body": block("body"),
        "condition": "${{parent.jobs.body.outputs.more}}",
        "mapping": {"${{parent.jobs.body.outputs.number}}": ["number"], "trace": "before"},
        "limits": {"max_iteration_count": 9},
    }
    last = node(
        "tell",
        number="${{parent.jobs.body.outputs.number}}",
        trace="${{parent.jobs.body.outputs.trace}}",
    )
    jobs = {"loop": loop, "last": last, "body": node(body, number="3")}
    run = ended(tmp_path, pipeline_job(jobs))
    assert run["status"] == "Completed", run["error"]
    assert run["made"] == ["body", "body", "body", "last"]
    assert run["logs"]["last"] == "0\n2\n1\n0"


def test_a_loop_ends_with_its_last_iteration(tmp_path: Path) -> None:
    loop = {"type": "do_while", "body": block("body"), "condition": True}
    loop |= {"mapping": {"number": "number"}, "limits": {"max_iteration_count": 2}}
    run = ended(tmp_path, pipeline_job({"body": node("count_down", number="9"), "loop": loop}))
    assert run["status"] == "Completed", run["error"]
    assert run["made"] == ["body", "body"]


@pytest.mark.parametrize("dsl", [True, False])
def test_a_body_runs_for_each_item_and_its_outputs_are_gathered(tmp_path: Path, dsl: bool) -> None:
    items = {"a": {"text": "one"}, "b": {"text": "two"}} if dsl else [{"text": "x"}, {"text": "y"}]
    each = {"type": "parallel_for", "body": block("body"), "items": json.dumps(items)}
    jobs = {
        "each": each,
        "body": node("write"),
        "all": node("show", table="${{parent.jobs.each.outputs.folder}}"),
    }
    run = ended(tmp_path, pipeline_job(jobs))
    assert run["status"] == "Completed", run["error"]
    assert sorted(run["made"]) == ["all", "body", "body", "each"]
    places = ("a", "b") if dsl else ("0", "1")
    texts = [item["text"] for item in (items.values() if isinstance(items, dict) else items)]
    assert run["logs"]["all"].split() == [
        part for place, text in zip(places, texts, strict=True) for part in (place, text)
    ]


def test_plain_values_of_all_iterations_are_one_text(tmp_path: Path) -> None:
    items = "${{parent.inputs.words}}"
    words = {"jobInputType": "literal", "value": '[{"word": "True"}, {"word": "False"}]'}
    jobs = {
        "each": {"type": "parallel_for", "body": block("body"), "items": items},
        "body": node("decide"),
        "all": node("say", word="${{parent.jobs.each.outputs.chosen}}"),
    }
    run = ended(tmp_path, pipeline_job(jobs, inputs={"words": words}))
    assert run["status"] == "Completed", run["error"]
    assert run["logs"]["all"].split() == ['["True",', '"False"]']


@pytest.mark.parametrize(
    ("control", "why"),
    [
        (if_else(DECIDED, true_block=block("nobody")), "must name another job"),
        (if_else(DECIDED), "neither a true nor a false block"),
        (if_else(None, true_block=block("yes")), "has no condition"),
        (if_else("${{parent.jobs.yes.outputs.x}}", true_block=block("no")), "does not exist"),
        (if_else(DECIDED, true_block=block("decide")), "cycle"),
        (
            {"type": "do_while", "body": block("yes"), "condition": True, "limits": [3]},
            "limits of job choice must be an object",
        ),
        ({"type": "parallel_for", "body": block("yes"), "items": "[1]"}, "of objects"),
        ({"type": "parallel_for", "body": block("yes")}, "has no items"),
        (
            {"type": "parallel_for", "body": block("yes"), "items": DECIDED},
            "a plain value is needed",
        ),
        ({"type": "do_while", "body": "yes", "condition": True}, "must name another job"),
        (
            {
                "type": "do_while",
                "body": block("yes"),
                "condition": True,
                "mapping": {"${{parent.jobs.no.outputs.folder}}": "after"},
            },
            "which is not of job yes",
        ),
        (
            {
                "type": "do_while",
                "body": block("yes"),
                "condition": True,
                "limits": {"max_iteration_count": 0.5},
            },
            "must be 1 to 1000",
        ),
    ],
)
def test_what_cannot_direct_anything_is_refused(
    tmp_path: Path, control: dict[str, Any], why: str
) -> None:
    with workplace(tmp_path) as place:
        components(place)
        properties = decided("True")
        properties["jobs"]["choice"] = control
        with pytest.raises(AzureError, match=why) as refused:
            make_plan(place.as_emulator, properties)
    assert refused.value.status == 400


def test_a_job_that_is_a_pipeline_component_runs_it(tmp_path: Path) -> None:
    job = pipeline_job(
        {},
        componentId="azureml://registries/azureml/components/both/versions/1",
        inputs={"text": {"jobInputType": "literal", "value": "so"}},
    )

    async def scenario(place: Workplace) -> None:
        components(place)
        place.submit("whole", job)
        run = await place.until("whole")
        assert run["status"] == "Completed", run["error"]
        assert list(place.children("whole")) == ["first", "second"]
        assert place.read("azureml/whole/shouted/text.txt") == "I SAY SO"

    with workplace(tmp_path) as place:
        asyncio.run(scenario(place))


def test_a_condition_comes_back_as_it_was_sent(tmp_path: Path) -> None:
    async def scenario(place: Workplace, client: httpx.AsyncClient, url: str) -> None:
        components(place)
        body = {"properties": decided("True")}
        answer = await client.put(f"{url}/chosen", json=body)
        assert answer.status_code == 201, answer.text
        nodes = answer.json()["properties"]["jobs"]
        assert nodes["choice"] == body["properties"]["jobs"]["choice"]
        assert nodes["decide"]["name"] == "decide"
        assert (await place.until("chosen"))["status"] == "Completed"

    on_the_wire(tmp_path, scenario)
