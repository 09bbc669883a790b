"""What every run of the flow imports: loaded once, in the process that all runs are forked from."""

import os

os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")

import azure.ai.ml
import azure.ai.ml.entities
import azure.identity
import azure.storage.blob
import datasets
import matplotlib.figure
import mlflow
import pandas
import pyarrow.parquet

import flows.finetune

__all__ = ["azure", "datasets", "flows", "matplotlib", "mlflow", "pandas", "pyarrow"]
