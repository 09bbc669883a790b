"""Names follow from what is asked, in any order, and Azure takes every one of them."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.config import FinetuneConfig, ParameterValue
from tasks.errors import NameInvalid
from tasks.naming import check_names, chosen_names, name_problems, names, run_key
from tasks.values import FoundationModel, Names, Parameter, PipelineComponent

VALUES: st.SearchStrategy[ParameterValue] = st.one_of(
    st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()
)
COMPONENT = PipelineComponent(id="c", name="c", version="1", inputs={}, outputs=())


def named(
    config: FinetuneConfig | None = None,
    model: str = "Phi-3-mini-4k-instruct",
    parameters: dict[str, ParameterValue] | None = None,
    key: str = "0123456789ab",
) -> Names:
    return names(
        config or FinetuneConfig(),
        FoundationModel(id="m", name=model, version="1", registry="azureml"),
        COMPONENT,
        key,
        [Parameter(name=n, value=v, origin="user") for n, v in (parameters or {}).items()],
    )


@given(st.dictionaries(st.text(min_size=1), VALUES, max_size=8), st.randoms())
def test_the_run_key_ignores_the_order_of_parameters(
    parameters: dict[str, ParameterValue], random: Any
) -> None:
    shuffled = list(parameters.items())
    random.shuffle(shuffled)
    key = run_key("m", "c", "d", parameters)
    assert key == run_key("m", "c", "d", dict(shuffled))
    assert re.fullmatch(r"[0-9a-f]{12}", key)


def test_the_run_key_changes_with_everything_that_changes_the_training() -> None:
    same = run_key("m", "c", "d", {"epochs": 1})
    others = [
        run_key("m2", "c", "d", {"epochs": 1}),
        run_key("m", "c2", "d", {"epochs": 1}),
        run_key("m", "c", "d2", {"epochs": 1}),
        run_key("m", "c", "d", {"epochs": 2}),
        run_key("m", "c", "d", {"epochs": "1"}),
        run_key("m", "c", "d", {}),
    ]
    assert len({same, *others}) == len(others) + 1


def test_the_run_key_is_the_same_in_every_version_of_this_program() -> None:
    # A changed key would train, and bill, again what is trained already.
    assert run_key("model", "component", "data", {"b": 0.5, "a": 1}) == "de9064b49930"


def test_the_seeds_names() -> None:
    made = named(
        parameters={
            "per_device_train_batch_size": 1,
            "gradient_accumulation_steps": 4,
            "number_of_gpu_to_use_finetuning": 2,
            "lr_scheduler_type": "cosine",
            "apply_deepspeed": "true",
            "deepspeed_stage": "2",
            "apply_lora": "true",
            "save_total_limit": 1,
            "max_seq_length": 2048,
        }
    )
    assert made.display_name == (
        "Phi-3-mini-4k-instruct-ultrachat-bs8-cosine-ds2-lora-save_limit1-seqlen2048"
    )
    assert made.model == "Phi-3-mini-4k-instruct-ultrachat-200k"
    assert made.experiment == "chat_completion_Phi-3-mini-4k-instruct"
    assert (made.job, made.endpoint) == ("ft-0123456789ab-1", "ft-0123456789ab")
    assert (made.cluster, made.deployment) == ("gpu-cluster-big", "demo")


def test_what_is_switched_off_is_named_so() -> None:
    assert named().display_name == (
        "Phi-3-mini-4k-instruct-ultrachat-bs1-linear-nods-nolora-save_limit-1-seqlen-1"
    )


def test_another_attempt_shares_no_name_with_the_first() -> None:
    first, second = named(), named(FinetuneConfig(attempt=2))
    assert first.run_key == second.run_key
    assert first.job != second.job
    assert first.model_version != second.model_version
    assert first.endpoint != second.endpoint


MODEL_NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._/ -]{0,80}", fullmatch=True)
DATASET_NAMES = st.from_regex(r"([A-Za-z0-9-]{1,40}/)?[\w.-]{1,96}", fullmatch=True)


@given(MODEL_NAMES, DATASET_NAMES, st.integers(1, 999))
def test_derived_names_are_always_valid(model: str, dataset: str, attempt: int) -> None:
    made = named(FinetuneConfig(dataset={"name": dataset}, attempt=attempt), model)
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{1,30}[A-Za-z0-9]", made.endpoint)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}", made.model)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,29}", made.model_version)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}", made.experiment)
    assert len(made.display_name) <= 255


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"experiment": "e" * 256}, r"experiment name .* has 256 characters; 1 to 255"),
        ({"serving": {"deployment": "1st"}}, r"deployment name '1st'.*a letter first"),
        ({"serving": {"deployment": "demo_1"}}, r"serving\.deployment"),
        ({"compute": {"cluster": "gpu-"}}, r"cluster name 'gpu-'.*compute\.cluster"),
        (
            {"dataset": {"name": "d-" + "d" * 250}},
            r"model name .* characters; 1 to 255.*dataset\.name",
        ),
    ],
)
def test_a_name_that_azure_would_refuse_is_refused_here(config: dict[str, Any], told: str) -> None:
    with pytest.raises(NameInvalid, match=told):
        check_names(named(FinetuneConfig(**config)))


def test_every_bad_name_is_told() -> None:
    config = FinetuneConfig(experiment="a b", serving={"deployment": "1st"})
    told = name_problems(dict(named(config)))
    assert ["experiment" in str(told[0]), "deployment" in str(told[1]), len(told)] == [
        True,
        True,
        2,
    ]
    assert [str(p) for p in name_problems(chosen_names(config))] == [str(p) for p in reversed(told)]
