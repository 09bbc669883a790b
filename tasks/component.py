"""The registry's fine-tuning component and the inputs that it declares."""

from typing import Any

from tasks.errors import NotFound
from tasks.explaining import explain, is_transient
from tasks.values import ComponentInput, PipelineComponent


def resolve_component(registry_client: Any, name: str, version: str | None) -> PipelineComponent:
    """The component of the registry, by version or the latest one.

    `registry_client` is an azure.ai.ml.MLClient of a registry. Raises NotFound, PermissionProblem;
    lets transient errors through, for a retry.
    """
    try:
        if version is None:
            entity = registry_client.components.get(name=name, label="latest")
        else:
            entity = registry_client.components.get(name=name, version=version)
    except Exception as error:
        if is_transient(error):
            raise
        wanted = f"component {name}" + (f" version {version}" if version else "")
        explained = explain(error, f"Looking up {wanted}")
        if isinstance(explained, NotFound):
            raise NotFound(
                f"The registry has no {wanted}.",
                "Check component.name and component.version; chat_completion_pipeline is the "
                "component for chat models.",
            ) from error
        if explained is None or explained is error:
            raise
        raise explained from error
    return read_component(entity)


def read_component(entity: Any) -> PipelineComponent:
    """A PipelineComponent of the SDK, also one loaded from YAML, as a plain value."""
    if str(getattr(entity, "type", "pipeline")) != "pipeline":
        raise NotFound(
            f"Component {entity.name} is a {entity.type} component, not a pipeline.",
            "Set component.name to a pipeline component such as chat_completion_pipeline.",
        )
    return PipelineComponent(
        id=str(entity.id or f"{entity.name}:{entity.version}"),
        name=entity.name,
        version=str(entity.version),
        inputs={name: _read_input(name, value) for name, value in entity.inputs.items()},
        outputs=tuple(entity.outputs),
    )


def _read_input(name: str, value: Any) -> ComponentInput:
    # The SDK has turned the registry's texts into the declared types already.
    return ComponentInput(
        name=name,
        type=str(value.type),
        optional=bool(value.optional),
        default=value.default,
        choices=tuple(str(choice) for choice in value.enum or ()),
        minimum=value.min,
        maximum=value.max,
    )
