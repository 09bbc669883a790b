"""Training parameters: the user wins, nothing undeclared passes, every value has its type."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.config import ParameterValue
from tasks.errors import ParameterError
from tasks.parameters import merge_parameters, range_warnings
from tasks.values import ComponentInput, Parameter, PipelineComponent
from tests.tasks.planning_support import component

DECLARED = component()


def merged(
    user: dict[str, ParameterValue] | None = None,
    model: dict[str, ParameterValue] | None = None,
    run: dict[str, ParameterValue] | None = None,
) -> dict[str, Parameter]:
    used, _ = merge_parameters(user or {}, model or {}, DECLARED, run or {})
    return {parameter.name: parameter for parameter in used}


def refused(**user: ParameterValue) -> str:
    with pytest.raises(ParameterError) as caught:
        merged(user)
    return str(caught.value)


INTEGERS = st.dictionaries(
    st.sampled_from(["num_train_epochs", "lora_r", "warmup_steps", "logging_steps", "seed"]),
    st.integers(1, 10_000),
)


@given(INTEGERS, INTEGERS)
def test_the_users_value_wins_over_the_models_and_the_models_over_the_components(
    user: dict[str, ParameterValue], model: dict[str, ParameterValue]
) -> None:
    for name, parameter in merged(user, model).items():
        if name in user:
            assert (parameter.value, parameter.origin) == (user[name], "user")
        elif name in model:
            assert (parameter.value, parameter.origin) == (model[name], "model default")
        else:
            assert parameter.origin == "component default"
            assert parameter.value == DECLARED.inputs[name].default


def test_what_the_run_decides_wins_over_everything() -> None:
    used = merged(model={"num_nodes_finetune": 4}, run={"num_nodes_finetune": 2})
    assert (used["num_nodes_finetune"].value, used["num_nodes_finetune"].origin) == (2, "run")


def test_defaults_of_the_model_that_the_component_does_not_declare_are_set_aside() -> None:
    used, ignored = merge_parameters(
        {}, {"learning_rate_min": 5e-7, "lora_r": 16, "compute_finetune": "x"}, DECLARED, {}
    )
    assert [item.name for item in ignored] == ["compute_finetune", "learning_rate_min"]
    assert not {"learning_rate_min", "compute_finetune"} & {item.name for item in used}


def test_an_undeclared_parameter_of_the_user_is_refused_with_near_names() -> None:
    assert "learning_rte is no input of the component; did you mean learning_rate" in refused(
        learning_rte=1
    )


@pytest.mark.parametrize(
    "name",
    [
        "mlflow_model_path",
        "train_file_path",
        "compute_finetune",
        "instance_type_finetune",
        "number_of_gpu_to_use_finetuning",
        "task_name",
        "deepspeed",
    ],
)
def test_what_the_flow_decides_cannot_be_set(name: str) -> None:
    assert f"{name} is decided by" in refused(**{name: "x"})
    assert name not in merged()


@pytest.mark.parametrize(
    ("name", "given_value", "value"),
    [
        ("precision", 16, "16"),
        ("precision", 16.0, "16"),
        ("deepspeed_stage", 3, "3"),
        ("apply_lora", True, "true"),
        ("apply_lora", "True", "true"),
        ("num_train_epochs", "3", 3),
        ("num_train_epochs", 3.0, 3),
        ("learning_rate", "5e-6", 5e-6),
        ("lora_dropout", 0, 0.0),
        ("shm_size_finetune", "16g", "16g"),
    ],
)
def test_values_get_the_declared_type(
    name: str, given_value: ParameterValue, value: ParameterValue
) -> None:
    got = merged({name: given_value})[name].value
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("user", "told"),
    [
        ({"num_train_epochs": "many"}, "num_train_epochs = 'many' is not an integer"),
        ({"num_train_epochs": 1.5}, "num_train_epochs = 1.5 is not an integer"),
        ({"num_train_epochs": True}, "num_train_epochs = True is not an integer"),
        ({"num_train_epochs": 0}, "num_train_epochs = 0 is less than 1"),
        ({"learning_rate": "nan"}, "learning_rate = 'nan' is not a number"),
        ({"learning_rate": float("inf")}, "learning_rate = inf is not a number"),
        ({"learning_rate": 0}, "learning_rate = 0 is not greater than 0"),
        ({"precision": 8}, "precision = 8 is not one of 32, 16"),
        ({"lr_scheduler_type": "foo"}, "lr_scheduler_type = 'foo' is not one of linear, cosine"),
        (
            {"apply_deepspeed": True, "auto_find_batch_size": True},
            "auto_find_batch_size does not work with apply_deepspeed",
        ),
        (
            {"apply_deepspeed": True, "deepspeed_stage": 3, "apply_ort": True},
            "apply_ort does not work with deepspeed_stage 3",
        ),
        (
            {"apply_early_stopping": True, "evaluation_strategy": "disable"},
            "apply_early_stopping needs evaluation_strategy epoch or steps, not disable",
        ),
    ],
)
def test_what_the_component_would_refuse_is_refused_before_it_is_paid(
    user: dict[str, Any], told: str
) -> None:
    assert told in refused(**user)


def test_everything_wrong_is_told_at_once() -> None:
    text = refused(lr=1, precision=8, num_train_epochs=0, compute_finetune="x")
    assert all(
        name in text for name in ("lr ", "precision", "num_train_epochs", "compute_finetune")
    )


def test_a_maximum_and_a_boolean_input_are_checked_too() -> None:
    declared = PipelineComponent(
        id="c",
        name="c",
        version="1",
        outputs=(),
        inputs={
            "share": ComponentInput(name="share", type="number", maximum=1),
            "fast": ComponentInput(name="fast", type="boolean"),
        },
    )
    used, _ = merge_parameters({"share": 1, "fast": "TRUE"}, {}, declared, {})
    assert {item.name: item.value for item in used} == {"share": 1.0, "fast": True}
    with pytest.raises(ParameterError, match=r"share = 2 is more than 1.*fast|fast.*share = 2"):
        merge_parameters({"share": 2, "fast": 3}, {}, declared, {})


def test_a_value_outside_of_the_publishers_range_is_a_warning() -> None:
    limits: dict[str, ParameterValue] = {"learning_rate_min": 5e-7, "learning_rate_max": 5e-5}
    (warning,) = range_warnings(list(merged({"learning_rate": 1e-3}).values()), limits)
    assert warning.startswith("learning_rate = 0.001 is outside of 5e-07 to 5e-05")
    assert range_warnings(list(merged({"learning_rate": 5e-5}).values()), limits) == []
