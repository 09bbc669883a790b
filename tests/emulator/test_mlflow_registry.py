"""MLflow's model registry is the workspace's models, from outside and from inside of jobs."""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

SCRIPT = """
    import mlflow
    import os
    from model import Doubling

    with mlflow.start_run():
        mlflow.pyfunc.log_model(
            name="model",
            python_model=Doubling(),
            code_paths=["model.py"],
            pip_requirements=[],
            registered_model_name="from-a-job",
        )
    run = mlflow.last_active_run().info.run_id
    version = mlflow.register_model(f"runs:/{run}/model", "from-a-job")
    model = mlflow.pyfunc.load_model(f"models:/from-a-job/{version.version}")
    print("doubled", model.predict([4]))

    mlflow.pyfunc.save_model("saved", python_model=Doubling(), code_paths=["model.py"])
    mlflow.register_model("file://" + os.path.abspath("saved"), "from-a-job-s-folder")
    mlflow.MlflowClient().create_model_version(
        "from-a-job-s-folder", "file://" + os.path.abspath("saved")
    )
"""
MODEL = """
    import mlflow.pyfunc

    class Doubling(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input: list[int], params=None) -> list[int]:
            return [2 * value for value in model_input]
"""


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code")
    (folder / "main.py").write_text(textwrap.dedent(SCRIPT))
    (folder / "model.py").write_text(textwrap.dedent(MODEL))
    return folder


@pytest.fixture(scope="module")
def job(ml_client: "MLClient", code: Path) -> str:
    """A job that registered its model twice."""
    from azure.ai.ml import command
    from azure.ai.ml.entities import Environment

    environment = Environment(image="docker.io/library/python:3.11")
    submitted = ml_client.jobs.create_or_update(
        command(code=str(code), command="python main.py", environment=environment, compute="local")
    )
    ml_client.jobs.stream(submitted.name)
    assert ml_client.jobs.get(submitted.name).status == "Completed"
    return str(submitted.name)


@pytest.fixture(scope="module")
def mlflow_client(ml_client: "MLClient") -> Any:
    import mlflow

    mlflow.set_tracking_uri(ml_client.workspaces.get(ml_client.workspace_name).mlflow_tracking_uri)
    return mlflow.MlflowClient()


def test_what_a_job_registers_is_a_model_of_the_workspace(ml_client: "MLClient", job: str) -> None:
    model = ml_client.models.get("from-a-job", label="latest")
    assert (model.version, model.type, model.job_name) == ("2", "mlflow_model", job)
    assert f"dcid.{job}/model" in str(model.path)


def test_a_job_registers_a_folder_of_its_own(
    ml_client: "MLClient", mlflow_client: Any, job: str
) -> None:
    import mlflow

    first, second = (ml_client.models.get("from-a-job-s-folder", n) for n in ("1", "2"))
    for model in (first, second):
        assert "/datastores/workspaceartifactstore/paths/LocalUpload/" in str(model.path)
    assert first.path != second.path
    assert mlflow.pyfunc.load_model("models:/from-a-job-s-folder/2").predict([3]) == [6]


def test_a_registered_model_is_loaded_from_outside(mlflow_client: Any, job: str) -> None:
    import mlflow

    assert mlflow.pyfunc.load_model("models:/from-a-job/1").predict([21]) == [42]
    assert [file.path for file in mlflow_client.list_artifacts(job, "model")]


def test_a_model_is_logged_and_registered_from_outside(
    ml_client: "MLClient", mlflow_client: Any, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.syspath_prepend(str(code))
    from model import Doubling  # type: ignore[import-not-found]

    mlflow.set_experiment("registry-outside")
    with mlflow.start_run() as run:
        mlflow.pyfunc.log_model(name="model", python_model=Doubling(), pip_requirements=[])
    version = mlflow.register_model(f"runs:/{run.info.run_id}/model", "from-outside")
    found = ml_client.models.get("from-outside", version.version)
    assert f"dcid.{run.info.run_id}/model" in str(found.path)
    assert mlflow_client.get_model_version("from-outside", "1").run_id == run.info.run_id


def test_models_of_the_sdk_are_there_too(
    ml_client: "MLClient", mlflow_client: Any, tmp_path: Path
) -> None:
    from azure.ai.ml.entities import Model

    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    made = Model(name="by-the-sdk", version="7", path=str(tmp_path), type="mlflow_model")
    ml_client.models.create_or_update(made)
    names = [model.name for model in mlflow_client.search_registered_models()]
    assert "by-the-sdk" in names
    found = mlflow_client.search_model_versions("name='by-the-sdk'")
    assert [version.version for version in found] == ["7"]


def test_tags_aliases_and_stages(ml_client: "MLClient", mlflow_client: Any, job: str) -> None:
    mlflow_client.set_model_version_tag("from-a-job", "1", "quality", "good")
    assert ml_client.models.get("from-a-job", "1").tags["quality"] == "good"
    mlflow_client.set_registered_model_alias("from-a-job", "best", "1")
    assert mlflow_client.get_model_version_by_alias("from-a-job", "best").version == "1"
    mlflow_client.delete_registered_model_alias("from-a-job", "best")
    mlflow_client.transition_model_version_stage("from-a-job", "2", "Production")
    latest = mlflow_client.get_latest_versions("from-a-job", stages=["Production"])
    assert [version.version for version in latest] == ["2"]
    mlflow_client.update_model_version("from-a-job", "2", description="the better one")
    assert ml_client.models.get("from-a-job", "2").description == "the better one"
    mlflow_client.delete_model_version("from-a-job", "2")
    assert [v.version for v in ml_client.models.list("from-a-job")] == ["1"]


def test_what_is_not_there_is_said(mlflow_client: Any, tmp_path: Path) -> None:
    from mlflow.exceptions import MlflowException

    calls: dict[str, Callable[[], Any]] = {
        "nothing": lambda: mlflow_client.get_registered_model("nothing"),
        "from anywhere": lambda: mlflow_client.create_model_version(
            "by-the-sdk", "s3://b/from anywhere"
        ),
        "no/name": lambda: mlflow_client.create_registered_model("no/name"),
    }
    for name, call in calls.items():
        with pytest.raises(MlflowException, match=name):
            call()


def test_a_folder_of_this_machine_is_registered(
    ml_client: "MLClient", mlflow_client: Any, code: Path, tmp_path: Path
) -> None:
    import mlflow

    mlflow.pyfunc.save_model(
        tmp_path / "saved", python_model=str(_script(tmp_path)), pip_requirements=[]
    )
    version = mlflow.register_model(f"file://{tmp_path / 'saved'}", "from-a-folder")
    path = str(ml_client.models.get("from-a-folder", version.version).path)
    assert "/datastores/workspaceartifactstore/paths/LocalUpload/" in path
    assert mlflow.pyfunc.load_model("models:/from-a-folder/1").predict([2]) == [4]
    mlflow.artifacts.download_artifacts("models:/from-a-folder/1", dst_path=str(tmp_path / "down"))
    assert (tmp_path / "down" / "saved" / "MLmodel").is_file()
    first = mlflow_client.create_model_version("by-its-version", f"file://{tmp_path / 'saved'}")
    assert (first.name, first.version) == ("by-its-version", "1")
    assert ml_client.models.get("by-its-version", "1").type == "mlflow_model"


def _script(folder: Path) -> Path:
    """The model as a file that sets it: nothing of it need be importable."""
    script = folder / "doubling.py"
    script.write_text(
        textwrap.dedent(MODEL) + "\n\nimport mlflow\nmlflow.models.set_model(Doubling())\n"
    )
    return script
