"""Schedules: made disabled, so that none of them submits a job."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from tests.contract.created import Created
from tests.contract.jobs_support import pipeline
from tests.contract.service import Service


def _schedule(created: Created, environment: str, cluster: str, trigger: Any) -> Any:
    """A schedule of a pipeline of one step."""
    from azure.ai.ml import command
    from azure.ai.ml.entities import JobSchedule

    step = command(
        name=f"{created.prefix}_often", command=f"echo {created.prefix}", environment=environment
    ).component
    assert callable(step)

    def one_step() -> None:
        step()

    job = pipeline(created, one_step)
    job.experiment_name = created.prefix
    job.settings.default_compute = cluster
    return JobSchedule(
        name=created.name("often"), trigger=trigger, create_job=job, tags=created.tags
    )


@pytest.fixture(scope="module")
def disabled(client: Any, created: Created, environment: str, cluster: str) -> Any:
    """A schedule that begins next year, disabled."""
    from azure.ai.ml.entities import CronTrigger

    start = datetime.now() + timedelta(days=365)
    trigger = CronTrigger(
        expression="15 10 * * 1", start_time=start, time_zone="Pacific Standard Time"
    )
    schedule = _schedule(created, environment, cluster, trigger)
    schedule._is_enabled = False
    made = client.schedules.begin_create_or_update(schedule).result()
    if made.is_enabled:
        made = client.schedules.begin_disable(made.name).result()
    return made


@pytest.mark.operation(
    "Schedules_CreateOrUpdate", "Schedules_Get", "Schedules_List", cost="storage"
)
def test_a_disabled_schedule_is_in_another_list(client: Any, disabled: Any) -> None:

    def names(view: Any) -> set[str]:
        return {schedule.name for schedule in client.schedules.list(list_view_type=view)}

    found = client.schedules.get(disabled.name)
    assert not found.is_enabled
    assert found.trigger.expression == "15 10 * * 1"
    assert found.trigger.time_zone == "Pacific Standard Time"
    assert disabled.name in names("DisabledOnly")
    assert disabled.name in names("All")
    assert disabled.name not in names("EnabledOnly")


@pytest.mark.operation("Schedules_CreateOrUpdate", "Schedules_Delete", cost="storage")
def test_enabled_it_is_not_deleted(
    client: Any, service: Service, created: Created, environment: str, cluster: str
) -> None:
    from azure.ai.ml.entities import RecurrenceTrigger

    start = datetime.now() + timedelta(days=365)
    trigger = RecurrenceTrigger(frequency="week", interval=2, start_time=start)
    name = _schedule(created, environment, cluster, trigger).name
    schedule = _schedule(created, environment, cluster, trigger)
    schedule.name = name
    client.schedules.begin_create_or_update(schedule).result()
    assert client.schedules.begin_enable(name).result().is_enabled
    answer = service.send("DELETE", f"/schedules/{name}")
    assert answer.status_code == 202
    ended = service.finish(answer)
    assert ended["status"] == "Failed"
    assert ended["error"]["message"] == "Cannot delete an active trigger"
    assert not client.schedules.begin_disable(name).result().is_enabled
    client.schedules.begin_delete(name).wait()
    assert service.send("GET", f"/schedules/{name}").status_code == 404


def test_a_schedule_that_is_not_there(service: Service, created: Created) -> None:
    name = created.name("none")
    answer = service.send("GET", f"/schedules/{name}")
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["code"], error["message"]) == (
        "UserError",
        f"Resource Trigger {name} not found",
    )


def test_a_wrong_cron_expression_is_refused(
    client: Any, created: Created, environment: str, cluster: str
) -> None:
    from azure.ai.ml.entities import CronTrigger

    schedule = _schedule(created, environment, cluster, CronTrigger(expression="61 25 * * *"))
    with pytest.raises(HttpResponseError):
        client.schedules.begin_create_or_update(schedule).result()
