"""MLflow tracking: the real clients, through Azure ML's endpoint and directly to the server."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

import psutil
import pytest

from emulator.http import AzureError
from emulator.tracking import TrackingServer
from emulator.tracking_journal import Journal

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from mlflow import MlflowClient

ROOT = Path(__file__).parents[2]
LOG_STEPS = """
import sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
for step in range(20):
    client.log_metric("job-1", sys.argv[2], step / 2, step=step)
client.log_text("job-1", sys.argv[2], f"notes/{sys.argv[2]}.txt")
"""
CHANGE_RUN = """
import os
import mlflow
from mlflow.utils.rest_utils import http_request
run = mlflow.MlflowClient().get_run(os.environ["MLFLOW_RUN_ID"])
answer = http_request(
    mlflow.MlflowClient()._tracking_client.store.get_host_creds(),
    f"/experimentids/{run.info.experiment_id}/runs/{run.info.run_id}",
    "PATCH",
    json={"properties": {"azureml.pipeline.control": '{"raised": true}'}},
)
answer.raise_for_status()
"""


def with_server(
    state: Path, work: Callable[[TrackingServer], Awaitable[None]], **options: Any
) -> None:
    """Do something with a tracking server of its own; it is stopped afterwards."""

    async def run() -> None:
        server = TrackingServer(state, **options)
        await server.start()
        try:
            await work(server)
        finally:
            await server.stop()

    asyncio.run(run())


def children_of_this_process() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if "emulator.tracking_server" in " ".join(child.cmdline())
    ]


def test_runs_have_given_ids_and_outlive_the_process(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    async def work(server: TrackingServer) -> None:
        await server.create_run("job-1", "chat", "the job", {"team": "nlp"}, None)
        await server.create_run("job-1", "chat", "again", {}, None)
        await server.create_run("job-1_step", "chat", "finetune", {}, "job-1")
        await server.create_run("job-1_inner", "chat", "inner", {}, "job-1_step")
        Journal(tmp_path).add({"end": "job-1", "status": "NO SUCH WORD", "time": 0})
        Journal(tmp_path).add({"nothing": "that is known"})
        assert not children_of_this_process()  # no job waits for a start
        loggers = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-W", "ignore", "-c", LOG_STEPS, server.url, metric)
            )
            for metric in ("loss", "accuracy")
        ]
        assert [await logger.wait() for logger in loggers] == [0, 0]
        await server.end_run("job-1_step", "Completed")
        await server.end_run("job-1", "Canceled")
        [process] = children_of_this_process()
        os.kill(process.pid, signal.SIGKILL)
        await asyncio.to_thread(check, MlflowClient(server.url))

    def check(client: "MlflowClient") -> None:
        job = client.get_run("job-1")
        assert (job.info.run_name, job.info.status) == ("the job", "KILLED")
        assert job.data.tags["team"] == "nlp"
        assert job.data.metrics == {"loss": 9.5, "accuracy": 9.5}
        assert len(client.get_metric_history("job-1", "loss")) == 20
        experiment = client.get_experiment_by_name("chat")
        assert experiment is not None
        family = client.search_runs([experiment.experiment_id], "tags.mlflow.rootRunId = 'job-1'")
        assert {run.info.run_id: run.info.status for run in family} == {
            "job-1": "KILLED",
            "job-1_step": "FINISHED",
            "job-1_inner": "RUNNING",
        }
        assert client.get_run("job-1_inner").data.tags["mlflow.parentRunId"] == "job-1_step"
        assert len(client.list_artifacts("job-1", "notes")) == 2

    with_server(tmp_path, work)
    notes = tmp_path / "blobs" / "azureml" / "ExperimentRun" / "dcid.job-1" / "notes"
    assert (notes / "loss.txt").read_text() == "loss"


def test_the_process_runs_only_while_it_is_needed(tmp_path: Path) -> None:
    async def work(server: TrackingServer) -> None:
        await asyncio.sleep(0.2)
        assert not children_of_this_process()
        await asyncio.gather(*(server.ready() for _ in range(20)))
        [process] = children_of_this_process()
        assert process.memory_info().rss < 300e6
        await asyncio.to_thread(process.wait, 20)

    with_server(tmp_path, work, idle_seconds=1.0)


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "mlflow.sqlite").write_text("this is no database, and long enough" * 9)

    async def work(server: TrackingServer) -> None:
        with pytest.raises(AzureError, match="file is not a database"):
            await server.ready()
        assert not children_of_this_process()

    with_server(tmp_path, work)


def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "emulator.tracking_server", "--state", str(tmp_path)]
    parent = (
        "import subprocess, sys, time; "
        f"p = subprocess.Popen({command!r}, stdout=subprocess.PIPE); "
        "print(p.pid, p.stdout.readline().decode(), flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as middle:
        assert middle.stdout is not None
        pid, word, port = middle.stdout.readline().split()
        assert word == "LISTENING"
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health").close()
        server = psutil.Process(int(pid))
        middle.kill()
    psutil.wait_procs([server], timeout=10)
    assert not server.is_running()


@pytest.fixture(scope="module")
def tracking_uri(ml_client: "MLClient") -> str:
    workspace = ml_client.workspaces.get(ml_client.workspace_name)
    assert workspace is not None
    return str(workspace.mlflow_tracking_uri)


@pytest.fixture
def client(tracking_uri: str) -> "MlflowClient":
    """The client of the workspace; artifacts find it through the global tracking URI."""
    import mlflow

    mlflow.set_tracking_uri(tracking_uri)
    return mlflow.MlflowClient(tracking_uri)


def test_an_interactive_run_through_the_workspace(client: "MlflowClient", tmp_path: Path) -> None:
    import mlflow

    mlflow.set_experiment("interactive")
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "file.txt").write_text("below")
    with mlflow.start_run(run_name="outer") as outer:
        mlflow.log_param("rate", 1e-4)
        mlflow.log_metrics({"loss": 2.0}, step=0)
        mlflow.log_metrics({"loss": 1.0}, step=1)
        mlflow.log_text("hello", "notes/a b.txt")
        mlflow.log_artifacts(str(tmp_path / "folder"), "folder")
        with mlflow.start_run(run_name="inner", nested=True):
            mlflow.log_metric("other", 3.0)
    run_id = outer.info.run_id
    assert outer.info.artifact_uri.startswith("azureml://eastus.api.azureml.ms/mlflow/v2.0/")
    run = client.get_run(run_id)
    assert (run.info.status, run.data.params) == ("FINISHED", {"rate": "0.0001"})
    assert [m.value for m in client.get_metric_history(run_id, "loss")] == [2.0, 1.0]
    family = client.search_runs([run.info.experiment_id], f"tags.mlflow.rootRunId = '{run_id}'")
    assert sorted(str(r.info.run_name) for r in family) == ["inner", "outer"]
    assert [a.path for a in client.list_artifacts(run_id)] == ["folder", "notes"]
    assert [a.path for a in client.list_artifacts(run_id, "folder/deep")] == [
        "folder/deep/file.txt"
    ]
    file = client.download_artifacts(run_id, "notes/a b.txt", str(tmp_path))
    assert Path(file).read_text() == "hello"


def test_a_program_in_a_job_changes_its_run_beside_the_tracking_server(
    ml_client: "MLClient", client: "MlflowClient", tmp_path: Path
) -> None:
    """As mldesigner writes its control outputs: run history at MLflow's own address."""
    from azure.ai.ml import command
    from azure.ai.ml.entities import Environment

    (tmp_path / "change.py").write_text(CHANGE_RUN)
    job = ml_client.jobs.create_or_update(
        command(command="python change.py", code=str(tmp_path), environment=Environment(image="x"))
    )
    ml_client.jobs.stream(job.name)
    properties = ml_client.jobs.get(job.name).properties
    assert properties["azureml.pipeline.control"] == '{"raised": true}'


