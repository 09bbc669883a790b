"""Run history: details and logs of jobs, their outputs, their steps, and what can be changed."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import HttpResponseError

from tests.contract.service import Service
from tests.emulator.wire_support import ok, service

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

__all__ = ["service"]

IMAGE = "python:3.11"
WORDS = "echo first line; mkdir -p ${{outputs.words}}; echo written > ${{outputs.words}}/w.txt"


def run_command(client: "MLClient", text: str, **options: Any) -> Any:
    """A command job that has ended."""
    from azure.ai.ml import command
    from azure.ai.ml.entities import Environment

    job = client.jobs.create_or_update(
        command(command=text, environment=Environment(image=IMAGE), compute="cpu", **options)
    )
    deadline = time.monotonic() + 90
    while client.jobs.get(job.name).status not in ("Completed", "Failed", "Canceled"):
        assert time.monotonic() < deadline, client.jobs.get(job.name).status
        time.sleep(0.2)
    return client.jobs.get(job.name)


@pytest.fixture(scope="module")
def compute(ml_client: "MLClient") -> None:
    from azure.ai.ml.entities import AmlCompute

    ml_client.compute.begin_create_or_update(
        AmlCompute(name="cpu", size="STANDARD_DS3_V2", min_instances=0, max_instances=2)
    ).result()


@pytest.fixture(scope="module")
def finished(ml_client: "MLClient", compute: None) -> Any:
    """A command job with one output, Completed."""
    from azure.ai.ml import Output

    job = run_command(
        ml_client,
        WORDS,
        outputs={"words": Output(type="mlflow_model")},
        display_name="words",
        experiment_name="history",
        tags={"kept": "yes"},
    )
    assert job.status == "Completed"
    return job


def runs(client: "MLClient") -> Any:
    return client.jobs._runs_operations


def test_details_tell_the_run_and_sign_its_logs(ml_client: "MLClient", finished: Any) -> None:
    import requests

    details = runs(ml_client).get_run_details(finished.name)
    assert (details.status, details.run_id) == ("Completed", finished.name)
    assert details.root_run_id == finished.name
    assert details.parent_run_id is None
    assert details.error is None
    assert details.start_time_utc <= details.end_time_utc
    log = requests.get(details.log_files["user_logs/std_log.txt"], timeout=10)
    assert log.status_code == 200
    assert "first line" in log.text


def test_a_job_whose_program_reads_a_synthetic_table_says_so(
    ml_client: "MLClient", compute: None
) -> None:
    import requests

    url = "https://azuremlexamples.blob.core.windows.net/datasets/titanic.csv"
    job = run_command(ml_client, f"python -c 'import requests; requests.get(\"{url}\")'")
    assert job.status == "Completed"
    details = runs(ml_client).get_run_details(job.name)
    log = requests.get(details.log_files["user_logs/std_log.txt"], timeout=10)
    assert log.text.startswith("While this job ran, somebody read: SYNTHETIC DATA: " + url)


def test_a_failed_run_tells_its_error(ml_client: "MLClient", compute: None) -> None:
    from azure.ai.ml.exceptions import JobException

    job = run_command(ml_client, "echo it breaks >&2; exit 3")
    details = runs(ml_client).get_run_details(job.name)
    assert details.status == "Failed"
    assert details.error.error.code
    assert details.error.error.message
    with pytest.raises(JobException, match=details.error.error.code):
        ml_client.jobs.stream(job.name)


def test_outputs_and_logs_are_downloaded(
    ml_client: "MLClient", finished: Any, tmp_path: Path
) -> None:
    ml_client.jobs.download(finished.name, download_path=tmp_path, all=True)
    assert (tmp_path / "named-outputs" / "words" / "w.txt").read_text() == "written\n"
    log = tmp_path / "artifacts" / "user_logs" / "std_log.txt"
    assert "first line" in log.read_text()


def test_names_tags_and_descriptions_change_everywhere(
    ml_client: "MLClient", finished: Any
) -> None:
    import mlflow

    changed = ml_client.jobs.update(
        finished.name, display_name="better words", description="why", tags={"new": "tag"}
    )
    assert (changed.display_name, changed.description) == ("better words", "why")
    assert changed.tags == {"kept": "yes", "new": "tag"}
    assert changed.status == "Completed"
    run = runs(ml_client).get_run(finished.name)
    assert (run.display_name, run.tags) == ("better words", changed.tags)
    workspace = ml_client.workspaces.get(ml_client.workspace_name)
    assert workspace is not None
    tracked = mlflow.MlflowClient(str(workspace.mlflow_tracking_uri)).get_run(finished.name)
    assert tracked.info.run_name == "better words"
    assert tracked.data.tags["new"] == "tag"


def test_an_archived_job_leaves_the_list_and_comes_back(
    ml_client: "MLClient", finished: Any
) -> None:
    def listed() -> bool:
        return finished.name in [job.name for job in ml_client.jobs.list()]

    assert listed()
    ml_client.jobs.archive(finished.name)
    assert not listed()
    ml_client.jobs.restore(finished.name)
    assert listed()


def test_a_status_cannot_be_written(ml_client: "MLClient", finished: Any) -> None:
    from azure.ai.ml._restclient.runhistory.models import CreateRun

    with pytest.raises(HttpResponseError, match="cannot change status"):
        runs(ml_client)._operation.add_or_modify_by_experiment_name(
            subscription_id=ml_client.subscription_id,
            resource_group_name=ml_client.resource_group_name,
            workspace_name=ml_client.workspace_name,
            experiment_name="history",
            run_id=finished.name,
            body=CreateRun(status="Failed"),
        )


def test_the_steps_of_a_pipeline_are_its_children(
    ml_client: "MLClient", compute: None, tmp_path: Path
) -> None:
    from azure.ai.ml import command, dsl
    from azure.ai.ml.entities import Environment

    image = Environment(image=IMAGE)
    code = tmp_path / "code"
    code.mkdir()
    (code / "say.sh").write_text("echo step\n")
    line = "bash say.sh"
    say = command(name="say", command=line, code=str(code), environment=image, compute="cpu")

    @dsl.pipeline
    def two() -> None:
        say().name = "left"
        say().name = "right"

    job = ml_client.jobs.create_or_update(two(), experiment_name="history")
    ml_client.jobs.stream(job.name)
    children = list(ml_client.jobs.list(parent_job_name=job.name))
    assert sorted(child.display_name for child in children) == ["left", "right"]
    assert {child.status for child in children} == {"Completed"}
    details = runs(ml_client).get_run_details(children[0].name)
    assert (details.parent_run_id, details.root_run_id) == (job.name, job.name)
    step = ml_client.jobs.get(children[0].name)
    assert (step.display_name, step.status) == (children[0].display_name, "Completed")
    assert (step.type, step.compute) == ("command", "cpu")
    ml_client.jobs.download(step.name, download_path=tmp_path / "logs")
    (log,) = (tmp_path / "logs").rglob("std_log.txt")
    assert log.read_text().endswith("step\n")


def test_an_mlflow_run_without_a_job_has_a_history(ml_client: "MLClient") -> None:
    import mlflow

    workspace = ml_client.workspaces.get(ml_client.workspace_name)
    assert workspace is not None
    client = mlflow.MlflowClient(str(workspace.mlflow_tracking_uri))
    run_id = client.create_run(client.create_experiment("by hand")).info.run_id
    assert runs(ml_client).get_run_details(run_id).status == "Running"
    client.set_terminated(run_id, "FAILED")
    assert runs(ml_client).get_run_details(run_id).status == "Failed"


def asked(ask: Callable[[], Any]) -> str:
    with pytest.raises(HttpResponseError) as error:
        ask()
    assert error.value.status_code == 404
    return str(error.value)


def test_what_is_not_there_is_a_404_that_names_it(ml_client: "MLClient", finished: Any) -> None:
    assert "Run nobody" in asked(lambda: runs(ml_client).get_run_details("nobody"))
    uris = ml_client.jobs._dataset_dataplane_operations
    data = runs(ml_client).get_run_data(finished.name).run_metadata.outputs["words"]
    missing = data.asset_id.replace("words", "nothing")
    assert "nothing" in asked(lambda: uris.get_batch_dataset_uris([missing]))
    found: Any = uris.get_batch_dataset_uris([data.asset_id]).values_property
    assert found[data.asset_id].uri.endswith(f"/paths/azureml/{finished.name}/words/")


def test_a_run_has_every_field(finished: Any, service: Service) -> None:
    both = (
        "compute computeDuration computeRequest createdBy duration effectiveStartTimeUtc "
        "endTimeUtc error inputDatasets inputs lastModifiedBy lastModifiedUtc outputDatasets "
        "outputs "
        "parameters parentRunId parentRunUuid properties revision rootRunId rootRunUuid "
        "runDefinition runId runNumber runTypeV2 runUuid services settings startTimeUtc status "
        "tags target userId warnings"
    )
    run = (
        "cancelUri createdUtc dataContainerId description displayName experimentId hidden "
        "jobSpecification name queueingInfo runType scriptName token tokenExpiryTimeUtc"
    )
    history = f"{service.data_plane('history')}"
    asked = {"runId": finished.name, "selectRunMetadata": True}
    data = ok(service.send("POST", f"{history}/rundata", asked))
    assert set(data) >= {"runMetadata", "runDefinition", "jobSpecification"}
    assert set(f"{both} {run}".split()) - set(data["runMetadata"]) == set()
    details = ok(service.send("GET", f"{history}/runs/{finished.name}/details"))
    assert set(f"{both} createdTimeUtc logFiles".split()) - set(details) == set()
    assert details["createdBy"]["userName"]
    assert set(details["services"]["Studio"]) >= {"endpoint", "port", "status", "type"}
