"""MLflow's client at the workspace's tracking server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.created import Created


@pytest.fixture(scope="module")
def mlflow(client: Any, created: Created) -> Iterator[Any]:
    """The module `mlflow` with its tracking server and an experiment set."""
    pytest.importorskip("azureml.mlflow")
    import mlflow

    previous = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(client.workspaces.get(client.workspace_name).mlflow_tracking_uri)
    mlflow.set_experiment(f"{created.prefix}-mlflow")
    yield mlflow
    mlflow.set_tracking_uri(previous)


@pytest.fixture(scope="module")
def run(mlflow: Any, created: Created, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of a run with a parameter, metrics, a tag, artifacts."""
    file = tmp_path_factory.mktemp("mlflow") / "table.csv"
    file.write_text("a,b\n1,2\n")
    with mlflow.start_run(run_name=created.prefix) as run:
        mlflow.log_param("depth", 3)
        mlflow.set_tags({"stage": "trial", **created.tags})
        for step, loss in enumerate((0.5, 0.25, 0.125)):
            mlflow.log_metric("loss", loss, step=step)
        mlflow.log_metrics({"accuracy": 0.75, "recall": 0.5})
        mlflow.log_text("hello", "notes/hello.txt")
        mlflow.log_artifact(str(file))
    return str(run.info.run_id)


@pytest.mark.operation(
    "MLflow_experiments_get-by-name", "MLflow_experiments_create", cost="storage"
)
def test_the_experiment_is_there(mlflow: Any, run: str, created: Created) -> None:
    experiment = mlflow.get_experiment_by_name(f"{created.prefix}-mlflow")
    assert experiment.lifecycle_stage == "active"
    assert mlflow.get_run(run).info.experiment_id == experiment.experiment_id


@pytest.mark.operation(
    "MLflow_runs_create",
    "MLflow_runs_get",
    "MLflow_runs_update",
    "MLflow_runs_log-metric",
    "MLflow_runs_log-batch",
    cost="storage",
)
def test_a_run_keeps_what_was_logged(mlflow: Any, run: str, created: Created) -> None:
    found = mlflow.get_run(run)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"depth": "3"}
    assert found.data.metrics == {"loss": 0.125, "accuracy": 0.75, "recall": 0.5}
    assert found.data.tags["stage"] == "trial"
    assert found.data.tags["mlflow.runName"] == created.prefix


@pytest.mark.operation("MLflow_metrics_get-history", cost="storage")
def test_a_metric_has_a_history(mlflow: Any, run: str) -> None:
    history = mlflow.MlflowClient().get_metric_history(run, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(0, 0.5), (1, 0.25), (2, 0.125)]


@pytest.mark.operation("MLflow_runs_search", cost="storage")
def test_runs_are_found_by_what_they_logged(mlflow: Any, run: str, created: Created) -> None:
    names = [f"{created.prefix}-mlflow"]

    def found(filter_: str) -> list[str]:
        runs = mlflow.search_runs(
            experiment_names=names, filter_string=filter_, output_format="list"
        )
        return [each.info.run_id for each in runs]

    assert found("metrics.loss < 0.2 and params.depth = '3'") == [run]
    assert found("metrics.loss > 0.2") == []
    assert found("tags.stage = 'trial'") == [run]


@pytest.mark.operation(
    "RunArtifacts_BatchCreateEmptyArtifacts", "RunArtifacts_ListInContainer", cost="storage"
)
def test_artifacts_come_back(mlflow: Any, run: str, tmp_path: Path) -> None:
    client = mlflow.MlflowClient()
    assert {file.path for file in client.list_artifacts(run)} == {"notes", "table.csv"}
    assert [file.path for file in client.list_artifacts(run, "notes")] == ["notes/hello.txt"]
    folder = mlflow.artifacts.download_artifacts(run_id=run, dst_path=str(tmp_path))
    assert Path(folder, "notes", "hello.txt").read_text() == "hello"
    assert Path(folder, "table.csv").read_text() == "a,b\n1,2\n"


@pytest.mark.operation("MLflow_runs_set-tag", "MLflow_runs_log-parameter", cost="storage")
def test_a_finished_run_can_be_tagged(mlflow: Any, run: str) -> None:
    client = mlflow.MlflowClient()
    client.set_tag(run, "seen", "yes")
    client.log_param(run, "later", "1")
    data = client.get_run(run).data
    assert (data.tags["seen"], data.params["later"]) == ("yes", "1")


@pytest.mark.operation("MLflow_runs_get", cost="storage")
def test_a_child_names_its_parent(mlflow: Any, created: Created) -> None:
    with (
        mlflow.start_run(run_name=f"{created.prefix}-parent") as parent,
        mlflow.start_run(run_name=f"{created.prefix}-child", nested=True) as child,
    ):
        pass
    tags = mlflow.get_run(child.info.run_id).data.tags
    assert tags["mlflow.parentRunId"] == parent.info.run_id


def test_a_run_that_is_not_there(mlflow: Any, created: Created) -> None:
    with pytest.raises(mlflow.exceptions.MlflowException) as error:
        mlflow.get_run(f"{created.prefix}-none")
    assert error.value.get_http_status_code() == 404


@pytest.mark.operation(
    "MLflow_experiments_get", "MLflow_experiments_set-experiment-tag", cost="storage"
)
def test_an_experiment_is_tagged(mlflow: Any, run: str) -> None:
    client = mlflow.MlflowClient()
    experiment = client.get_run(run).info.experiment_id
    client.set_experiment_tag(experiment, "of", "the contract tests")
    assert client.get_experiment(experiment).tags["of"] == "the contract tests"


@pytest.mark.operation("MLflow_runs_delete-tag", cost="storage")
def test_a_tag_is_taken_away(mlflow: Any, run: str) -> None:
    client = mlflow.MlflowClient()
    client.set_tag(run, "gone", "soon")
    client.delete_tag(run, "gone")
    assert "gone" not in client.get_run(run).data.tags


@pytest.mark.operation(
    "MLflow_registered-models_create",
    "MLflow_model-versions_create",
    "MLflow_model-versions_get",
    cost="storage",
)
def test_a_model_of_a_run_is_registered(mlflow: Any, run: str, created: Created) -> None:
    client = mlflow.MlflowClient()
    name = created.name("logged")
    client.create_registered_model(name)
    source = f"{client.get_run(run).info.artifact_uri}/notes"
    made = client.create_model_version(name, source, run_id=run)
    found = client.get_model_version(name, made.version)
    assert (found.version, found.run_id) == ("1", run)
