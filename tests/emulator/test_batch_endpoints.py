"""Batch endpoints: deployments of models and of pipelines, and the jobs that these start."""

import csv
import json
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import Job, ModelBatchDeployment

ENDPOINT = "batch-scores"
SCRIPT = """
    import json, os, pathlib

    def init():
        global factor, place
        folder = pathlib.Path(os.environ["AZUREML_MODEL_DIR"])
        factor = json.loads((folder / "weights" / "weights.json").read_text())["factor"]
        place = pathlib.Path(os.environ["AZUREML_BI_OUTPUT_PATH"])

    def run(mini_batch):
        rows = []
        for path in map(pathlib.Path, mini_batch):
            number = int(path.read_text()) * factor
            (place / f"{path.stem}.json").write_text(json.dumps(number))
            rows.append(f"{path.name} {number} {os.environ['UNIT']}")
        return rows
"""


@pytest.fixture(scope="module")
def endpoint(ml_client: "MLClient") -> Iterator[str]:
    from azure.ai.ml.entities import AmlCompute, BatchEndpoint

    cluster = AmlCompute(name="batch-nodes", size="Standard_DS3_v2", max_instances=2)
    ml_client.compute.begin_create_or_update(cluster).result()
    ml_client.batch_endpoints.begin_create_or_update(
        BatchEndpoint(name=ENDPOINT, description="Scores at night", tags={"team": "a"})
    ).result()
    yield ENDPOINT
    ml_client.batch_endpoints.begin_delete(ENDPOINT).result()


@pytest.fixture(autouse=True)
def no_deployment_in_the_header() -> None:
    """The SDK's invoke() keeps the last deployment's name for all that follow in the process."""
    from azure.ai.ml.constants._endpoint import EndpointInvokeFields

    EndpointInvokeFields.DEFAULT_HEADER.pop("azureml-model-deployment", None)


@pytest.fixture(scope="module")
def scripted(
    ml_client: "MLClient", endpoint: str, tmp_path_factory: pytest.TempPathFactory
) -> "ModelBatchDeployment":
    """A deployment of a custom model with a script, the endpoint's default."""
    from azure.ai.ml.entities import CodeConfiguration, Environment, Model

    folder = tmp_path_factory.mktemp("batch")
    (folder / "weights").mkdir()
    (folder / "weights" / "weights.json").write_text('{"factor": 3}')
    (folder / "code").mkdir()
    (folder / "code" / "driver.py").write_text(textwrap.dedent(SCRIPT))
    model = Model(name="batch-weights", path=str(folder / "weights"), type="custom_model")
    deployment = deploy(
        ml_client,
        "scripted",
        model=ml_client.models.create_or_update(model),
        environment=Environment(image="any"),
        code_configuration=CodeConfiguration(code=str(folder / "code"), scoring_script="driver.py"),
        environment_variables={"UNIT": "kg"},
    )
    found = ml_client.batch_endpoints.get(endpoint)
    found.defaults.deployment_name = "scripted"
    ml_client.batch_endpoints.begin_create_or_update(found).result()
    return deployment


def deploy(client: "MLClient", name: str, **settings: Any) -> "ModelBatchDeployment":
    from azure.ai.ml.entities import ModelBatchDeployment, ModelBatchDeploymentSettings

    variables = settings.pop("environment_variables", None)
    deployment = ModelBatchDeployment(
        name=name,
        endpoint_name=ENDPOINT,
        compute="batch-nodes",
        settings=ModelBatchDeploymentSettings(
            mini_batch_size=2,
            instance_count=1,
            max_concurrency_per_instance=1,
            environment_variables=variables,
        ),
        **settings,
    )
    made: ModelBatchDeployment = client.batch_deployments.begin_create_or_update(
        deployment
    ).result()
    return made


def numbers(folder: Path) -> Path:
    (folder / "numbers").mkdir()
    for name, number in (("a", 1), ("b", 2), ("c", 5)):
        (folder / "numbers" / f"{name}.txt").write_text(str(number))
    return folder / "numbers"


