import json
from pathlib import Path

import pytest

from tasks.errors import EndpointError
from tasks.recording import error_text, recording
from tasks.report import RunReport
from tasks.values import (
    JobOutcome,
    JobRef,
    LiveEndpoint,
    MetricPoint,
    Metrics,
    Price,
    RegisteredModel,
)
from tests.tasks.test_job import plan


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FINETUNE_HOME", str(tmp_path))
    return tmp_path / "runs"


def report(**parts: object) -> RunReport:
    values = {"flow_run_id": "0123456789", "flow_run_name": "brave lion", "workspace": "default"}
    return RunReport.model_validate(values | parts)


def test_it_is_written_below_the_home_folder_and_is_the_latest(folder: Path) -> None:
    path = report().write()
    assert path == folder / "brave-lion-01234567" / "report.json"
    assert json.loads(path.read_text())["flow_run_name"] == "brave lion"
    assert (folder / "latest").resolve() == path.parent
    later = report(flow_run_name="calm owl").write()
    assert (folder / "latest" / "report.json").read_text() == later.read_text()


def test_the_plan_brings_the_rows_of_every_split() -> None:
    made = report()
    made.add_plan(plan())
    assert made.rows["train_sft"].used == 96
    assert made.rows["train_sft"].read == 100
    assert made.rows["train_sft"].dropped == {"broken": 4}
    assert list(made.rows) == ["train_sft", "test_sft", "test_gen"]


def test_metrics_bring_the_first_and_last_evaluation_loss() -> None:
    made = report()
    points = (MetricPoint(step=0, value=5.0), MetricPoint(step=9, value=3.5))
    made.add_metrics(Metrics(run_id="r", last={"eval_loss": 3.5}, curves={"eval_loss": points}))
    assert made.losses["eval_loss"].first == 5.0
    assert made.losses["eval_loss"].last == 3.5


def test_a_run_that_fails_is_recorded_with_its_error(folder: Path) -> None:
    with pytest.raises(EndpointError), recording(RunReport(workspace="default")):
        raise EndpointError("It answered 500.", "Read the logs.")
    written = json.loads((folder / "latest" / "report.json").read_text())
    assert written["status"] == "failed"
    assert written["error"] == "It answered 500. Read the logs."
    assert written["finished"]


def test_a_run_that_ends_is_completed_and_its_stages_are_timed(folder: Path) -> None:
    with recording(RunReport(workspace="default")) as run:
        with run.stage("job"):
            pass
        with run.stage("job"):
            pass
    written = json.loads((folder / "latest" / "report.json").read_text())
    assert written["status"] == "completed"
    assert list(written["seconds"]) == ["job"]


def test_no_secret_reaches_the_file() -> None:
    made = report(error="GET https://a.blob.core.windows.net/b?sv=1&sig=abcDEF123 failed")
    assert "abcDEF123" not in made.write().read_text()


def test_an_error_of_the_tear_down_does_not_hide_the_one_before() -> None:
    def fail() -> None:
        try:
            raise EndpointError("The reply is empty.")
        finally:
            raise EndpointError("The endpoint was not deleted.")

    with pytest.raises(EndpointError) as caught:
        fail()
    text = error_text(caught.value)
    assert text == "The endpoint was not deleted. Before that: The reply is empty."


def test_the_summary_tells_what_a_person_asks() -> None:
    made = report(
        status="completed",
        job=JobRef(name="ft-1", adopted=True),
        outcome=JobOutcome(name="ft-1", status="Completed", seconds=1, adopted=True),
        deleted=["endpoint e"],
        seconds={"job": 61.2},
    )
    rows = dict(made.summary())
    assert rows["job"] == "ft-1, Completed, adopted"
    assert rows["deleted"] == "endpoint e"
    assert rows["seconds"] == "job 61; 61 in all"
    assert "| job | ft-1, Completed, adopted |" in made.markdown()


STUDIO = "https://ml.azure.com/runs/ft-1?wsid=/subscriptions/s/workspaces/w&tid=t"


def ended(**parts: object) -> RunReport:
    values = {
        "job": JobRef(name="ft-1", studio_url=STUDIO),
        "metrics": Metrics(run_id="r-1", tracking_uri="azureml://host/mlflow/v2.0/w"),
        "model": RegisteredModel(id="/m", name="Phi", version="abc"),
        "endpoint": LiveEndpoint(
            endpoint="e", deployment="d", scoring_uri="https://e.ml.azure.com/score", size="s"
        ),
    }
    return report(**(values | parts))


def test_links_lead_to_pages_of_the_same_studio() -> None:
    where = "?wsid=/subscriptions/s/workspaces/w&tid=t"
    made = ended()
    assert made.links == {
        "job": STUDIO,
        "metrics of the training": f"https://ml.azure.com/runs/r-1{where}",
        "registered model": f"https://ml.azure.com/model/Phi:abc/details{where}",
        "endpoint": f"https://ml.azure.com/endpoints/realtime/e/detail{where}",
        "scoring address": "https://e.ml.azure.com/score",
    }
    assert f"- [job]({STUDIO})" in made.markdown()
    assert "MLflow: run `r-1`" in made.markdown()
    assert "```\nazureml://host/mlflow/v2.0/w\n```" in made.markdown()
    assert json.loads(made.write().read_text())["links"] == made.links


def test_a_deleted_endpoint_has_no_link_and_is_said_to_be_deleted() -> None:
    made = ended(deleted=["endpoint e"])
    assert not {"endpoint", "scoring address"} & made.links.keys()
    assert dict(made.summary())["endpoint"] == "e, deleted"
    assert dict(ended().summary())["endpoint"] == "e"


def test_the_price_that_was_estimated_stands_in_the_report() -> None:
    made = report()
    made.add_plan(plan().model_copy(update={"price": None}))
    assert "price" not in dict(made.summary())
    for price, told in [
        (Price(nodes=1, cluster_per_hour=2, endpoint_per_hour=1, most=1234.5), "1,234.50 USD"),
        (Price(nodes=1, cluster_per_hour=2, endpoint_per_hour=1, most=None), "no end is set"),
        (
            Price(
                nodes=1, cluster_per_hour=None, endpoint_per_hour=1, most=None, unknown=("NC24",)
            ),
            "no price for NC24",
        ),
    ]:
        made.plan = plan().model_copy(update={"price": price})
        assert told in dict(made.summary())["price"]
