"""Command jobs: run, fail, cancelled, looked at, archived, deleted."""

import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.contract.created import Created
from tests.contract.jobs_support import command_job, ended
from tests.contract.service import Service, inner_codes

_SCRIPT = """
import argparse, os, pathlib
parser = argparse.ArgumentParser()
for name in ("--words", "--to", "--times"):
    parser.add_argument(name)
given = parser.parse_args()
text = pathlib.Path(given.words).read_text() * int(given.times)
pathlib.Path(given.to, "text.txt").write_text(text + os.environ["ENDING"])
print("wrote", len(text))
"""


@pytest.fixture(scope="module")
def finished(
    client: Any,
    created: Created,
    environment: str,
    cluster: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """A job with code, an input, an output and a variable, that has completed."""
    from azure.ai.ml import Input, Output

    folder = tmp_path_factory.mktemp("job")
    words = folder / f"{created.prefix}-words.txt"
    words.write_text("ab")
    code = folder / f"{created.prefix}-code"
    code.mkdir()
    (code / "write.py").write_text(f"# {created.prefix}{_SCRIPT}")
    job = command_job(
        created,
        environment,
        cluster,
        "python write.py --words ${{inputs.words}} --times ${{inputs.times}} --to ${{outputs.to}}",
        code=str(code),
        inputs={"words": Input(type="uri_file", path=str(words)), "times": 3},
        outputs={"to": Output(type="uri_folder")},
        environment_variables={"ENDING": "!"},
    )
    submitted = client.jobs.create_or_update(job)
    assert ended(client, submitted.name) == "Completed"
    return client.jobs.get(submitted.name)


@pytest.mark.operation(
    "Jobs_CreateOrUpdate",
    "Jobs_Get",
    "CodeVersions_List",
    "CodeVersions_CreateOrGetStartPendingUpload",
    "CodeVersions_CreateOrUpdate",
    cost="compute-minutes",
)
def test_a_job_completes(finished: Any, created: Created) -> None:
    assert finished.status == "Completed"
    assert finished.experiment_name == created.prefix
    assert finished.tags == created.tags
    assert finished.studio_url.startswith("https://ml.azure.com/runs/")


@pytest.mark.operation(
    "Runs_GetRunData", "DataVersion_BatchGetResolvedUris", "Blob_Download", cost="compute-minutes"
)
def test_its_output_is_downloaded(finished: Any, client: Any, tmp_path: Path) -> None:
    client.jobs.download(finished.name, output_name="to", download_path=tmp_path)
    assert (tmp_path / "named-outputs" / "to" / "text.txt").read_text() == "ababab!"


@pytest.mark.operation("Container_ListBlobs", cost="compute-minutes")
def test_its_logs_are_downloaded(finished: Any, client: Any, tmp_path: Path) -> None:
    client.jobs.download(finished.name, download_path=tmp_path, all=True)
    logs = [file.read_text() for file in tmp_path.rglob("std_log.txt")]
    assert len(logs) == 1
    assert "wrote 6" in logs[0]


@pytest.mark.operation("Runs_GetDetails", cost="compute-minutes")
def test_it_can_be_streamed_when_it_is_over(finished: Any, client: Any) -> None:
    printed = io.StringIO()
    with redirect_stdout(printed):
        client.jobs.stream(finished.name)
    assert f"RunId: {finished.name}" in printed.getvalue()
    assert "Execution Summary" in printed.getvalue()


@pytest.mark.operation("Jobs_Get", cost="compute-minutes")
def test_what_the_service_adds_to_a_job(finished: Any, service: Service) -> None:
    job = service.send("GET", f"/jobs/{finished.name}").json()
    properties = job["properties"]
    assert job["type"] == "Microsoft.MachineLearningServices/workspaces/jobs"
    assert job["systemData"]["createdAt"]
    assert properties["jobType"] == "Command"
    assert properties["inputs"]["words"]["mode"] == "ReadOnlyMount"
    assert properties["inputs"]["times"]["value"] == "3"
    assert properties["outputs"]["to"]["mode"] == "ReadWriteMount"
    assert properties["outputs"]["default"]["uri"].endswith(f"ExperimentRun/dcid.{finished.name}")
    assert {"Tracking", "Studio"} <= set(properties["services"])
    assert properties["resources"]["instanceCount"] == 1


@pytest.mark.operation("Jobs_List", cost="compute-minutes")
def test_it_is_listed_until_it_is_archived(finished: Any, client: Any) -> None:
    from azure.ai.ml.constants import ListViewType

    def names(view: ListViewType = ListViewType.ACTIVE_ONLY) -> set[str]:
        return {job.name for job in client.jobs.list(list_view_type=view, max_results=50)}

    assert finished.name in names()
    client.jobs.archive(finished.name)
    assert finished.name not in names()
    assert finished.name in names(ListViewType.ARCHIVED_ONLY)
    client.jobs.restore(finished.name)
    assert finished.name in names()


def test_the_same_name_is_no_second_job(finished: Any, service: Service) -> None:
    body = service.send("GET", f"/jobs/{finished.name}").json()
    other = body["properties"] | {"command": "echo other"}
    answer = service.send("PUT", f"/jobs/{finished.name}", {"properties": other})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "UserError"


def test_what_has_ended_cannot_be_cancelled(finished: Any, service: Service) -> None:
    answer = service.send("POST", f"/jobs/{finished.name}/cancel")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "UserError"
    assert inner_codes(answer)[-1] == "CancelPipelineRunInTerminalStatus"


@pytest.mark.operation("Jobs_CreateOrUpdate", "Runs_GetDetails", cost="compute-minutes")
def test_a_failed_command_is_a_failed_job(
    client: Any, created: Created, environment: str, cluster: str
) -> None:
    from azure.ai.ml.exceptions import JobException

    line = "python -c 'import sys; print(chr(104) + chr(105)); sys.exit(3)'"
    name = client.jobs.create_or_update(command_job(created, environment, cluster, line)).name
    printed = io.StringIO()
    with redirect_stdout(printed), pytest.raises(JobException) as error:
        client.jobs.stream(name)
    assert "UserError" in str(error.value)
    assert "3" in str(error.value)
    assert client.jobs.get(name).status == "Failed"


@pytest.mark.operation("Jobs_Cancel", "Operations_Result", cost="compute-minutes")
def test_a_cancelled_job(
    client: Any, service: Service, created: Created, environment: str, cluster: str
) -> None:
    job = command_job(created, environment, cluster, "sleep 600")
    name = client.jobs.create_or_update(job).name
    answer = service.send("POST", f"/jobs/{name}/cancel")
    assert answer.status_code == 202
    assert answer.content == b""
    assert "mfeOperationResults" in answer.headers["location"]
    assert ended(client, name) == "Canceled"
    service.finish(answer)
    result = service.send("GET", answer.headers["location"])
    assert (result.status_code, result.content) == (200, b"")


@pytest.mark.operation("Jobs_Delete", cost="compute-minutes")
def test_a_deleted_job_is_gone(
    client: Any, service: Service, created: Created, environment: str, cluster: str
) -> None:
    name = client.jobs.create_or_update(
        command_job(created, environment, cluster, "sleep 600")
    ).name
    client.jobs.begin_cancel(name).wait()
    answer = service.send("DELETE", f"/jobs/{name}")
    assert answer.status_code == 202
    assert service.finish(answer)["status"] == "Succeeded"
    with pytest.raises(ResourceNotFoundError):
        client.jobs.get(name)


def test_a_job_that_is_not_there(service: Service, created: Created) -> None:
    name = created.name("none")
    answer = service.send("GET", f"/jobs/{name}")
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["code"], error["message"]) == ("UserError", f"Job {name} not found.")


def test_a_job_needs_a_compute_that_is_there(
    client: Any, created: Created, environment: str
) -> None:
    with pytest.raises((HttpResponseError, ResourceNotFoundError)):
        client.jobs.create_or_update(
            command_job(created, environment, created.name("none"), "true")
        )
