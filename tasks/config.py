"""What a person asks for. Every field is described: these texts are the form in Prefect's UI."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, field_validator

ParameterValue = str | int | float | bool

# The form offers a choice; any other size may be typed.
VmSize = Annotated[
    str,
    WithJsonSchema(
        {
            "type": "string",
            "anyOf": [
                # First: the form goes by what was typed, and a text is what fits always.
                {"title": "Name", "type": "string"},
                {
                    "title": "Usual sizes",
                    "type": "string",
                    "enum": [
                        "Standard_NC24ads_A100_v4",
                        "Standard_NC48ads_A100_v4",
                        "Standard_NC96ads_A100_v4",
                        "Standard_ND96asr_v4",
                        "Standard_ND96amsr_A100_v4",
                        "Standard_NC40ads_H100_v5",
                        "Standard_NC80adis_H100_v5",
                        "Standard_ND96isr_H100_v5",
                    ],
                },
            ],
        }
    ),
]
"""Name of a VM size. Prefect's form shows the usual ones as a select, or any text."""


class Section(BaseModel):
    """One group of settings: it never changes, and an unknown setting is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def check_parameter_names(parameters: dict[str, ParameterValue]) -> dict[str, ParameterValue]:
    """Raise ValueError for a name that no input of a component can have."""
    for name in parameters:
        if not name.isidentifier():
            raise ValueError(f"parameter name {name!r} is not an input name of a component")
    return parameters


class ModelChoice(Section):
    """The foundation model to fine-tune."""

    name: str = Field(
        "Phi-3-mini-4k-instruct",
        min_length=1,
        title="Model",
        description="Name of a chat-completion model in the registry.",
    )
    version: str | None = Field(
        None,
        title="Version",
        description="Version of the model. None: the latest one, recorded in the plan.",
    )
    accept_retired: bool = Field(
        False,
        title="Accept a retired model",
        description="Go on although the registry says that the model is retired.",
    )


class DatasetChoice(Section):
    """The conversations to train on, from the Hugging Face hub."""

    name: str = Field(
        "HuggingFaceH4/ultrachat_200k",
        min_length=1,
        title="Dataset",
        description="Hugging Face dataset with a column named messages.",
    )
    subset: str | None = Field(
        None,
        title="Subset",
        description="Configuration of the dataset; needed only if it has several.",
    )
    revision: str | None = Field(
        None,
        title="Revision",
        description="Commit, branch or tag. None: the newest commit, recorded in the plan.",
    )
    train_split: str = Field("train_sft", title="Training split", description="Split to train on.")
    test_split: str = Field(
        "test_sft", title="Test split", description="Split given to the job as test data."
    )
    sample_split: str = Field(
        "test_gen",
        title="Sample split",
        description="Split from which the conversation for the endpoint is taken.",
    )
    percent: float = Field(
        5.0,
        gt=0,
        le=100,
        title="Percent",
        description="Share of every split to use, from its start: above 0, up to 100 percent.",
    )
    seed: int = Field(
        42, title="Seed", description="Chooses the sample conversation that is sent to the model."
    )


class ComputeChoice(Section):
    """The cluster that runs the job."""

    cluster: str = Field(
        "gpu-cluster-big",
        min_length=2,
        max_length=32,
        title="Cluster",
        description="Name of the compute cluster; created when it does not exist.",
    )
    size: VmSize = Field(
        "Standard_NC24ads_A100_v4",
        title="VM size",
        description="VM size of the cluster when it has to be created.",
    )
    max_nodes: int = Field(
        2, ge=1, title="Most nodes", description="Most nodes of a cluster that is created."
    )
    idle_seconds: int = Field(
        120,
        ge=60,
        title="Idle seconds",
        description="Idle seconds after which a created cluster releases its nodes.",
    )


class ServingChoice(Section):
    """The endpoint on which the fine-tuned model is tried."""

    test: bool = Field(
        True,
        title="Try the model",
        description="Deploy the model, ask it once and delete the endpoint. Off: the run ends with "
        "the registered model.",
    )
    size: VmSize = Field(
        "Standard_NC24ads_A100_v4", title="VM size", description="VM size of the deployment."
    )
    instances: int = Field(
        1, ge=1, title="Instances", description="Number of instances of the deployment."
    )
    deployment: str = Field(
        "demo", min_length=3, max_length=32, title="Deployment", description="Deployment name."
    )
    max_new_tokens: int = Field(
        200,
        ge=1,
        title="Reply length",
        description="Longest reply of the test conversation, in tokens.",
    )
    keep_endpoint: bool = Field(
        False,
        title="Keep the endpoint",
        description="Leave the endpoint running, and billed, after the run.",
    )


class ComponentChoice(Section):
    """The registry's pipeline component that does the fine-tuning."""

    name: str = Field(
        "chat_completion_pipeline", title="Component", description="Name of the component."
    )
    version: str | None = Field(
        None,
        title="Version",
        description="Version of the component. None: the latest one, recorded in the plan.",
    )


