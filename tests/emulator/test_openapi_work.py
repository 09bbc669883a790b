"""Answers about computes, jobs, schedules and endpoints are what the published OpenAPI says."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import HttpResponseError

from tests.emulator.endpoint_support import living_endpoint
from tests.emulator.openapi_fixtures import api, check, exchanges, folder, needs_specifications

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

pytestmark = needs_specifications
__all__ = ["api", "check", "exchanges", "folder"]


def test_computes(ml_client: "MLClient", check: Callable[..., None]) -> None:
    from azure.ai.ml.entities import AmlCompute, ComputeInstance

    computes = ml_client.compute
    size = "Standard_DS3_v2"
    computes.begin_create_or_update(AmlCompute(name="published", size=size)).result()
    computes.begin_create_or_update(ComputeInstance(name="published-ci", size=size)).result()
    computes.get("published")
    list(computes.list())
    list(computes.list_sizes())
    list(computes.list_usage())
    list(computes.list_nodes("published"))
    with suppress(HttpResponseError):
        computes.get("unpublished")
    for name in ("published", "published-ci"):
        computes.begin_delete(name).result()
    check("Compute_CreateOrUpdate", "Compute_Get", "Compute_List", "Compute_Delete", "Usages_List")


def test_jobs(ml_client: "MLClient", check: Callable[..., None], folder: Path) -> None:
    from azure.ai.ml import Input, Output, command, dsl
    from azure.ai.ml.entities import Environment

    job = command(
        command="echo ${{inputs.text}} > ${{outputs.folder}}/text",
        environment=Environment(image="example.test/image"),
        inputs={"text": "hello", "rows": Input(type="uri_folder", path=str(folder))},
        outputs={"folder": Output(type="uri_folder")},
        compute="local",
        tags={"published": "yes"},
    )
    step: Any = job.component

    def graph(text: str, rows: Input) -> dict[str, Any]:
        return {"folder": step(text=text, rows=rows).outputs.folder}

    pipeline = dsl.pipeline(graph, default_compute="local")(
        text="hi", rows=Input(type="uri_folder", path=str(folder))
    )
    for submitted in (job, pipeline):
        name = str(ml_client.jobs.create_or_update(submitted).name)
        ml_client.jobs.stream(name)
        ml_client.jobs.get(name)
        ml_client.jobs.archive(name)
        with suppress(HttpResponseError):
            ml_client.jobs.begin_cancel(name).result()
    list(ml_client.jobs.list(max_results=10))
    with suppress(HttpResponseError):
        ml_client.jobs.get("unpublished")
    check("Jobs_CreateOrUpdate", "Jobs_Get", "Jobs_List", "Jobs_Cancel")


def test_schedules(ml_client: "MLClient", check: Callable[..., None]) -> None:
    from azure.ai.ml import command, dsl
    from azure.ai.ml.entities import (
        CronTrigger,
        Environment,
        JobSchedule,
        RecurrencePattern,
        RecurrenceTrigger,
    )

    job = command(command="echo", environment=Environment(image="example.test/image"))
    step: Any = job.component

    def graph() -> None:
        step()

    pipeline = dsl.pipeline(graph, default_compute="local")()
    weekly = RecurrencePattern(hours=1, minutes=2, week_days=["monday"])
    schedules = ml_client.schedules
    for trigger in (
        RecurrenceTrigger(frequency="week", interval=1, schedule=weekly),
        CronTrigger(expression="0 1 * * *"),
    ):
        schedule = JobSchedule(name="published", trigger=trigger, create_job=pipeline)
        schedules.begin_create_or_update(schedule).result()
    list(schedules.list())
    schedules.begin_disable("published").result()
    schedules.begin_delete("published").result()
    with suppress(HttpResponseError):
        schedules.get("unpublished")
    check("Schedules_CreateOrUpdate", "Schedules_Get", "Schedules_List", "Schedules_Delete")


def test_online_endpoints(
    ml_client: "MLClient", check: Callable[..., None], tmp_path: Path
) -> None:
    with living_endpoint(ml_client, tmp_path / "model", "ep-published", "blue") as endpoint:
        list(ml_client.online_endpoints.list())
        ml_client.online_endpoints.get_keys(endpoint.name)
        ml_client.online_deployments.get("blue", endpoint.name)
        list(ml_client.online_deployments.list(endpoint.name))
        ml_client.online_deployments.get_logs("blue", endpoint.name, 5)
        with suppress(HttpResponseError):
            ml_client.online_deployments.get("unpublished", endpoint.name)
    check(
        "OnlineEndpoints_CreateOrUpdate",
        "OnlineEndpoints_ListKeys",
        "OnlineDeployments_CreateOrUpdate",
        "OnlineDeployments_Get",
        "OnlineDeployments_List",
        "OnlineDeployments_GetLogs",
    )
