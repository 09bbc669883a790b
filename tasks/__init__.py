"""The stages of a fine-tuning run: thin Prefect tasks over plain functions."""

import os

# At its import mlflow sets up the logging anew, which flushes every handler. Inside a task this
# waits for ever, now and then: Prefect's handler is flushed by a thread that wants to log itself.
os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
