"""Expressions: what commands and bindings mean, for any text."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.compute.durations import seconds
from emulator.compute.expressions import (
    ExpressionError,
    ParentInput,
    ParentOutput,
    SiblingOutput,
    bindings,
    command_references,
    fill_path,
    render,
)

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True)
PLAIN = st.text(alphabet=st.characters(exclude_characters="$"), max_size=30)


def test_a_command_gets_its_values_and_drops_groups_without_one() -> None:
    command = (
        "python a.py $[[--lora '${{inputs.lora}}']] $[[--ds ${{inputs.ds}}]] "
        "--out '${{outputs.model}}'"
    )
    values = {"inputs.lora": "true", "inputs.ds": None, "outputs.model": "/tmp/m"}
    assert render(command, values) == "python a.py --lora 'true'  --out '/tmp/m'"


def test_a_group_is_dropped_when_any_of_its_inputs_is_absent() -> None:
    command = "x $[[--a ${{inputs.a}} --b ${{inputs.b}}]] y"
    assert render(command, {"inputs.a": "1", "inputs.b": None}) == "x  y"
    assert render(command, {"inputs.a": "1", "inputs.b": ""}) == "x --a 1 --b  y"


def test_spaces_inside_the_braces_do_not_matter() -> None:
    assert render("${{ inputs.a }}", {"inputs.a": "1"}) == "1"


def test_a_reference_without_a_value_outside_of_a_group_names_itself() -> None:
    with pytest.raises(ExpressionError, match=r"inputs\.a, which has no value"):
        render("run ${{inputs.a}}", {"inputs.a": None})


@pytest.mark.parametrize("expression", ["parent.inputs.a", "search_space.lr", "inputs", "a b"])
def test_commands_refer_to_their_own_inputs_and_outputs_only(expression: str) -> None:
    with pytest.raises(ExpressionError, match="in a command"):
        command_references(f"run ${{{{{expression}}}}}")


def test_references_tell_the_optional_from_the_needed() -> None:
    command = "a ${{inputs.x}} $[[${{inputs.x}} ${{inputs.y}}]] ${{outputs.z}}"
    assert command_references(command) == ({"inputs.x", "outputs.z"}, {"inputs.y"})


@given(value=st.text(max_size=40))
def test_a_value_is_never_read_as_an_expression(value: str) -> None:
    assert render("<${{inputs.x}}>$[[${{inputs.x}}]]", {"inputs.x": value}) == f"<{value}>{value}"


@given(text=PLAIN)
def test_text_without_expressions_stays_as_it_is(text: str) -> None:
    assert render(text, {}) == text
    assert bindings(text) == ([text] if text else [])


@given(before=PLAIN, name=NAMES, middle=PLAIN, node=NAMES, output=NAMES)
def test_bindings_are_found_in_place(
    before: str, name: str, middle: str, node: str, output: str
) -> None:
    text = (
        f"{before}${{{{parent.inputs.{name}}}}}{middle}${{{{parent.jobs.{node}.outputs.{output}}}}}"
    )
    parts = [before, ParentInput(name), middle, SiblingOutput(node, output)]
    assert bindings(text) == [part for part in parts if part != ""]


def test_a_parent_output_is_a_binding() -> None:
    assert bindings("${{parent.outputs.model}}") == [ParentOutput("model")]


def test_a_parameter_of_a_group_has_a_dotted_name() -> None:
    assert bindings("${{parent.inputs.options.rate}}") == [ParentInput("options.rate")]


@pytest.mark.parametrize(
    "expression", ["parent.name", "inputs.a", "parent.jobs.a.inputs.b", "jobs.a.outputs.b", ""]
)
def test_what_is_no_binding_is_refused_in_the_services_words(expression: str) -> None:
    with pytest.raises(ExpressionError, match=r"Only parent\.inputs, parent\.jobs"):
        bindings(f"x ${{{{{expression}}}}}")


def test_an_outputs_path_knows_the_jobs_name() -> None:
    path = "azureml://datastores/${{default_datastore}}/paths/my/${{name}}/${{output_name}}"
    assert fill_path(path, "j1", "model", "store") == "azureml://datastores/store/paths/my/j1/model"
    with pytest.raises(ExpressionError, match="user"):
        fill_path("x/${{user}}", "j1", "model", "store")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PT30S", 30),
        ("PT1H2M3.5S", 3723.5),
        ("P1D", 86400),
        ("P1DT1S", 86401),
        (5, 5),
        ("90", 90),
        (None, None),
        ("", None),
    ],
)
def test_durations(text: object, expected: float | None) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["P", "PT", "soon", "-PT3S"])
def test_what_is_no_duration_says_so(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        seconds(text)


@pytest.mark.parametrize(
    "text", ["${{" * 60_000, "$[[" * 60_000, "}}" + "${{" * 60_000, "{" * 99_999]
)
def test_a_long_text_of_beginnings_is_read_at_once(text: str) -> None:
    began = time.process_time()
    assert bindings(text) == [text]
    assert command_references(text) == (set(), set())
    assert render(text, {}) == text
    assert time.process_time() - began < 1
