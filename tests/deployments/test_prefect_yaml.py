"""prefect.yaml says what Prefect understands, and what local.yaml and azure.yaml say."""

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest
import yaml
from prefect.cli.deploy._models import (
    ConcurrencyLimitSpec,
    DeploymentConfig,
    PrefectYamlModel,
    RawScheduleConfig,
)
from prefect.flows import Flow, load_flow_from_entrypoint
from pydantic import BaseModel

from deployments.automating import written_automations
from deployments.register import full_names
from tasks.config import FinetuneConfig
from tasks.release_config import ReleaseConfig
from tasks.retrain_config import RetrainConfig

FLOWS = ("finetune", "retrain", "compare", "release", "sweep")
NAMES = [f"{flow}/{environment}" for flow in FLOWS for environment in ("local", "azure")]
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deployments"


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return content


def deployments() -> dict[str, DeploymentConfig]:
    model = PrefectYamlModel.model_validate(read("prefect.yaml"))
    return dict(zip(full_names(), model.deployments, strict=True))


def finetuning(name: str) -> DeploymentConfig:
    return deployments()[f"finetune/{name}"]


def load(entrypoint: str) -> Flow[..., Any]:
    """The flow as a worker loads it; a module that cannot be imported fails here."""
    flow: Flow[..., Any] = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
    return flow


def test_each_flow_has_a_local_and_an_azure_deployment() -> None:
    assert sorted(deployments()) == sorted(NAMES)


@pytest.mark.parametrize("name", ["local", "azure"])
def test_parameters_are_those_of_the_configuration_file(name: str) -> None:
    assert finetuning(name).parameters["config"] == read(f"{name}.yaml")


def retraining(name: str) -> RetrainConfig:
    return RetrainConfig.model_validate(deployments()[f"retrain/{name}"].parameters["config"])


@pytest.mark.parametrize("name", ["local", "azure"])
def test_what_is_scheduled_trains_as_the_configuration_file_says(name: str) -> None:
    assert retraining(name).finetune == FinetuneConfig.model_validate(read(f"{name}.yaml"))


@pytest.mark.parametrize("name", ["local", "azure"])
def test_a_retraining_releases_as_a_release_does(name: str) -> None:
    alone = deployments()[f"release/{name}"].parameters["config"]
    assert retraining(name).release == ReleaseConfig.model_validate(alone)


def test_a_release_on_azure_waits_for_a_person_and_a_local_one_does_not() -> None:
    local, azure = retraining("local").release, retraining("azure").release
    assert local is not None
    assert azure is not None
    assert local.endpoint == azure.endpoint == "chat"
    assert azure.approval
    assert not local.approval
    assert (local.checks.seconds, local.checks.requests) == (5, 10)


def test_the_local_evaluation_is_small() -> None:
    evaluation = retraining("local").evaluation
    assert (evaluation.rows, evaluation.replies, evaluation.max_new_tokens) == (64, 8, 32)


def test_the_local_run_is_the_default_run_at_a_size_for_this_machine() -> None:
    local = FinetuneConfig.model_validate(read("local.yaml"))
    default = FinetuneConfig()
    assert local.model.name == default.model.name
    assert local.dataset.name == default.dataset.name
    assert local.model.accept_retired
    assert not local.plan_only


def test_the_azure_run_does_not_accept_a_retired_model() -> None:
    azure = FinetuneConfig.model_validate(read("azure.yaml"))
    assert azure.model.name == "Phi-4"
    assert not azure.model.accept_retired


@pytest.mark.parametrize("name", ["local", "azure"])
@pytest.mark.parametrize("flow", ["finetune", "retrain"])
def test_training_is_scheduled_weekly_in_a_time_zone_and_off(flow: str, name: str) -> None:
    assert not deployments()[f"release/{name}"].schedules
    (schedule,) = deployments()[f"{flow}/{name}"].schedules or []
    assert isinstance(schedule, RawScheduleConfig)
    assert schedule.active is False
    assert schedule.slug
    assert schedule.cron is not None
    assert schedule.cron.split()[2:4] == ["*", "*"]
    assert schedule.cron.split()[4] != "*"
    ZoneInfo(str(schedule.timezone))