def ended(client: "MLClient", name: str) -> Any:
    end = time.monotonic() + 90
    while client.jobs.get(name).status not in ("Completed", "Failed", "Canceled"):
        assert time.monotonic() < end
        time.sleep(0.2)
    return client.jobs.get(name)


def scores(client: "MLClient", job: "Job", folder: Path) -> Path:
    """Where the scores of the job's step are, downloaded."""
    (step,) = client.jobs.list(parent_job_name=job.name)
    client.jobs.download(step.name, download_path=folder / "down", output_name="score")
    return folder / "down" / "named-outputs" / "score"


def test_an_endpoint_keeps_what_it_was_given(ml_client: "MLClient", endpoint: str) -> None:
    found = ml_client.batch_endpoints.get(endpoint)
    assert (found.description, found.tags, found.auth_mode) == (
        "Scores at night",
        {"team": "a"},
        "aad_token",
    )
    assert found.provisioning_state == "Succeeded"
    assert found.scoring_uri == f"https://{ENDPOINT}.eastus.inference.ml.azure.com/jobs"
    assert endpoint in [each.name for each in ml_client.batch_endpoints.list()]


def test_tags_and_descriptions_are_patched(
    ml_client: "MLClient", scripted: "ModelBatchDeployment"
) -> None:
    endpoint = f"{ml_client.batch_endpoints.get(ENDPOINT).id}"
    for path, what in ((endpoint, "endpoint"), (f"{endpoint}/deployments/scripted", "deployment")):
        body = {"tags": {"of": what}, "properties": {"description": f"the {what}"}}
        assert ask("PATCH", path, body).status_code == 202
        changed = ask("GET", path).json()
        assert (changed["tags"], changed["properties"]["description"]) == (
            {"of": what},
            f"the {what}",
        )
    assert changed["properties"]["provisioningState"] == "Succeeded"
    keys = ask("POST", f"{endpoint}/listkeys", {})
    assert (keys.status_code, "has no keys" in keys.text) == (400, True)


def ask(
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
    host: str = "management.azure.com",
) -> httpx.Response:
    """A request as a client without the SDK makes it."""
    from azure.identity import DefaultAzureCredential

    token = DefaultAzureCredential().get_token("https://management.azure.com/.default").token
    return httpx.request(
        method,
        f"https://{host}{path}?api-version=2023-10-01",
        json=body,
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
    )


def test_a_script_scores_files_with_its_model(
    ml_client: "MLClient", scripted: "ModelBatchDeployment", tmp_path: Path
) -> None:
    from azure.ai.ml import Input

    assert scripted.provisioning_state == "Succeeded"
    source = Input(type="uri_folder", path=str(numbers(tmp_path)))
    job = ml_client.batch_endpoints.invoke(ENDPOINT, input=source, experiment_name="nightly")
    done = ended(ml_client, job.name)
    assert (done.status, done.experiment_name) == ("Completed", "nightly")
    place = scores(ml_client, done, tmp_path)
    rows = (place / "predictions.csv").read_text().splitlines()
    assert rows == ["a.txt 3 kg", "b.txt 6 kg", "c.txt 15 kg"]
    assert json.loads((place / "c.json").read_text()) == 15
    assert job.name in [each.name for each in ml_client.batch_endpoints.list_jobs(ENDPOINT)]
    region = "/mferp/managementfrontend" + ml_client.batch_endpoints.get(ENDPOINT).id
    found = ask("GET", f"{region}/jobs/{job.name}", host="eastus.api.azureml.ms").json()
    assert found["properties"]["inputData"]["input_data"]["jobInputType"] == "uri_folder"
    of_deployment = ml_client.batch_deployments.list_jobs(ENDPOINT, name="scripted")
    assert {each.name: each.status for each in of_deployment}[job.name] == "Completed"


