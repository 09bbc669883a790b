"""Schedules through the unmodified SDK: they fire when the emulator's clock is turned."""

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import requests
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from emulator.control_client import Control
from tests.emulator.schedule_support import (
    DAY,
    YESTERDAY,
    after,
    command_jobs,
    daily,
    ended,
    fired,
    greeting,
    greetings,
    name,
    until_due,
)

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

__all__ = ["after", "command_jobs", "name"]


def test_a_schedule_fires_a_job_each_day(
    ml_client: "MLClient", control: Control, after: Callable[[float], "MLClient"], name: str
) -> None:
    created = ml_client.schedules.begin_create_or_update(daily(name, greeting(who="you"))).result()
    assert created.is_enabled
    assert created.provisioning_state == "Succeeded"
    assert fired(ml_client, name, 0) == []

    tomorrow = after(until_due(control))
    (job,) = fired(tomorrow, name)
    assert job.display_name == f"{name}-{control.now():%Y%m%d}T101500Z"
    assert ended(tomorrow, job.name) == "Completed"

    later = after(3 * DAY)
    days = [j.display_name for j in fired(later, name, 4)]
    assert days == [
        f"{name}-{control.now() - timedelta(days=back):%Y%m%d}T101500Z" for back in (3, 2, 1, 0)
    ]


def test_a_disabled_schedule_does_not_fire(
    ml_client: "MLClient", control: Control, after: Callable[[float], "MLClient"], name: str
) -> None:
    ml_client.schedules.begin_create_or_update(daily(name, greeting())).result()
    disabled = ml_client.schedules.begin_disable(name).result()
    assert not disabled.is_enabled

    def listed(view: str) -> bool:
        return name in [s.name for s in ml_client.schedules.list(list_view_type=view)]

    assert (listed("EnabledOnly"), listed("DisabledOnly"), listed("All")) == (False, True, True)
    later = after(until_due(control))
    assert fired(later, name, 0) == []
    enabled = later.schedules.begin_enable(name).result()
    assert enabled.is_enabled
    # What passed while it was disabled is left out.
    assert fired(later, name, 0) == []
    assert len(fired(after(DAY), name)) == 1


def test_only_a_disabled_schedule_is_deleted(ml_client: "MLClient", name: str) -> None:
    ml_client.schedules.begin_create_or_update(daily(name, greeting())).result()
    with pytest.raises(HttpResponseError, match="Cannot delete an active trigger"):
        ml_client.schedules.begin_delete(name).result()
    assert ml_client.schedules.get(name).is_enabled
    ml_client.schedules.begin_disable(name).result()
    ml_client.schedules.begin_delete(name).result()
    with pytest.raises(ResourceNotFoundError, match=f"Resource Trigger {name} not found"):
        ml_client.schedules.get(name)


def test_expressions_of_a_schedule(
    ml_client: "MLClient", control: Control, after: Callable[[float], "MLClient"], name: str
) -> None:
    job = greetings("${{creation_context.trigger_time}}", experiment="by-the-clock")
    ml_client.schedules.begin_create_or_update(daily(name, job)).result()
    later = after(until_due(control))
    (started,) = fired(later, name)
    assert ended(later, started.name) == "Completed"
    found = later.jobs.get(started.name)
    assert found.inputs["text"]._data == f"{control.now():%Y-%m-%d}T10:15:00Z"
    assert found.experiment_name == "by-the-clock"
    assert found.properties["azureml.scheduleId"] == name


def test_a_job_that_exists_is_repeated(
    ml_client: "MLClient", control: Control, after: Callable[[float], "MLClient"], name: str
) -> None:
    source = ml_client.jobs.create_or_update(greetings("the source", experiment="again"))
    assert ended(ml_client, str(source.name)) == "Completed"
    made = ml_client.schedules.begin_create_or_update(daily(name, str(source.id))).result()
    assert made.create_job.id == source.id
    later = after(until_due(control))
    (job,) = fired(later, name)
    assert ended(later, job.name) == "Completed"
    repeated = later.jobs.get(job.name)
    assert repeated.name != source.name
    assert repeated.experiment_name == "again"
    assert repeated.inputs["text"]._data == "the source"


def test_triggered_once(ml_client: "MLClient", name: str) -> None:
    ml_client.schedules.begin_create_or_update(daily(name, greeting())).result()
    result = ml_client.schedules.trigger(name, schedule_time="2024-02-19T00:00:00")
    job = ml_client.jobs.get(result.job_name)
    assert job.display_name == f"{name}-20240219T000000Z"
    assert result.schedule_action_type == "CreateJob"
    again = ml_client.schedules.trigger(name, schedule_time="2024-02-19T00:00:00")
    assert again.job_name != result.job_name


def test_a_job_that_cannot_start_is_a_failed_job(
    ml_client: "MLClient", after: Callable[[float], "MLClient"], name: str
) -> None:
    job = greeting()
    job.compute = "not-yet-there"
    ml_client.schedules.begin_create_or_update(daily(name, job)).result()
    later = after(DAY)
    (failed,) = fired(later, name)
    assert failed.status == "Failed"
    with pytest.raises(Exception, match="compute target not-yet-there does not exist"):
        later.jobs.stream(failed.name)


def put(control: Control, name: str, properties: dict[str, Any]) -> requests.Response:
    from azure.identity import DefaultAzureCredential

    token = DefaultAzureCredential().get_token("https://management.azure.com/.default").token
    url = f"https://management.azure.com{control.config.workspace_path}/schedules/{name}"
    return requests.put(
        f"{url}?api-version=2023-06-01-preview",
        json={"properties": properties},
        headers={"Authorization": f"Bearer {token}"},
        timeout=10,
    )


JOB = {
    "jobType": "Command",
    "command": "true",
    "environmentId": "azureml:e:1",
    "computeId": "local",
}
CRON = {"triggerType": "Cron", "expression": "0 * * * *", "startTime": YESTERDAY}


@pytest.mark.parametrize(
    ("changes", "status", "problem"),
    [
        ({"action": {"actionType": "CreateMonitor"}}, 501, "CreateMonitor"),
        ({"action": {"actionType": "ImportData"}}, 400, "dataImportDefinition"),
        ({"action": {"actionType": "CreateJob"}}, 400, "jobDefinition"),
        ({"trigger": {**CRON, "expression": "every day"}}, 400, "expression"),
        ({"trigger": {**CRON, "timeZone": "Mars"}}, 400, "time zone 'Mars'"),
        (
            {"action": {"actionType": "CreateJob", "jobDefinition": {"jobType": "Spark"}}},
            501,
            "Spark",
        ),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(
    control: Control, changes: dict[str, Any], status: int, problem: str
) -> None:
    whole = {"trigger": CRON, "action": {"actionType": "CreateJob", "jobDefinition": JOB}}
    answer = put(control, "refused", {**whole, **changes})
    assert answer.status_code == status
    assert problem in answer.json()["error"]["message"]
