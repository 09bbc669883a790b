from pathlib import Path
from typing import Any

import pytest

from tasks.config import FinetuneConfig
from tasks.job import job_phase
from tasks.pipeline_job import build_job, job_inputs
from tasks.plan import check_plan
from tasks.values import Phase, Plan
from tests.tasks.planning_support import A100, TODAY, found, registry_client


def plan(size: str = A100, **settings: Any) -> Plan:
    chosen = {"model": {"accept_retired": True}, "compute": {"size": size}, **settings}
    config = FinetuneConfig.model_validate(chosen)
    return check_plan(config, found("Phi-3-mini-4k-instruct"), TODAY)


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("NotStarted", Phase.QUEUED),
        ("Queued", Phase.QUEUED),
        ("Preparing", Phase.QUEUED),
        ("Running", Phase.RUNNING),
        ("Finalizing", Phase.RUNNING),
        ("CancelRequested", Phase.RUNNING),
        ("NotResponding", Phase.RUNNING),
        ("Completed", Phase.SUCCEEDED),
        ("Failed", Phase.FAILED),
        ("Canceled", Phase.CANCELLED),
        ("SomethingNew", Phase.RUNNING),
    ],
)
def test_every_status_has_a_phase(status: str, phase: Phase) -> None:
    assert job_phase(status) is phase


def test_the_inputs_are_model_data_computes_gpus_and_parameters() -> None:
    inputs = job_inputs(plan("Standard_NC48ads_A100_v4", parameters={"learning_rate": 1e-4}))
    assert inputs["mlflow_model_path"].path.startswith("azureml://registries/azureml/models/")
    assert inputs["train_file_path"].path == "train_sft.jsonl"
    assert inputs["test_file_path"].path == "test_sft.jsonl"
    assert {inputs[name] for name in inputs if name.startswith("compute_")} == {"gpu-cluster-big"}
    assert sum(name.startswith("compute_") for name in inputs) == 4
    assert inputs["number_of_gpu_to_use_finetuning"] == 2
    assert inputs["learning_rate"] == 1e-4
    assert inputs["apply_lora"] == "true"  # the model's default
    assert "adam_beta1" not in inputs  # the component's default: it is not sent


def test_inputs_that_the_component_lacks_are_left_out() -> None:
    whole = plan()
    inputs = {k: v for k, v in whole.component.inputs.items() if k != "compute_model_evaluation"}
    fewer = whole.component.model_copy(update={"inputs": inputs})
    assert "compute_model_evaluation" not in job_inputs(
        whole.model_copy(update={"component": fewer})
    )


def test_the_job_carries_the_plans_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = plan()
    entity = registry_client().components.get("chat_completion_pipeline", label="latest")
    job = build_job(made, entity, {"run_key": made.names.run_key})
    assert job.name == made.names.job
    assert job.display_name == made.names.display_name
    assert job.experiment_name == made.names.experiment
    assert job.tags == {"run_key": made.names.run_key}
    assert job.settings.force_rerun is True
    assert job.settings.continue_on_step_failure is False
    assert list(job.outputs) == ["trained_model"]
    (step,) = job.jobs.values()
    assert step.component.name == "chat_completion_pipeline"
