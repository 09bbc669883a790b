"""Imports of data: taken on, scheduled, and failed for want of a way to their source."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from emulator.control_client import Control
from tests.emulator.schedule_support import YESTERDAY, after, ended, fired, name, until_due

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import DataImport

__all__ = ["after", "name"]

PLACE = "azureml://datastores/workspaceblobstore/paths/imported/${{name}}"


def importing(asset: str, connection: str) -> "DataImport":
    from azure.ai.ml.data_transfer import Database
    from azure.ai.ml.entities import DataImport

    source = Database(connection=f"azureml:{connection}", query="select * from a where b = 'c'")
    return DataImport(type="mltable", name=asset, source=source, path=PLACE)


def log_of_the_step(client: "MLClient", pipeline: str, folder: Path) -> str:
    (step,) = client.jobs.list(parent_job_name=pipeline)
    client.jobs.download(step.name, download_path=folder / pipeline, all=True)
    return (folder / pipeline / "artifacts/user_logs/std_log.txt").read_text()


def test_an_import_says_where_its_connection_leads(ml_client: "MLClient", tmp_path: Path) -> None:
    from azure.ai.ml.entities import UsernamePasswordConfiguration, WorkspaceConnection

    login = UsernamePasswordConfiguration(username="u", password="p")
    lake = WorkspaceConnection(
        name="lake", type="snowflake", target="jdbc:snowflake://lake.example", credentials=login
    )
    ml_client.connections.create_or_update(lake)
    job = str(ml_client.data.import_data(importing("rows", "lake")).name)
    assert ended(ml_client, job) == "Failed"
    assert "leads to jdbc:snowflake://lake.example" in log_of_the_step(ml_client, job, tmp_path)
    ml_client.connections.delete("lake")


def test_a_schedule_imports(
    ml_client: "MLClient",
    control: Control,
    after: Callable[[float], "MLClient"],
    name: str,
    tmp_path: Path,
) -> None:
    from azure.ai.ml.entities import CronTrigger, ImportDataSchedule

    cron = CronTrigger(expression="15 10 * * *", start_time=YESTERDAY)
    schedule = ImportDataSchedule(name=name, trigger=cron, import_data=importing("rows", "nowhere"))
    made = ml_client.schedules.begin_create_or_update(schedule).result()
    assert made.import_data.source.query == "select * from a where b = 'c'"
    tomorrow = after(until_due(control))
    (job,) = fired(tomorrow, name)
    assert job.experiment_name == "data_import_rows"
    assert ended(tomorrow, job.name) == "Failed"
    assert "nowhere can't be found" in log_of_the_step(tomorrow, job.name, tmp_path)