class Deadlines(Section):
    """How long each kind of waiting may take, in minutes. Work past its deadline is cancelled."""

    compute: float = Field(
        20, gt=0, title="Cluster", description="Minutes for the cluster to be provisioned."
    )
    queue: float = Field(
        120, gt=0, title="Queue", description="Minutes from submission until the job runs."
    )
    run: float = Field(
        24 * 60, gt=0, title="Job", description="Minutes from the job's start to its end."
    )
    deploy: float = Field(
        60,
        gt=0,
        title="Deployment",
        description="Minutes for the endpoint and the deployment to be created.",
    )


class FinetuneConfig(Section):
    """Everything that one fine-tuning run is made from. The defaults run as they are."""

    model: ModelChoice = Field(
        default_factory=ModelChoice, title="Model", description="The foundation model to fine-tune."
    )
    dataset: DatasetChoice = Field(
        default_factory=DatasetChoice,
        title="Data",
        description="The conversations to train on, from the Hugging Face hub.",
    )
    parameters: dict[str, ParameterValue] = Field(
        default_factory=dict,
        title="Training parameters",
        description="Training parameters by the component's own input names, for example "
        "num_train_epochs or learning_rate. They win over the model's and the component's "
        "defaults.",
    )
    compute: ComputeChoice = Field(
        default_factory=ComputeChoice,
        title="Training cluster",
        description="The cluster that runs the job.",
    )
    serving: ServingChoice = Field(
        default_factory=ServingChoice,
        title="Test endpoint",
        description="The endpoint on which the fine-tuned model is tried.",
    )
    component: ComponentChoice = Field(
        default_factory=ComponentChoice,
        title="Pipeline component",
        description="The registry's component that does the fine-tuning.",
    )
    deadlines: Deadlines = Field(
        default_factory=Deadlines,
        title="Deadlines",
        description="How long each kind of waiting may take, in minutes. Work past its deadline "
        "is cancelled.",
    )
    experiment: str | None = Field(
        None,
        title="Experiment",
        description="Experiment name. None: chat_completion_ and the model's name.",
    )
    attempt: int = Field(
        1,
        ge=1,
        title="Attempt",
        description="Number of the attempt. Raise it to submit a failed job once more.",
    )
    max_attempts: int = Field(
        2,
        ge=1,
        le=10,
        title="Most attempts",
        description="How many jobs may fail for reasons that are likely to pass, such as a lost "
        "node, before the run fails: 1 to 10. A job that failed for another reason is never "
        "submitted again by itself.",
    )
    cancel_on_crash: bool = Field(
        False,
        title="Cancel the job on a crash",
        description="Cancel the job when the process of this run dies. Otherwise the job goes on "
        "for the next run of the same training to adopt, until the sweep ends it.",
    )
    poll_seconds: float = Field(
        15,
        ge=0.1,
        le=600,
        title="Seconds between looks",
        description="Seconds between two looks at a running job: 0.1 to 600.",
    )
    max_cost: float | None = Field(
        None,
        gt=0,
        title="Cost limit",
        description="US dollars that the VMs of the run may cost at most. A plan that could cost "
        "more within its deadlines is refused, and so is one whose price is not known. None: no "
        "limit.",
    )
    pinned: bool = Field(
        False,
        title="Pinned",
        description="Refuse the plan when anything differs from the last successful run: model, "
        "component, defaults, sizes or data. The differences are listed either way.",
    )
    plan_only: bool = Field(
        False,
        title="Plan only",
        description="Stop after the plan: nothing is created and nothing is billed.",
    )

    _names = field_validator("parameters")(check_parameter_names)


ParameterOrigin = Literal["user", "model default", "component default", "run"]
