"""Parallel nodes: mini-batches of files and of rows, through the SDK and a real emulator."""

import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import Job

FILES = """
import argparse, os, pathlib, sys, time

def init():
    global out
    parser = argparse.ArgumentParser()
    parser.add_argument("--out")
    out = pathlib.Path(parser.parse_known_args()[0].out)
    (out / f"init-{os.getpid()}").touch()

def run(mini_batch, mini_batch_context):
    names = [pathlib.Path(path).name for path in mini_batch]
    print("batch of", names, flush=True)
    if "c.txt" in names:
        assert (out / "again").exists() or (out / "again").touch()  # the first try only
    if "slow.txt" in names:
        time.sleep(30)
    if "e.txt" in names:
        raise ValueError("e is not read")
    return [f"{mini_batch_context.minibatch_index}: {name}" for name in names]

def shutdown():
    (out / "shutdown").touch()
"""
ROWS = """
def run(table, mini_batch_context):
    key = mini_batch_context.partition_key_value
    table["total"] = table["amount"] * 2
    table["key"] = key["store"]
    return table[["store", "total", "key"]]
"""
TABLE = """
paths:
  - pattern: ./**/*.csv
transformations:
  - read_delimited: {delimiter: ',', header: all_files_same_headers}
  - extract_columns_from_partition_format:
      partition_format: '{store}/part.csv'
"""


def run_parallel(
    client: "MLClient", folder: Path, script: str, kind: str, mode: str, **settings: Any
) -> "Job":
    """A pipeline with one parallel node, at its end."""
    from azure.ai.ml import Input, Output, dsl
    from azure.ai.ml.entities import Environment
    from azure.ai.ml.parallel import RunFunction, parallel_run_function

    (folder / "code").mkdir()
    (folder / "code" / "entry.py").write_text(script)
    step = parallel_run_function(
        name=f"score_{uuid.uuid4().hex[:8]}",
        inputs={"source": Input(type=kind)},
        outputs={"rows": Output(type="uri_file"), "out": Output(type="uri_folder")},
        input_data="${{inputs.source}}",
        max_concurrency_per_instance=2,
        task=RunFunction(
            code=str(folder / "code"),
            entry_script="entry.py",
            program_arguments="--out ${{outputs.out}}",
            environment=Environment(image="any"),
            append_row_to="${{outputs.rows}}",
        ),
        **settings,
    )

    @dsl.pipeline()  # type: ignore[call-overload]
    def pipeline(source):  # type: ignore[no-untyped-def]
        node: Any = step(source=source)
        node.inputs.source.mode = mode
        return {"rows": node.outputs.rows, "out": node.outputs.out}

    job = pipeline(source=Input(type=kind, path=str(folder / "data")))
    job.outputs.rows.type = "uri_file"
    job.settings.default_compute = "serverless"
    job = client.jobs.create_or_update(job)
    end = time.monotonic() + 90
    while client.jobs.get(job.name).status not in ("Completed", "Failed", "Canceled"):
        assert time.monotonic() < end
        time.sleep(0.2)
    ended: Job = client.jobs.get(job.name)
    return ended


def outputs(client: "MLClient", job: "Job", folder: Path) -> Path:
    client.jobs.download(job.name, download_path=folder / "down", all=True)
    return folder / "down" / "named-outputs"


def texts(folder: Path, *names: str) -> None:
    for name in names:
        (folder / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "data" / name).write_text("amount\n1\n2\n")


def test_files_are_handed_out_with_retries_and_a_failure_that_is_allowed(
    ml_client: "MLClient", tmp_path: Path
) -> None:
    texts(tmp_path, *(f"{name}.txt" for name in "abcde"))
    settings = {"mini_batch_size": "2", "mini_batch_error_threshold": 1}
    retries = {"max_retries": 1, "timeout": 20}
    job = run_parallel(
        ml_client, tmp_path, FILES, "uri_folder", "ro_mount", retry_settings=retries, **settings
    )
    (child,) = ml_client.jobs.list(parent_job_name=job.name)
    ml_client.jobs.download(child.name, download_path=tmp_path / "child", all=True)
    logs = tmp_path / "child" / "artifacts"
    assert job.status == "Completed", (logs / "user_logs" / "std_log.txt").read_text()
    written = outputs(ml_client, job, tmp_path)
    (rows,) = (path for path in (written / "rows").rglob("*") if path.is_file())
    assert rows.read_text() == "0: a.txt\n0: b.txt\n1: c.txt\n1: d.txt\n"
    assert (written / "out" / "shutdown").exists()
    result = (logs / "logs" / "job_result.txt").read_text()
    assert result == "Mini-batches: 3, processed 2, failed 1, not begun 0. Failed items: 1.\n"
    assert "ValueError: e is not read" in (logs / "logs" / "user" / "error.txt").read_text()