def test_an_invocation_says_where_the_scores_go(
    ml_client: "MLClient", scripted: "ModelBatchDeployment", tmp_path: Path
) -> None:
    from azure.ai.ml import Input

    store = ml_client.datastores.get_default()
    job = ml_client.batch_endpoints.invoke(
        ENDPOINT,
        deployment_name="scripted",
        input=Input(type="uri_folder", path=str(numbers(tmp_path))),
        params_override=[
            {"output_dataset.datastore_id": f"azureml:{store.id}"},
            {"output_dataset.path": "/my-scores/"},
            {"output_file_name": "today.csv"},
            {"mini_batch_size": "1"},
            {"compute.instance_count": "2"},
        ],
    )
    done = ended(ml_client, job.name)
    assert done.status == "Completed"
    assert done.outputs["score"].path.endswith("/workspaceblobstore/paths/my-scores/")
    assert (scores(ml_client, done, tmp_path) / "today.csv").read_text().count("kg") == 3
    (step,) = ml_client.jobs.list(parent_job_name=job.name)
    assert ml_client.jobs.get(step.name).resources.instance_count == 2


def test_an_mlflow_model_needs_no_script(
    ml_client: "MLClient", endpoint: str, tmp_path: Path
) -> None:
    import mlflow.sklearn
    import pandas
    from azure.ai.ml import Input
    from azure.ai.ml.entities import Model
    from mlflow.models import infer_signature
    from sklearn.linear_model import LinearRegression  # type: ignore[import-untyped]

    table = pandas.DataFrame({"x": [0.0, 1.0, 2.0], "y": [1.0, 1.0, 1.0]})
    model = LinearRegression().fit(table, [1.0, 3.0, 5.0])
    signature = infer_signature(table, model.predict(table))
    mlflow.sklearn.save_model(
        model, str(tmp_path / "line"), signature=signature, pip_requirements=["scikit-learn"]
    )
    registered = ml_client.models.create_or_update(
        Model(name="batch-line", path=str(tmp_path / "line"), type="mlflow_model")
    )
    deploy(ml_client, "no-code", model=registered)
    (tmp_path / "tables").mkdir()
    table.to_csv(tmp_path / "tables" / "one.csv", index=False)
    table.iloc[1:].to_parquet(tmp_path / "tables" / "two.parquet")
    job = ml_client.batch_endpoints.invoke(
        ENDPOINT,
        deployment_name="no-code",
        input=Input(type="uri_folder", path=str(tmp_path / "tables")),
    )
    done = ended(ml_client, job.name)
    assert done.status == "Completed"
    with (scores(ml_client, done, tmp_path) / "predictions.csv").open() as file:
        rows = [(int(row), round(float(value)), name) for row, value, name in csv.reader(file)]
    assert rows == [
        (0, 1, "one.csv"),
        (1, 3, "one.csv"),
        (2, 5, "one.csv"),
        (0, 3, "two.parquet"),
        (1, 5, "two.parquet"),
    ]


def test_a_pipeline_component_is_deployed(
    ml_client: "MLClient", endpoint: str, tmp_path: Path
) -> None:
    from azure.ai.ml import Input, Output, command, dsl
    from azure.ai.ml.entities import Environment, PipelineComponentBatchDeployment

    step = command(
        name="repeat_text",
        command="for n in $(seq ${{inputs.times}}); do cat ${{inputs.text}} >> "
        "${{outputs.out}}/all.txt; done",
        inputs={"text": Input(type="uri_file"), "times": Input(type="integer", default=2)},
        outputs={"out": Output(type="uri_folder")},
        environment=Environment(image="any"),
    )

    @dsl.pipeline(name="repeat_all")  # type: ignore[call-overload, untyped-decorator]
    def repeat_all(text: Input(type="uri_file"), times: Input(type="integer", default=2)):  # type: ignore[no-untyped-def, valid-type]
        node: Any = step(text=text, times=times)
        return {"out": node.outputs.out}

    component = ml_client.components.create_or_update(repeat_all)
    deployment = PipelineComponentBatchDeployment(
        name="pipeline",
        endpoint_name=ENDPOINT,
        component=component,
        settings={"continue_on_step_failure": "False", "default_compute": "batch-nodes"},
    )
    ml_client.batch_deployments.begin_create_or_update(deployment).result()
    (tmp_path / "line.txt").write_text("again\n")
    job = ml_client.batch_endpoints.invoke(
        ENDPOINT,
        deployment_name="pipeline",
        inputs={
            "text": Input(type="uri_file", path=str(tmp_path / "line.txt")),
            "times": Input(type="integer", default=3),
        },
    )
    done = ended(ml_client, job.name)
    assert done.status == "Completed"
    (child,) = ml_client.jobs.list(parent_job_name=job.name)
    assert child.properties["azureml.moduleName"] == "repeat_text"
    ml_client.jobs.download(job.name, download_path=tmp_path, output_name="out")
    written = tmp_path / "named-outputs" / "out" / "all.txt"
    assert written.read_text() == "again\n" * 3