def test_metrics_logged_in_the_background_arrive(client: "MlflowClient") -> None:
    from mlflow.entities import Metric

    experiment = client.create_experiment("background")
    run_id = client.create_run(experiment).info.run_id
    logging: Any = client.log_batch(run_id, [Metric("speed", 3.0, 1, 0)], synchronous=False)
    logging.wait()
    assert client.get_run(run_id).data.metrics == {"speed": 3.0}


def test_a_program_of_mlflow_1_lists_experiments(client: "MlflowClient") -> None:
    from mlflow.utils.rest_utils import http_request

    experiment = client.create_experiment("listed")
    host: Any = client._tracking_client.store.get_host_creds()
    answer = http_request(host, "/api/2.0/mlflow/experiments/list", "GET").json()
    names = {found["experiment_id"]: found["name"] for found in answer["experiments"]}
    assert names[experiment] == "listed"
    archived = {"view_type": "DELETED_ONLY"}
    answer = http_request(host, "/api/2.0/mlflow/experiments/list", "GET", params=archived).json()
    assert answer == {"experiments": []}


def test_what_is_not_emulated_says_so(client: "MlflowClient") -> None:
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match=r"does not emulate .*traces"):
        client.search_traces(locations=["0"])


def test_mlflow_errors_keep_their_own_words(client: "MlflowClient") -> None:
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match="no-such-run not found"):
        client.get_run("no-such-run")


def test_a_token_and_an_existing_workspace_are_needed(
    client: "MlflowClient", tracking_uri: str
) -> None:
    import ssl

    context = ssl.create_default_context(cafile=os.environ["REQUESTS_CA_BUNDLE"])
    proxy = urllib.request.ProxyHandler({"https": os.environ["HTTPS_PROXY"]})
    opener = urllib.request.build_opener(proxy, urllib.request.HTTPSHandler(context=context))
    address = tracking_uri.replace("azureml://", "https://")
    with pytest.raises(HTTPError) as error:
        opener.open(f"{address}/api/2.0/mlflow/runs/get?run_id=x")
    assert error.value.code == 401
    assert "token" in json.loads(error.value.read())["error"]["message"]
