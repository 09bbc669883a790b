"""The emulator's registry through the SDK's own readers, without sockets, and sizes and data."""

from collections.abc import Iterator
from datetime import date
from types import SimpleNamespace
from typing import Any

from emulator.registry import Asset, AssetNotFound, Registry
from emulator.registry_wire import version_resource
from tasks.component import resolve_component
from tasks.config import FinetuneConfig
from tasks.model import resolve_model
from tasks.plan import Found, check_plan
from tasks.values import ClusterSize, DataSnapshot, PipelineComponent, Plan, SplitFile, Usage

A100 = "Standard_NC24ads_A100_v4"
A100_FAMILY = "StandardNCADSA100v4Family"
V100_FAMILY = "standardNCSv3Family"
SIZES = (
    ClusterSize(name=A100.upper(), gpus=1, vcpus=24, memory_gb=220, family=A100_FAMILY),
    ClusterSize(
        name="Standard_NC48ads_A100_v4", gpus=2, vcpus=48, memory_gb=440, family=A100_FAMILY
    ),
    ClusterSize(name="Standard_NC24s_v3", gpus=4, vcpus=24, memory_gb=448, family=V100_FAMILY),
    ClusterSize(name="Standard_DS3_v2", gpus=0, vcpus=4, memory_gb=14, family="standardDSv2Family"),
)
USAGES = tuple(
    Usage(name=f"{family} Cluster Dedicated vCPUs", used=0, limit=200)
    for family in ("Standard NCADSA100v4 Family", "Standard NCSv3 Family", "Standard DSv2 Family")
)
TODAY = date(2026, 11, 1)


class _Models:
    """`MLClient.models` of a registry: entities that azure-ai-ml makes of the service's answers."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def get(self, name: str, version: str | None = None, label: str | None = None) -> Any:
        from azure.ai.ml.entities import Model

        return Model._from_rest_object(self._get(name, version or label or ""))

    def _get(self, name: str, version: str) -> Any:
        from azure.ai.ml._restclient.arm_ml_service.models import ModelVersion

        answer = version_resource(_asset(self._registry, "models", name, version), self._registry)
        deserialize: Any = ModelVersion._deserialize
        return deserialize(answer, [])

    def list(self) -> Iterator[Any]:
        for name in self._registry.names("models"):
            yield SimpleNamespace(name=name)


class _Components:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def get(self, name: str, version: str | None = None, label: str | None = None) -> Any:
        from azure.ai.ml._restclient.arm_ml_service.models import ComponentVersion
        from azure.ai.ml.entities import Component

        asset = _asset(self._registry, "components", name, version or label or "")
        answer = version_resource(asset, self._registry)
        deserialize: Any = ComponentVersion._deserialize
        return Component._from_rest_object(deserialize(answer, []))


def _asset(registry: Registry, kind: str, name: str, version: str) -> Asset:
    """The asset, or what the SDK raises: another error for "latest" than for a version."""
    from azure.ai.ml.exceptions import ErrorTarget, ValidationErrorType, ValidationException
    from azure.core.exceptions import ResourceNotFoundError

    try:
        return registry.asset(kind, name, version)
    except AssetNotFound as error:
        if version != "latest":
            raise ResourceNotFoundError(str(error)) from error
        message = f"Asset {name} does not exist in registry azureml."
        refuse: Any = ValidationException
        raise refuse(
            message=message,
            no_personal_data_message=message,
            target=ErrorTarget.ASSET,
            error_type=ValidationErrorType.RESOURCE_NOT_FOUND,
        ) from error


def registry_client() -> Any:
    """Looks up models and components as an MLClient of the registry does."""
    registry = Registry()
    return SimpleNamespace(models=_Models(registry), components=_Components(registry))


def component() -> PipelineComponent:
    """The fine-tuning component as the registry publishes it."""
    return resolve_component(registry_client(), "chat_completion_pipeline", None)


def split(name: str, rows: int = 100, **dropped: int) -> SplitFile:
    return SplitFile(
        split=name,
        path=f"{name}.jsonl",
        rows=rows,
        rows_read=rows + sum(dropped.values()),
        dropped=dropped,
        sha256=name,
        bytes=1000,
    )


def data() -> DataSnapshot:
    return DataSnapshot(
        dataset="HuggingFaceH4/ultrachat_200k",
        revision="8049631c405ae6576f93f445c6b8166f76f5505a",
        train=split("train_sft", 96, broken=4),
        test=split("test_sft"),
        sample=split("test_gen"),
        fingerprint="f" * 64,
    )


def found(model_name: str = "Phi-4", **others: Any) -> Found:
    """What the look-ups bring when all is well and the cluster does not exist."""
    parts: dict[str, Any] = {
        "model": resolve_model(registry_client(), model_name, None),
        "component": component(),
        "data": data(),
        "sizes": SIZES,
        "usages": USAGES,
        "region": "eastus",
    }
    return Found(**(parts | others))


def settings(size: str = A100, **config: Any) -> FinetuneConfig:
    """A configuration with this size of the cluster; `serving` may be a size alone."""
    serving = config.pop("serving", {})
    config["compute"] = {"size": size, **config.get("compute", {})}
    config["serving"] = {"size": serving} if isinstance(serving, str) else serving
    return FinetuneConfig(**config)


def planned(model_name: str = "Phi-4", size: str = A100, **config: Any) -> Plan:
    """A plan where everything was found."""
    return check_plan(settings(size, **config), found(model_name), TODAY)
