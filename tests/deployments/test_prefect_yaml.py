"""prefect.yaml says what Prefect understands, and what local.yaml and azure.yaml say."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest
import yaml
from prefect.cli.deploy._models import DeploymentConfig, PrefectYamlModel, RawScheduleConfig
from prefect.flows import Flow, load_flow_from_entrypoint
from pydantic import BaseModel

from deployments.register import full_names
from tasks.config import FinetuneConfig

NAMES = ["finetune/local", "finetune/azure", "sweep/local", "sweep/azure"]
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


@pytest.mark.parametrize("name", ["local", "azure"])
def test_parameters_are_a_valid_configuration(name: str) -> None:
    FinetuneConfig.model_validate(finetuning(name).parameters["config"])


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
def test_the_schedule_is_weekly_in_a_time_zone_and_off(name: str) -> None:
    (schedule,) = finetuning(name).schedules or []
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


@pytest.mark.parametrize("name", NAMES)
def test_the_entrypoint_is_the_flow_and_takes_the_parameters(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    deployment = deployments()[name]
    flow = load(str(deployment.entrypoint))
    assert flow.name == name.split("/")[0]
    flow.validate_parameters(deployment.parameters or {})


def models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The model and every model that its fields hold."""
    yield model
    for field in model.model_fields.values():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from models(kind)


@pytest.mark.parametrize("model", list(models(FinetuneConfig)), ids=lambda model: model.__name__)
def test_every_field_of_the_form_is_described(model: type[BaseModel]) -> None:
    undescribed = [name for name, field in model.model_fields.items() if not field.description]
    assert not undescribed


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("finetune", {"config", "workspace"}), ("sweep", {"workspace", "dry_run"})],
)
def test_every_parameter_of_the_flow_is_described(
    name: str, parameters: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    flow = load(f"flows/{name}.py:{name}")
    properties = flow.parameters.model_dump()["properties"]
    assert set(properties) == parameters
    assert all(part.get("description") for part in properties.values())
