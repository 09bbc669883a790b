"""Plans of pipelines: what is refused before anything starts, and in which words."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.compute.graph import make_plan
from emulator.compute.order import node_order
from emulator.http import AzureError
from tests.emulator.compute_support import (
    Workplace,
    command_job,
    literal,
    registry_component,
    workplace,
)
from tests.emulator.test_compute_pipeline import node, pipeline_job, two_steps


@pytest.fixture
def place(tmp_path: Path) -> Any:
    with workplace(tmp_path) as place:
        two_steps(place)
        yield place


def refusal(place: Workplace, properties: dict[str, Any]) -> AzureError:
    with pytest.raises(AzureError) as caught:
        place.jobs.validate({"properties": properties})
    return caught.value


def test_steps_come_after_what_they_read(place: Workplace) -> None:
    plan = make_plan(place.as_emulator, pipeline_job({"tune": node("both")}))
    assert list(plan.steps) == ["tune/first", "tune/second"]
    assert [one.step for one in plan.steps["tune/second"].sources] == ["tune/first"]
    assert plan.steps["tune/first"].inputs["source"].value is None


@given(data=st.data())
def test_any_graph_without_a_cycle_is_put_in_order(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 8))
    edges = {
        step: data.draw(st.sets(st.integers(0, step - 1), max_size=3)) if step else set()
        for step in range(size)
    }
    jobs = {}
    for step in data.draw(st.permutations(range(size))):
        inputs = {f"in{need}": _output_of(need) for need in edges[step]}
        jobs[f"s{step}"] = {"type": "command", "componentId": "x", "inputs": inputs}
    order = node_order(jobs)
    assert sorted(order) == sorted(jobs)
    for step, needs in edges.items():
        for need in needs:
            assert order.index(f"s{need}") < order.index(f"s{step}")


def _output_of(step: int) -> dict[str, str]:
    return literal(f"${{{{parent.jobs.s{step}.outputs.o}}}}")


CASES: dict[str, tuple[dict[str, Any], int, str]] = {
    "cycle": (
        {
            "a": node("shell", script="true", after="${{parent.jobs.b.outputs.folder}}"),
            "b": node("shell", script="true", after="${{parent.jobs.a.outputs.folder}}"),
        },
        400,
        "cycle",
    ),
    "unknown job": (
        {"a": node("shell", script="true", after="${{parent.jobs.z.outputs.folder}}")},
        400,
        "job z, which does not exist",
    ),
    "unknown output": (
        {
            "a": node("shell", script="true", after="${{parent.jobs.b.outputs.nothing}}"),
            "b": node("shell", script="true"),
        },
        400,
        "Output nothing of job b does not exist",
    ),
    "unknown input": (
        {"a": node("shell", script="true", more="1")},
        400,
        "input more for component job a does not exist",
    ),
    "missing input": (
        {"a": node("shell")},
        400,
        "required input script for component job a has no value",
    ),
    "invalid expression": (
        {"a": node("shell", script="${{parent.name}}")},
        400,
        "Invalid expression parent.name. Only parent.inputs, parent.jobs",
    ),
    "unknown parent output": (
        {"a": node("shell", {"folder": {"value": "${{parent.outputs.x}}"}}, script="true")},
        400,
        "parent.outputs.x, which does not exist",
    ),
    "unknown own output": (
        {"a": node("shell", {"nothing": {}}, script="true")},
        400,
        "output nothing for component job a does not exist",
    ),
    "unknown component": ({"a": node("nobody")}, 404, "Not found component nobody (version: 1)"),
    "sweep": ({"a": {"type": "sweep", "trial": {}}}, 501, "of type sweep"),
    "import": (
        {"a": {"type": "data_transfer", "componentId": registry_component("import_data_database")}},
        501,
        "of type data_transfer",
    ),
    "no jobs": ({}, 400, "has no jobs"),
    "unknown compute": (
        {"a": node("shell", script="true") | {"computeId": "gpu"}},
        400,
        "compute target gpu of job a does not exist",
    ),
    "time limit": (
        {"a": node("shell", script="true") | {"limits": {"timeout": "soon"}}},
        400,
        "'soon' is not a duration",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_pipeline_that_cannot_run_is_refused(place: Workplace, case: str) -> None:
    jobs, status, words = CASES[case]
    error = refusal(place, pipeline_job(jobs))
    assert (error.status, words in error.message) == (status, True), error.message


NUMBERS = """
name: numbers
version: 1
type: command
environment: azureml:any:1
inputs:
  count: {type: integer, min: 1, max: 9, optional: true}
  rate: {type: number, optional: true}
  flag: {type: boolean, optional: true}
  kind: {type: string, enum: ["2", "3"], optional: true}
