"""The Jobs operations: on the wire, and through the unmodified SDK with a real emulator."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.datastructures import State
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from emulator.http import AzureError, Router
from emulator.resource_manager import jobs
from tests.emulator.compute_support import Workplace, command_job, workplace
from tests.emulator.test_compute_pipeline import node, pipeline_job, two_steps

if TYPE_CHECKING:
    from azure.ai.ml import MLClient


class JobsService:
    """The Jobs operations alone, as an ASGI application."""

    def __init__(self, place: Workplace) -> None:
        self.state = State({"emulator": place})
        self.router = Router("resource manager")
        jobs.register(self.router)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self
        try:
            response = await self.router.handle(Request(scope, receive, send))
        except AzureError as error:
            response = error.response()
        await response(scope, receive, send)


def on_the_wire(
    state: Path, scenario: Callable[[Workplace, httpx.AsyncClient, str], Awaitable[None]]
) -> None:
    async def main() -> None:
        transport = httpx.ASGITransport(app=JobsService(place))
        async with httpx.AsyncClient(
            transport=transport, base_url="https://management.azure.com"
        ) as client:
            await scenario(place, client, place.config.workspace_path + "/jobs")
            await place.jobs.stop()

    with workplace(state) as place:
        asyncio.run(main())


def test_a_job_comes_back_completed_by_the_service(tmp_path: Path) -> None:
    async def scenario(place: Workplace, client: httpx.AsyncClient, url: str) -> None:
        uri = place.data("in.txt", "x")
        properties = command_job(
            "cp ${{inputs.file}} ${{outputs.out}}/",
            displayName="copy",
            experimentName="trials",
            inputs={"file": {"jobInputType": "uri_file", "uri": uri}},
            outputs={"out": {"jobOutputType": "uri_folder"}},
        )
        answer = await client.put(f"{url}/copy-1", json={"properties": properties})
        assert answer.status_code == 201
        job = answer.json()
        assert job["id"] == f"{url}/copy-1"
        assert job["type"] == "Microsoft.MachineLearningServices/workspaces/jobs"
        assert job["systemData"]["createdAt"]
        made = job["properties"]
        assert made["status"] == "NotStarted"
        assert made["services"]["Studio"]["endpoint"].startswith("https://ml.azure.com/runs/copy-1")
        assert made["inputs"]["file"]["mode"] == "ReadOnlyMount"
        assert made["outputs"]["default"]["uri"] == (
            "azureml://datastores/workspaceartifactstore/ExperimentRun/dcid.copy-1"
        )
        assert made["outputs"]["out"]["uri"].endswith("/paths/azureml/copy-1/out/")
        await place.until("copy-1")
        got = (await client.get(f"{url}/COPY-1")).json()
        assert got["properties"]["status"] == "Completed"
        assert place.read("azureml/copy-1/out/in.txt") == "x"

    on_the_wire(tmp_path, scenario)


def test_a_pipelines_outputs_have_the_addresses_that_were_asked_for(tmp_path: Path) -> None:
    async def scenario(place: Workplace, client: httpx.AsyncClient, url: str) -> None:
        two_steps(place)
        mine = "azureml://datastores/workspaceblobstore/paths/mine/"
        inner = node("both", {"shouted": {"value": "${{parent.outputs.model}}", "type": "literal"}})
        other = node("write", {"folder": {"value": "${{parent.outputs.own}}", "type": "literal"}})
        other["inputs"]["text"] = {"job_input_type": "literal", "value": "x"}
        outputs = {
            "model": {"jobOutputType": "mlflow_model", "mode": "Upload"},
            "own": {"jobOutputType": "uri_folder", "uri": mine},
        }
        body = {"properties": pipeline_job({"a": inner, "b": other}, outputs=outputs)}
        answer = await client.put(f"{url}/p", json=body)
        await place.until("p")
        for job in (answer.json(), (await client.get(f"{url}/p")).json()):
            outputs = job["properties"]["outputs"]
            assert {name: known(output) for name, output in outputs.items()} == {
                "model": {"jobOutputType": "mlflow_model", "mode": "Upload"},
                "own": {"jobOutputType": "uri_folder", "uri": mine, "mode": "ReadWriteMount"},
            }

    on_the_wire(tmp_path, scenario)


def known(output: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in output.items() if value is not None}


def test_the_same_put_twice_is_one_run(tmp_path: Path) -> None:
    async def scenario(place: Workplace, client: httpx.AsyncClient, url: str) -> None:
        body = {"properties": command_job(f"echo run >> {tmp_path}/count")}
        first, second = await asyncio.gather(
            client.put(f"{url}/once", json=body), client.put(f"{url}/once", json=body)
        )
        assert sorted([first.status_code, second.status_code]) == [200, 201]
        await place.until("once")
        assert (await client.put(f"{url}/once", json=body)).status_code == 200
        await asyncio.sleep(0.1)
        assert (tmp_path / "count").read_text() == "run\n"
        assert place.run("once")["status"] == "Completed"

    on_the_wire(tmp_path, scenario)


def test_names_and_tags_of_a_job_can_be_changed_but_not_what_it_does(tmp_path: Path) -> None:
    async def scenario(place: Workplace, client: httpx.AsyncClient, url: str) -> None:
        properties = command_job("true", tags={"a": "1"})
        await client.put(f"{url}/j", json={"properties": properties})
        await place.until("j")
        changed = properties | {"displayName": "new", "tags": {"b": "2"}, "isArchived": True}
        answer = await client.put(f"{url}/j", json={"properties": changed})
        assert answer.status_code == 200
        made = answer.json()["properties"]
        assert (made["displayName"], made["tags"]) == ("new", {"b": "2"})
        assert made["status"] == "Completed"
        assert (await client.get(url)).json()["value"] == []
        archived = (await client.get(url, params={"listViewType": "ArchivedOnly"})).json()
        assert [job["name"] for job in archived["value"]] == ["j"]
        other = await client.put(f"{url}/j", json={"properties": command_job("false")})
        assert other.status_code == 400
        assert "already exists" in other.json()["error"]["message"]

    on_the_wire(tmp_path, scenario)


def test_lists_show_root_jobs_by_type_and_tag_newest_first(tmp_path: Path) -> None:
    async def scenario(place: Workplace, client: httpx.AsyncClient, url: str) -> None:
        two_steps(place)
        pipeline = pipeline_job({"tune": node("both")}, tags={"owner": "me", "kind": "p"})
        await client.put(f"{url}/p", json={"properties": pipeline})
        command = command_job("true", tags={"owner": "me"})
        await client.put(f"{url}/c", json={"properties": command})
        await place.until("p")
        assert len(place.store.children(url)) == 5

        async def names(**query: str) -> list[str]:
            answer = await client.get(url, params=query)
            return [job["name"] for job in answer.json()["value"]]

        assert await names() == ["c", "p"]
        assert await names(jobType="Pipeline") == ["p"]
        assert await names(tag="owner") == ["c", "p"]
        assert await names(tag="owner=me,kind=p") == ["p"]
        assert await names(tag="owner=you") == []
        by = {"properties": {"azureml.scheduleId": "daily"}}
        await client.put(f"{url}/s", json={"properties": command_job("true") | by})
        assert await names(scheduleId="daily") == await names(scheduled="true") == ["s"]
        assert await names(scheduleId="hourly") == []
        assert await names(scheduled="false") == ["c", "p"]

    on_the_wire(tmp_path, scenario)


def test_cancel_and_delete(tmp_path: Path) -> None:
    async def scenario(place: Workplace, client: httpx.AsyncClient, url: str) -> None:
        await client.put(f"{url}/long", json={"properties": command_job("sleep 60")})
        await place.until("long", "Running")
        assert (await client.delete(f"{url}/long")).status_code == 400
        answer = await client.post(f"{url}/long/cancel")
        assert answer.status_code == 202
        assert answer.content == b""
        assert "/mfeOperationResults/" in answer.headers["Location"]
        assert (await client.get(f"{url}/long")).json()["properties"]["status"] in (
            "CancelRequested",
            "Canceled",
        )
        assert (await place.until("long"))["status"] == "Canceled"
        again = await client.post(f"{url}/long/cancel")
        assert again.status_code == 400
        assert again.json()["error"]["code"] == "UserError"
        assert (await client.delete(f"{url}/long")).status_code == 202
        gone = await client.get(f"{url}/long")
        assert gone.status_code == 404
        error = gone.json()["error"]
        assert error["message"] == "Job long not found."
        told = {fact["type"]: fact["info"]["value"] for fact in error["additionalInfo"]}
        assert told["InnerError"]["innerError"]["code"] == "JobNotFound"
        assert told["MessageFormat"] == "Job {jobId} not found."
        assert told["MessageParameters"] == {"jobId": "long"}
        assert (await client.delete(f"{url}/long")).status_code == 204

    on_the_wire(tmp_path, scenario)


@pytest.mark.parametrize(
    ("name", "properties", "status", "words"),
    [
        ("bad name!", command_job("true"), 400, "job name 'bad name!' is invalid"),
        ("j", command_job("true", computeId="gpu"), 400, "compute target gpu does not exist"),
        ("j", {"jobType": "AutoML"}, 501, "not AutoML"),
        ("j", command_job("echo ${{inputs.x}}"), 400, "inputs.x"),
    ],
)
def test_a_job_that_cannot_run_is_refused_and_not_kept(
    tmp_path: Path, name: str, properties: dict[str, Any], status: int, words: str
) -> None:
    async def scenario(place: Workplace, client: httpx.AsyncClient, url: str) -> None:
        answer = await client.put(f"{url}/{name}", json={"properties": properties})
        assert answer.status_code == status
        assert words in answer.json()["error"]["message"]
        assert place.store.children(url) == []

    on_the_wire(tmp_path, scenario)


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code")
    (folder / "sum.py").write_text(
        "import sys, pathlib\n"
        "numbers, out = sys.argv[1:]\n"
        "total = sum(map(int, pathlib.Path(numbers).read_text().split()))\n"
        "print('total', total, flush=True)\n"
        "if total < 0: raise SystemExit('negative total')\n"
        "(pathlib.Path(out) / 'total.txt').write_text(str(total))\n"
    )
    (folder / "mlflow_step.py").write_text(
        "import mlflow\nwith mlflow.start_run():\n    mlflow.log_metric('total', 6)\n"
    )
    return folder


def summing(code: Path, numbers: Path, compute: str = "local", before: str = "") -> Any:
    from azure.ai.ml import Input, Output, command

    return command(
        code=str(code),
        command=before + "python sum.py ${{inputs.numbers}} ${{outputs.out}}",
        environment="azureml://registries/azureml/environments/acft-hf-nlp-gpu/labels/latest",
        compute=compute,
        inputs={"numbers": Input(type="uri_file", path=str(numbers))},
        outputs={"out": Output(type="uri_folder")},
        experiment_name="sums",
    )


def test_the_sdk_submits_streams_and_downloads(
    ml_client: "MLClient", code: Path, tmp_path: Path
) -> None:
    numbers = tmp_path / "numbers.txt"
    numbers.write_text("1 2 3")
    # The SDK prints the logs of a job only if it has seen it running.
    job = ml_client.jobs.create_or_update(summing(code, numbers, before="sleep 5 && "))
    assert job.name is not None
    printed = io.StringIO()
    with redirect_stdout(printed):
        ml_client.jobs.stream(job.name)
    assert "total 6" in printed.getvalue()
    assert ml_client.jobs.get(job.name).status == "Completed"
    ml_client.jobs.download(job.name, output_name="out", download_path=str(tmp_path))
    assert (tmp_path / "named-outputs" / "out" / "total.txt").read_text() == "6"
    assert job.name in [found.name for found in ml_client.jobs.list()]


def test_the_sdk_sees_why_a_job_failed(ml_client: "MLClient", code: Path, tmp_path: Path) -> None:
    from azure.ai.ml.exceptions import JobException

    numbers = tmp_path / "numbers.txt"
    numbers.write_text("-5")
    job = ml_client.jobs.create_or_update(summing(code, numbers))
    assert job.name is not None
    with pytest.raises(JobException, match="negative total"), redirect_stdout(io.StringIO()):
        ml_client.jobs.stream(job.name)
    assert ml_client.jobs.get(job.name).status == "Failed"


def test_the_sdk_runs_a_pipeline_whose_step_logs_to_mlflow(
    ml_client: "MLClient", code: Path, tmp_path: Path
) -> None:
    from azure.ai.ml import Input, command
    from azure.ai.ml.dsl import pipeline

    numbers = tmp_path / "numbers.txt"
    numbers.write_text("1 2 3")
    add = summing(code, numbers, "serverless")
    log = command(
        code=str(code),
        command="python mlflow_step.py ${{inputs.folder}}",
        environment="azureml://registries/azureml/environments/acft-hf-nlp-gpu/labels/latest",
        inputs={"folder": Input(type="uri_folder")},
    )

    def add_and_log() -> Any:
        added = add(numbers=Input(type="uri_file", path=str(numbers)))
        log(folder=added.outputs.out)
        return {"sum": added.outputs.out}

    build = pipeline(add_and_log, experiment_name="sums", default_compute="serverless")
    job = ml_client.jobs.create_or_update(build())
    assert job.name is not None
    with redirect_stdout(io.StringIO()):
        ml_client.jobs.stream(job.name)
    assert ml_client.jobs.get(job.name).status == "Completed"
    ml_client.jobs.download(job.name, output_name="sum", download_path=str(tmp_path))
    assert (tmp_path / "named-outputs" / "sum" / "total.txt").read_text() == "6"

    import mlflow

    workspace = ml_client.workspaces.get(ml_client.workspace_name)
    mlflow.set_tracking_uri(workspace.mlflow_tracking_uri)
    runs = mlflow.search_runs(
        experiment_names=["sums"],
        filter_string=f"tags.mlflow.rootRunId='{job.name}'",
        output_format="list",
    )
    metrics: dict[str, float] = {}
    for run in runs:
        metrics |= run.data.metrics
    assert metrics == {"total": 6.0}
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_the_sdk_cancels_a_job(ml_client: "MLClient") -> None:
    from azure.ai.ml import command

    job = ml_client.jobs.create_or_update(
        command(
            command="sleep 600",
            environment="azureml://registries/azureml/environments/acft-hf-nlp-gpu/labels/latest",
            compute="local",
        )
    )
    assert job.name is not None
    ml_client.jobs.begin_cancel(job.name).result()
    assert ml_client.jobs.get(job.name).status == "Canceled"


def test_the_sdk_shows_the_services_of_a_job(ml_client: "MLClient") -> None:
    from azure.ai.ml import command
    from azure.ai.ml.entities import Environment, JupyterLabJobService

    job = ml_client.jobs.create_or_update(
        command(
            command="true",
            environment=Environment(name="services", image="any"),
            services={"lab": JupyterLabJobService()},
        )
    )
    services = ml_client.jobs.show_services(job.name)
    assert services is not None
    assert services["Studio"].endpoint.startswith(f"https://ml.azure.com/runs/{job.name}?")
    assert services["lab"].status == "Failed"
    assert "does not start the service lab" in str(services["lab"].error)


def test_a_script_reads_a_public_blob_that_the_emulator_holds(ml_client: "MLClient") -> None:
    import requests

    url = "https://azuremlexamples.blob.core.windows.net/datasets"
    assert requests.get(f"{url}/iris.csv", timeout=30).text.startswith("sepal_length,")
    part = requests.get(f"{url}/iris.csv", headers={"Range": "bytes=0-4"}, timeout=30)
    assert (part.status_code, part.text) == (206, "sepal")
    assert requests.get(f"{url}/unknown.csv", timeout=30).status_code == 404
    container = requests.head(f"{url}?restype=container&comp=metadata", timeout=30)
    assert (container.status_code, container.headers["x-ms-blob-public-access"]) == (
        200,
        "container",
    )
