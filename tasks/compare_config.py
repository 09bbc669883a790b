"""What a person asks of a comparison of several trainings."""

from pydantic import Field, field_validator

from tasks.config import (
    DatasetChoice,
    FinetuneConfig,
    ModelChoice,
    ParameterValue,
    Section,
    check_parameter_names,
)
from tasks.release_config import ReleaseConfig
from tasks.retrain_config import EvaluationChoice


class Variant(Section):
    """One of the trainings: what it has other than the base."""

    name: str = Field(
        min_length=1, max_length=60, description="What it is called in the table and the pictures."
    )
    model: ModelChoice | None = Field(None, description="Another model. None: the base's.")
    dataset: DatasetChoice | None = Field(None, description="Other data. None: the base's.")
    parameters: dict[str, ParameterValue] = Field(
        default_factory=dict, description="Training parameters, put over the base's."
    )

    _names = field_validator("parameters")(check_parameter_names)

    def over(self, base: FinetuneConfig) -> FinetuneConfig:
        """The base's configuration with what this one has other."""
        changes: dict[str, object] = {"parameters": base.parameters | self.parameters}
        changes |= {"model": self.model} if self.model else {}
        changes |= {"dataset": self.dataset} if self.dataset else {}
        return base.model_copy(update=changes)


class CompareConfig(Section):
    """Everything that one comparison is made from."""

    base: FinetuneConfig = Field(
        default_factory=FinetuneConfig,
        title="Base",
        description="What all trainings share. Its test endpoint is not used.",
    )
    variants: tuple[Variant, ...] = Field(
        min_length=1,
        title="Variants",
        description="The trainings, each by what it has other than the base.",
    )
    held_out: DatasetChoice | None = Field(
        None,
        title="Held-out data",
        description="The data on whose test split all are measured. None: the base's.",
    )
    evaluation: EvaluationChoice = Field(
        default_factory=EvaluationChoice,
        title="Evaluation",
        description="How the models are measured, and what the best one must be better by than "
        "the champion.",
    )
    release: ReleaseConfig | None = Field(
        None,
        title="Release",
        description="Where the best one is released. None: nothing is deployed, and the champion "
        "stays as it is.",
    )
    at_once: int = Field(
        2, ge=1, le=32, title="At once", description="Trainings that run at the same time: 1 to 32."
    )

    @field_validator("variants")
    @classmethod
    def _have_names_of_their_own(cls, variants: tuple[Variant, ...]) -> tuple[Variant, ...]:
        names = [variant.name for variant in variants]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"several variants have the name {', '.join(sorted(twice))}")
        return variants