@pytest.mark.parametrize(("name", "active"), [("local", True), ("azure", False)])
def test_the_scheduled_sweep_ends_what_the_form_only_shows(name: str, active: bool) -> None:
    deployment = deployments()[f"sweep/{name}"]
    assert deployment.parameters["dry_run"] is True
    (schedule,) = deployment.schedules or []
    assert isinstance(schedule, RawScheduleConfig)
    assert schedule.parameters == {"dry_run": False}
    assert schedule.cron == "*/15 * * * *"
    assert schedule.active is active


@pytest.mark.parametrize("name", NAMES)
def test_a_deployment_has_what_a_person_and_a_worker_need(name: str) -> None:
    deployment = deployments()[name]
    flow, environment = name.split("/")
    assert deployment.description
    assert deployment.tags == [flow, environment]
    assert deployment.enforce_parameter_schema is True
    assert deployment.work_pool is not None
    assert deployment.work_pool.name == f"finetune-{environment}"
    assert deployment.work_pool.job_variables["stream_output"] is False
    limit = deployment.concurrency_limit
    assert isinstance(limit, ConcurrencyLimitSpec)
    # A sweep that is late has nothing to add to the one that runs.
    assert limit.limit == 1
    assert limit.collision_strategy == ("CANCEL_NEW" if flow == "sweep" else "ENQUEUE")


@pytest.mark.parametrize("name", NAMES)
def test_the_entrypoint_is_the_flow_and_takes_the_parameters(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    deployment = deployments()[name]
    flow = load(str(deployment.entrypoint))
    assert flow.name == name.split("/")[0]
    chosen = {"model": "chat:1"} if flow.name == "release" else {}
    flow.validate_parameters({**deployment.parameters, **chosen})


@pytest.mark.parametrize("name", ["local", "azure"])
def test_news_are_those_of_the_model_and_the_data_that_are_retrained(name: str) -> None:
    (news,) = [
        entry
        for entry in written_automations()
        if entry["actions"][0].get("deployment_id") == f"retrain/{name}"
    ]
    config = retraining(name).finetune
    assert news["trigger"]["match"]["prefect.resource.id"] == [
        f"azureml.model.{config.model.name}",
        f"huggingface.dataset.{config.dataset.name}",
    ]


@pytest.mark.parametrize(("chosen", "folder"), [({}, str(ROOT)), ({"FINETUNE_CODE": "/x"}, "/x")])
def test_runs_find_the_code_here_or_where_it_is_said_to_be(
    chosen: dict[str, str], folder: str
) -> None:
    ((_, step),) = read("prefect.yaml")["build"][0].items()
    command = shlex.split(step["script"])
    environment = {"PATH": os.defpath, **chosen}
    said = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    assert said.stdout.decode().strip() == folder


def models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The model and every model that its fields hold."""
    yield model
    for field in model.model_fields.values():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from models(kind)


CONFIGURED = {*models(RetrainConfig), *models(ReleaseConfig)}


@pytest.mark.parametrize("model", sorted(CONFIGURED, key=str))
def test_every_field_of_the_form_is_described(model: type[BaseModel]) -> None:
    undescribed = [name for name, field in model.model_fields.items() if not field.description]
    assert not undescribed


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("finetune", {"config", "workspace"}),
        ("retrain", {"config", "workspace"}),
        ("release", {"model", "config", "workspace", "comparison"}),
        ("sweep", {"workspace", "dry_run"}),
    ],
)
def test_every_parameter_of_the_flow_is_described(
    name: str, parameters: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    flow = load(f"flows/{name}.py:{name}")
    properties = flow.parameters.model_dump()["properties"]
    assert set(properties) == parameters
    assert all(part.get("description") for part in properties.values())