def test_a_table_is_cut_by_the_parts_of_its_paths(ml_client: "MLClient", tmp_path: Path) -> None:
    texts(tmp_path, "north/part.csv", "south/part.csv")
    (tmp_path / "data" / "MLTable").write_text(TABLE)
    job = run_parallel(ml_client, tmp_path, ROWS, "mltable", "direct", partition_keys=["store"])
    assert job.status == "Completed"
    (rows,) = (
        path for path in (outputs(ml_client, job, tmp_path) / "rows").rglob("*") if path.is_file()
    )
    expected = [f"{name} {total} {name}" for name in ("north", "south") for total in (2, 4)]
    assert rows.read_text().splitlines() == expected


def test_too_many_failures_and_a_call_without_end_fail_the_step(
    ml_client: "MLClient", tmp_path: Path
) -> None:
    texts(tmp_path, "slow.txt")
    job = run_parallel(
        ml_client,
        tmp_path,
        FILES,
        "uri_folder",
        "ro_mount",
        mini_batch_error_threshold=0,
        retry_settings={"max_retries": 0, "timeout": 1},
    )
    (child,) = ml_client.jobs.list(parent_job_name=job.name)
    ml_client.jobs.download(child.name, download_path=tmp_path / "child", all=True)
    assert (job.status, child.status) == ("Failed", "Failed")
    log = (tmp_path / "child" / "artifacts" / "user_logs" / "std_log.txt").read_text()
    assert "It took longer than 1 seconds." in log
    assert log.rstrip().endswith(
        "1 mini-batch(es) failed; mini_batch_error_threshold lets 0 fail. See logs/user/error.txt."
    )


COMPONENT = """
type: parallel
name: {name}
version: "1"
inputs:
  source: {{type: uri_folder}}
outputs:
  rows: {{type: uri_file}}
input_data: ${{{{inputs.source}}}}
mini_batch_size: "1"
error_threshold: 1
task:
  type: run_function
  code: ./code
  entry_script: entry.py
  program_arguments: --allowed_failed_percent 100
  environment: {{image: any}}
  append_row_to: ${{{{outputs.rows}}}}
"""
SOME = """
import pathlib

def run(mini_batch):
    return [path for path in mini_batch if pathlib.Path(path).name in ("a.txt", "b.txt")]
"""


def test_a_registered_component_fails_when_too_few_items_come_back(
    ml_client: "MLClient", tmp_path: Path
) -> None:
    from azure.ai.ml import load_component, load_job
    from azure.ai.ml.exceptions import JobException

    texts(tmp_path, *(f"{name}.txt" for name in "abcd"))
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "entry.py").write_text(SOME)
    name = f"some_{uuid.uuid4().hex[:8]}"
    (tmp_path / "component.yml").write_text(COMPONENT.format(name=name))
    made = ml_client.components.create_or_update(load_component(tmp_path / "component.yml"))
    assert made.type == "parallel"
    (tmp_path / "job.yml").write_text(
        f"type: pipeline\nsettings: {{default_compute: azureml:serverless}}\n"
        f"inputs: {{files: {{type: uri_folder, path: {tmp_path / 'data'}}}}}\n"
        f"jobs:\n  some:\n    type: parallel\n    component: azureml:{name}:1\n"
        "    inputs: {source: '${{parent.inputs.files}}'}\n"
    )
    job = ml_client.jobs.create_or_update(load_job(tmp_path / "job.yml"))
    assert job.name
    with pytest.raises(JobException):
        ml_client.jobs.stream(job.name)
    (child,) = ml_client.jobs.list(parent_job_name=job.name)
    ml_client.jobs.download(str(child.name), download_path=tmp_path / "child", all=True)
    log = (tmp_path / "child" / "artifacts" / "user_logs" / "std_log.txt").read_text()
    assert "2 item(s) failed; error_threshold lets 1 fail." in log
