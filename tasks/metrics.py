"""Training metrics from the MLflow runs below the job."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import task

from tasks.artifacts import image, run_logger, table
from tasks.clients import REMOTE, workspace_client
from tasks.explaining import azure_code_and_text, is_transient
from tasks.markdown import markdown_table
from tasks.pictures import data_uri, loss_picture, png
from tasks.values import MetricPoint, Metrics

CURVES = ("loss", "eval_loss", "learning_rate")
_NONE = Metrics(run_id=None)


@task(name="read the metrics", task_run_name="read metrics of {job}", **REMOTE)
def read_metrics(workspace: str, job: str, experiment: str, folder: str) -> Metrics:
    """The metrics of the job's training run, kept as a table and a loss curve.

    The curve is also written to `folder`/loss.png. A job without metrics gives empty ones and a
    warning: the model is there all the same.
    """
    logger = run_logger()
    try:
        metrics = collect_metrics(workspace, job, experiment)
    except Exception as error:
        if is_transient(error):
            raise
        logger.warning("The metrics of %s cannot be read: %s", job, azure_code_and_text(error)[1])
        return _NONE
    if not metrics.last:
        logger.warning("Job %s logged no metrics.", job)
        return metrics
    rows = metric_rows(metrics)
    for row in rows:
        logger.info("%(metric)s: first %(first)s, last %(last)s", row)
    table("metrics", rows, f"Metrics of job {job}")
    if figure := loss_picture(metrics, f"Job {job}"):
        drawn = png(figure)
        path = Path(folder) / "loss.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(drawn)
        image("loss-curves", data_uri(drawn), f"Loss of job {job}", losses_markdown(metrics))
    return metrics


def collect_metrics(workspace: str, job: str, experiment: str) -> Metrics:
    """The metrics of the training run below the job; empty ones where no run logged any."""
    from mlflow.tracking import MlflowClient

    client = workspace_client(workspace)
    address = client.workspaces.get(client.workspace_name).mlflow_tracking_uri
    mlflow_client = MlflowClient(tracking_uri=address)
    found = mlflow_client.get_experiment_by_name(experiment)
    if found is None:
        return _NONE
    runs = mlflow_client.search_runs(
        [found.experiment_id], filter_string=f"tags.mlflow.rootRunId = '{job}'"
    )
    run = training_run(runs)
    if run is None:
        return _NONE
    last = {name: float(value) for name, value in run.data.metrics.items()}
    curves = {
        name: _curve(mlflow_client.get_metric_history(run.info.run_id, name))
        for name in CURVES
        if name in last
    }
    return Metrics(run_id=run.info.run_id, tracking_uri=address, last=last, curves=curves)


def training_run(runs: Sequence[Any]) -> Any | None:
    """The run that trained: the one with an epoch, else with a loss; the richest if several."""
    for name in ("epoch", "loss", "train_loss"):
        having = [run for run in runs if name in run.data.metrics]
        if having:
            return max(having, key=lambda run: len(run.data.metrics))
    return None


def _curve(history: Sequence[Any]) -> tuple[MetricPoint, ...]:
    ordered = sorted(history, key=lambda point: (point.step, point.timestamp))
    return tuple(
        MetricPoint(step=point.step, value=point.value)
        for point in ordered
        if math.isfinite(point.value)
    )


def first_and_last(metrics: Metrics, name: str) -> tuple[float, float] | None:
    """First and last value of a curve, or None for a metric without one."""
    curve = metrics.curves.get(name)
    return (curve[0].value, curve[-1].value) if curve else None


def metric_rows(metrics: Metrics) -> list[dict[str, Any]]:
    """One row a metric: its name, its first and its last value."""
    rows = []
    for name, value in sorted(metrics.last.items()):
        ends = first_and_last(metrics, name) or (value, value)
        rows.append({"metric": name, "first": f"{ends[0]:.6g}", "last": f"{ends[1]:.6g}"})
    return rows


def losses_markdown(metrics: Metrics) -> str:
    """The ends of the loss curves and the best value of each, as a table."""
    rows = []
    for name, label in (("loss", "training loss"), ("eval_loss", "evaluation loss")):
        if curve := metrics.curves.get(name):
            best = min(curve, key=lambda point: point.value)
            ends = [f"{curve[0].value:.4g}", f"{curve[-1].value:.4g}"]
            rows.append([label, *ends, f"{best.value:.4g}, step {best.step:,}", str(len(curve))])
    return markdown_table(("", "first", "last", "lowest", "points"), rows)
