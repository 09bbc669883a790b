"""Pipelines of the DSL: inline and registered components, failure, children."""

from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from tests.contract.created import Created
from tests.contract.jobs_support import command_job, ended, pipeline
from tests.contract.service import Service, inner_codes


def _step(created: Created, environment: str, name: str, line: str) -> Any:
    """A component that was registered nowhere: inputs `word` and `from_`, an output `to`."""
    from azure.ai.ml import Input, Output, command

    return command(
        name=f"{created.prefix}_{name}",
        command=line,
        environment=environment,
        inputs={
            "word": Input(type="string", default=created.prefix),
            "from_": Input(type="uri_folder", optional=True),
        },
        outputs={"to": Output(type="uri_folder")},
    ).component


def _submitted(client: Any, created: Created, cluster: str, job: Any) -> str:
    job.name = created.name("job")
    job.experiment_name = created.prefix
    job.tags = created.tags
    job.settings.default_compute = cluster
    return str(client.jobs.create_or_update(job).name)


@pytest.fixture(scope="module")
def finished(client: Any, created: Created, environment: str, cluster: str) -> str:
    """The name of a pipeline of two steps that has completed."""
    registered = _step(
        created,
        environment,
        created.name("write", "_"),
        "echo ${{inputs.word}} > ${{outputs.to}}/x",
    )
    registered.name = registered.name.lower()
    registered.version = "1"
    registered.tags = created.tags
    write = client.components.create_or_update(registered)
    copy = _step(
        created,
        environment,
        "copy",
        "$[[cat ${{inputs.from_}}/x > ${{outputs.to}}/y]] && echo ${{inputs.word}}",
    )

    def write_and_copy(word: str) -> dict[str, Any]:
        first = write(word=word)
        second = copy(word=word, from_=first.outputs.to)
        return {"copied": second.outputs.to}

    name = _submitted(client, created, cluster, pipeline(created, write_and_copy, word="hello"))
    assert ended(client, name) == "Completed"
    return name


@pytest.mark.operation(
    "Jobs_CreateOrUpdate",
    "Jobs_Get",
    "ComponentVersions_CreateOrUpdate",
    cost="compute-minutes",
)
def test_a_pipeline_completes(client: Any, finished: str, created: Created) -> None:
    job = client.jobs.get(finished)
    assert job.type == "pipeline"
    assert job.display_name == created.prefix
    assert set(job.jobs) == {"first", "second"}


@pytest.mark.operation("Runs_GetChild", cost="compute-minutes")
def test_its_steps_are_its_children(client: Any, finished: str) -> None:
    children = list(client.jobs.list(parent_job_name=finished))
    assert {child.display_name for child in children} == {"first", "second"}
    assert {child.status for child in children} == {"Completed"}
    assert finished not in {child.name for child in children}


@pytest.mark.operation("Runs_GetRunData", "Blob_Download", cost="compute-minutes")
def test_what_a_pipeline_hands_out_is_downloaded(
    client: Any, finished: str, tmp_path: Path
) -> None:
    client.jobs.download(finished, output_name="copied", download_path=tmp_path)
    assert (tmp_path / "named-outputs" / "copied" / "y").read_text() == "hello\n"


@pytest.mark.operation("DataVersions_CreateOrUpdate", cost="storage")
def test_what_a_pipeline_hands_out_becomes_an_asset(
    service: Service, finished: str, created: Created
) -> None:
    path = f"/data/{created.name('out')}/versions/1"
    output = f"azureml://jobs/{finished}/outputs/copied"
    properties = {"dataType": "uri_folder", "dataUri": output, "tags": created.tags}
    answer = service.send("PUT", path, {"properties": properties})
    assert answer.status_code == 201
    assert "/datastores/" in answer.json()["properties"]["dataUri"]


@pytest.mark.operation("Jobs_CreateOrUpdate", cost="compute-minutes")
def test_what_a_pipeline_hands_out_is_read_by_another_job(
    client: Any, created: Created, environment: str, cluster: str, finished: str
) -> None:
    from azure.ai.ml import Input

    output = Input(type="uri_folder", path=f"azureml://jobs/{finished}/outputs/copied")
    line = "grep hello ${{inputs.from_}}/y"
    job = command_job(created, environment, cluster, line, inputs={"from_": output})
    assert ended(client, client.jobs.create_or_update(job).name) == "Completed"


