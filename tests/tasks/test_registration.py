import time

import pytest

from tasks.clients import workspace_client
from tasks.errors import NotFound
from tasks.registration import check_output, model_tags, register_model
from tests.tasks.test_job import plan


def test_the_tags_say_where_the_model_comes_from() -> None:
    made = plan()
    tags = model_tags(made, "ft-1")
    assert tags["base_model"] == made.model.id
    assert tags["data_fingerprint"] == made.data.fingerprint
    assert tags["job"] == "ft-1"


def test_a_job_without_the_output_is_refused_with_the_outputs_it_has(workspace: str) -> None:
    from azure.ai.ml import command

    client = workspace_client(workspace)
    job = command(command="echo hello", environment="azureml:any@latest", compute="local-cpu")
    job.name = f"no-model-{time.time_ns()}"
    job.environment = "azureml://registries/azureml/environments/acft-hf-nlp-gpu/versions/112"
    job.compute = None
    client.jobs.create_or_update(job)
    with pytest.raises(NotFound, match=f"Job {job.name} has no output trained_model; it has"):
        check_output(client, job.name)
    with pytest.raises(NotFound):
        register_model.fn(workspace, plan(), job.name, {})


def test_a_job_that_is_not_there_is_a_clear_error(workspace: str) -> None:
    with pytest.raises(NotFound, match="Reading the outputs of job missing failed"):
        check_output(workspace_client(workspace), "missing")