def test_what_cannot_be_scored_is_refused(
    ml_client: "MLClient", scripted: "ModelBatchDeployment"
) -> None:
    from azure.ai.ml.entities import BatchEndpoint, ManagedOnlineEndpoint, ModelBatchDeployment
    from azure.core.exceptions import HttpResponseError, ResourceExistsError

    empty = BatchEndpoint(name="batch-empty")
    ml_client.batch_endpoints.begin_create_or_update(empty).result()
    with pytest.raises(HttpResponseError, match="no default deployment"):
        ml_client.batch_endpoints.invoke("batch-empty")
    empty.defaults = {"deployment_name": "nowhere"}
    with pytest.raises(HttpResponseError, match="no deployment named nowhere"):
        ml_client.batch_endpoints.begin_create_or_update(empty).result()
    with pytest.raises(ResourceExistsError, match="already an endpoint named"):
        ml_client.online_endpoints.begin_create_or_update(
            ManagedOnlineEndpoint(name="batch-empty")
        ).result()
    nowhere = ModelBatchDeployment(
        name="nowhere", endpoint_name="batch-empty", model=scripted.model, compute="no-cluster"
    )
    nowhere.code_configuration = scripted.code_configuration
    with pytest.raises(HttpResponseError, match="'no-cluster' does not exist"):
        ml_client.batch_deployments.begin_create_or_update(nowhere).result()
    with pytest.raises(HttpResponseError, match="takes one input"):
        ml_client.batch_endpoints.invoke(ENDPOINT)
    uri = ml_client.batch_endpoints.get(ENDPOINT).scoring_uri
    assert httpx.post(str(uri), json={}, timeout=30).status_code == 401
    ml_client.batch_endpoints.begin_delete("batch-empty").result()


@pytest.mark.parametrize("name", ["../up.csv", "a/b.csv", '"; true; ".csv', ""])
def test_the_scores_file_stays_in_its_folder(
    ml_client: "MLClient", scripted: "ModelBatchDeployment", name: str
) -> None:
    from azure.identity import DefaultAzureCredential

    uri = ml_client.batch_endpoints.get(ENDPOINT).scoring_uri
    token = DefaultAzureCredential().get_token("https://ml.azure.com/.default").token
    source = {"jobInputType": "UriFolder", "uri": "azureml://datastores/workspaceblobstore/paths/a"}
    answer = httpx.post(
        str(uri),
        json={"properties": {"inputData": {"source": source}, "outputFileName": name}},
        headers={"Authorization": f"Bearer {token}", "azureml-model-deployment": "scripted"},
        timeout=30,
    )
    assert (answer.status_code, "outputFileName" in answer.text) == (400, True)


def test_a_default_that_is_deleted_is_none_any_more(
    ml_client: "MLClient", scripted: "ModelBatchDeployment"
) -> None:
    ml_client.batch_deployments.begin_delete("scripted", ENDPOINT).result()
    assert ml_client.batch_endpoints.get(ENDPOINT).defaults.deployment_name is None
    assert "scripted" not in [d.name for d in ml_client.batch_deployments.list(ENDPOINT)]