def test_its_literals_are_text(service: Service, finished: str) -> None:
    properties = service.send("GET", f"/jobs/{finished}").json()["properties"]
    assert properties["jobType"] == "Pipeline"
    assert properties["inputs"]["word"]["value"] == "hello"
    assert properties["jobs"]["second"]["inputs"]["from_"]["value"] == (
        "${{parent.jobs.first.outputs.to}}"
    )
    assert properties["outputs"]["copied"]["jobOutputType"] == "uri_folder"


@pytest.mark.operation("Jobs_CreateOrUpdate", cost="compute-minutes")
def test_a_failed_step_fails_the_pipeline(
    client: Any, created: Created, environment: str, cluster: str
) -> None:
    fail = _step(created, environment, "fail", "echo ${{inputs.word}} && exit 3")
    never = _step(created, environment, "never", "ls ${{inputs.from_}} ${{inputs.word}}")

    def failing() -> None:
        failed = fail()
        never(from_=failed.outputs.to)

    name = _submitted(client, created, cluster, pipeline(created, failing))
    assert ended(client, name) == "Failed"
    statuses = {
        child.display_name: child.status for child in client.jobs.list(parent_job_name=name)
    }
    assert statuses["failed"] == "Failed"
    assert statuses.get("never") in (None, "NotStarted", "Canceled")


@pytest.mark.operation("Jobs_Cancel", cost="compute-minutes")
def test_a_cancelled_pipeline(
    client: Any, created: Created, environment: str, cluster: str
) -> None:
    wait = _step(created, environment, "wait", "echo ${{inputs.word}} && sleep 600")

    def waiting() -> None:
        wait()

    name = _submitted(client, created, cluster, pipeline(created, waiting))
    client.jobs.begin_cancel(name).wait()
    assert ended(client, name) == "Canceled"


def test_a_wrong_binding_is_refused(
    client: Any, service: Service, created: Created, finished: str
) -> None:
    properties = service.send("GET", f"/jobs/{finished}").json()["properties"]
    first = dict(properties["jobs"]["first"])
    first["inputs"] = {"word": {"job_input_type": "literal", "value": "${{parent.name}}"}}
    body = {
        "properties": {
            "jobType": "Pipeline",
            "experimentName": created.prefix,
            "settings": properties["settings"],
            "tags": created.tags,
            "jobs": {"first": first},
        }
    }
    answer = service.send("PUT", f"/jobs/{created.name('job')}", body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "UserError"
    assert answer.json()["error"]["message"].startswith("Invalid expression parent.name.")
    assert inner_codes(answer)[2:] == ["InvalidPipelineJob", "InvalidExpressionInJob"]


def test_an_input_that_the_component_does_not_have_is_refused(
    service: Service, created: Created, finished: str
) -> None:
    properties = service.send("GET", f"/jobs/{finished}").json()["properties"]
    first = dict(properties["jobs"]["first"])
    first["inputs"] = {"none": {"job_input_type": "literal", "value": "1"}}
    body = {
        "properties": {
            "jobType": "Pipeline",
            "experimentName": created.prefix,
            "settings": properties["settings"],
            "tags": created.tags,
            "jobs": {"first": first},
        }
    }
    answer = service.send("PUT", f"/jobs/{created.name('job')}", body)
    assert answer.status_code == 400
    assert "input none for component job first does not exist" in answer.json()["error"]["message"]
    assert inner_codes(answer)[2:] == ["InvalidPipelineJob", "InvalidComponentJobInput"]


def test_a_component_that_is_not_there_is_refused(
    client: Any, created: Created, cluster: str
) -> None:
    from azure.ai.ml import load_job

    text = f"""
type: pipeline
name: {created.name("job")}
experiment_name: {created.prefix}
settings: {{default_compute: azureml:{cluster}}}
jobs:
  first: {{type: command, component: "azureml:{created.prefix}_none:1"}}
"""
    import io

    with pytest.raises((HttpResponseError, ValueError)) as error:
        client.jobs.create_or_update(load_job(io.StringIO(text)))
    assert f"{created.prefix}_none" in str(error.value)
