"""The pipeline job of a plan, as the SDK's own entity; nothing here is sent."""

import threading
from typing import Any

from tasks.values import Plan

_DSL = threading.Lock()
"""The SDK keeps the pipeline that is being built in one stack for all threads of a process."""

OUTPUT = "trained_model"
_MODEL_OUTPUT = "mlflow_model_folder"
_COMPUTES = (
    "compute_model_import",
    "compute_preprocess",
    "compute_finetune",
    "compute_model_evaluation",
)
_GPUS = "number_of_gpu_to_use_finetuning"


def build_job(plan: Plan, component: Any, tags: dict[str, str]) -> Any:
    """The pipeline job of the plan around the registry's component; nothing is sent."""
    from azure.ai.ml.dsl import pipeline

    inputs = job_inputs(plan)

    @pipeline()  # type: ignore[call-overload,untyped-decorator]
    def fine_tuning() -> dict[str, Any]:
        chat_completion = component(**inputs)
        return {OUTPUT: chat_completion.outputs[_MODEL_OUTPUT]}

    with _DSL:
        job = fine_tuning()
    job.name = plan.names.job
    job.display_name = plan.names.display_name
    job.experiment_name = plan.names.experiment
    job.tags = dict(tags)
    job.settings.force_rerun = True
    job.settings.continue_on_step_failure = False
    return job


def job_inputs(plan: Plan) -> dict[str, Any]:
    """Inputs of the component by name: model, data, computes, GPUs and training parameters.

    Inputs that this version of the component does not declare are left out.
    """
    from azure.ai.ml import Input
    from azure.ai.ml.constants import AssetTypes

    data = plan.data
    fixed: dict[str, Any] = {
        "mlflow_model_path": Input(type=AssetTypes.MLFLOW_MODEL, path=plan.model.id),
        "train_file_path": Input(type=AssetTypes.URI_FILE, path=data.train.path),
        "test_file_path": Input(type=AssetTypes.URI_FILE, path=data.test.path),
        _GPUS: max(1, plan.cluster_size.gpus),
    }
    fixed |= dict.fromkeys(_COMPUTES, plan.names.cluster)
    chosen = {
        parameter.name: parameter.value
        for parameter in plan.parameters
        if parameter.origin != "component default"
    }
    declared = plan.component.inputs
    return {name: value for name, value in (fixed | chosen).items() if name in declared}
