"""Metrics to MLflow over its REST API: to the step's run and to the root run of the pipeline."""

import json
import os
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

ENDPOINT = "/api/2.0/mlflow/runs/log-batch"
_sender = ThreadPoolExecutor(1, "metrics")
"""One thread, so that metrics arrive in order; the end of the process waits for it."""


def log_metrics(metrics: dict[str, float], step: int) -> None:
    """Log metrics of one training step in the background. Nothing without MLFLOW_TRACKING_URI.

    A run that cannot be reached costs a line on stderr, never the training.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    runs = {os.environ.get("MLFLOW_RUN_ID"), os.environ.get("AZUREML_ROOT_RUN_ID")} - {None, ""}
    if not uri.startswith("http"):
        return
    now = int(time.time() * 1000)
    batch = [
        {"key": key, "value": value, "timestamp": now, "step": step}
        for key, value in metrics.items()
    ]
    for run in runs:
        body = json.dumps({"run_id": run, "metrics": batch}).encode()
        _sender.submit(_send, uri.rstrip("/") + ENDPOINT, body, f"step {step} not logged to {run}")


def _send(address: str, body: bytes, failure: str) -> None:
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    try:
        urllib.request.urlopen(request, timeout=30).close()
    except OSError as error:
        print(f"Metrics of {failure}: {error}", file=sys.stderr)