command: echo $[[${{inputs.count}}]] $[[${{inputs.rate}}]] $[[${{inputs.flag}}]] $[[${{inputs.kind}}]]
"""  # noqa: E501


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("count", "ten", "must be of type integer"),
        ("count", "0", "the least is 1"),
        ("count", "10", "the most is 9"),
        ("rate", "fast", "must be of type number"),
        ("flag", "yes", "true or false"),
        ("kind", "4", "allowed are 2, 3"),
    ],
)
def test_literals_must_suit_their_type(place: Workplace, name: str, value: str, words: str) -> None:
    place.component(NUMBERS)
    error = refusal(place, pipeline_job({"a": node("numbers", None, **{name: value})}))
    assert error.status == 400
    assert f"Invalid value '{value}' of input {name}" in error.message
    assert words in error.message


@pytest.mark.parametrize(
    ("name", "value"),
    [("count", "3"), ("count", "1.5"), ("rate", "5e-06"), ("flag", "False"), ("kind", "3")],
)
def test_good_literals_pass(place: Workplace, name: str, value: str) -> None:
    place.component(NUMBERS)
    place.jobs.validate({"properties": pipeline_job({"a": node("numbers", None, **{name: value})})})


def test_compute_and_instances_can_be_bound_to_inputs(place: Workplace) -> None:
    place.cluster("big", 2)
    step = node("shell", script="true") | {
        "computeId": "${{parent.inputs.where}}",
        "resources": {"instance_count": "${{parent.inputs.nodes}}"},
    }
    inputs = {
        "where": {"jobInputType": "literal", "value": "big"},
        "nodes": {"jobInputType": "literal", "value": "2"},
    }
    plan = make_plan(place.as_emulator, pipeline_job({"a": step}, inputs=inputs))
    assert plan.steps["a"].compute == "big"
    assert plan.steps["a"].command.instances == 2
    inputs["nodes"]["value"] = "3"
    error = refusal(place, pipeline_job({"a": step}, inputs=inputs))
    assert "asks for 3 nodes" in error.message


def test_undeclared_parameters_of_a_pipeline_function_reach_its_steps(place: Workplace) -> None:
    """The SDK leaves parameters without a type out of a pipeline component's spec."""
    component = f"{place.config.workspace_path}/components/untyped/versions/1"
    inner = {"say": node("shell", script="echo ${{parent.inputs.word}}")}
    spec = {"name": "untyped", "type": "pipeline", "inputs": {}, "jobs": inner}
    place.store.put(component, {"id": component, "properties": {"componentSpec": spec}})
    outer = {"type": "pipeline", "componentId": component, "inputs": {"word": literal("hi")}}
    plan = make_plan(place.as_emulator, pipeline_job({"a": outer}))
    assert "Literal(text='echo hi')" in str(plan.steps["a/say"].inputs["script"].value)


def test_other_kinds_of_jobs_are_not_pretended(place: Workplace) -> None:
    error = refusal(place, {"jobType": "Sweep"})
    assert (error.status, error.code) == (501, "OperationNotSupported")


def test_a_component_without_a_version_is_the_newest(place: Workplace) -> None:
    step = {**node("upper"), "componentId": "azureml://registries/azureml/components/upper"}
    uri = place.data("in/text.txt", "x").rpartition("/")[0]
    step["inputs"] = {"folder": {"job_input_type": "uri_folder", "uri": uri}}
    plan = make_plan(place.as_emulator, pipeline_job({"a": step}))
    assert plan.steps["a"].component == registry_component("upper")


def test_a_command_may_not_refer_to_what_is_not_there(place: Workplace) -> None:
    error = refusal(place, command_job("echo ${{inputs.x}}"))
    assert "refers to inputs.x, which does not exist" in error.message
