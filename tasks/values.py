"""The small frozen values that one stage hands to the next."""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from tasks.config import FinetuneConfig, ParameterOrigin, ParameterValue


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class FoundationModel(_Value):
    """A model of the registry, with what its tags and its system metadata say about it."""

    id: str
    name: str
    version: str
    registry: str
    finetune_sizes: tuple[str, ...] | None = None
    """VM sizes allowed for fine-tuning; None when the registry gives no list."""
    inference_sizes: tuple[str, ...] | None = None
    defaults: dict[str, ParameterValue] = Field(default_factory=dict)
    """The model's own training parameters, as published."""
    finetune_retirement: datetime | None = None
    inference_retirement: datetime | None = None
    task: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)


class ComponentInput(_Value):
    """One declared input of the pipeline component."""

    name: str
    type: str
    optional: bool = True
    default: ParameterValue | None = None
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None


class PipelineComponent(_Value):
    id: str
    name: str
    version: str
    inputs: dict[str, ComponentInput]
    outputs: tuple[str, ...]


class Parameter(_Value):
    """One training parameter and where its value comes from."""

    name: str
    value: ParameterValue
    origin: ParameterOrigin


class SplitFile(_Value):
    """One split on disk as JSON Lines."""

    split: str
    path: str
    rows: int
    """Rows that the job will use."""
    rows_read: int
    dropped: dict[str, int] = Field(default_factory=dict)
    """Reason -> number of rows left out for it; rows + sum(dropped) == rows_read."""
    sha256: str
    bytes: int


class DataSnapshot(_Value):
    """The data of one run: pinned, checked and hashed."""

    dataset: str
    revision: str
    train: SplitFile
    test: SplitFile
    sample: SplitFile
    fingerprint: str
    """sha256 over the hashes of the splits: the data's identity."""


class ClusterSize(_Value):
    """What the workspace's region says about a VM size."""

    name: str
    gpus: int
    vcpus: int
    memory_gb: float
    low_priority: bool = True


class Names(_Value):
    """Every name that the run gives to something; all follow from the run key."""

    run_key: str
    job: str
    display_name: str
    experiment: str
    model: str
    model_version: str
    endpoint: str
    deployment: str
    cluster: str


class Plan(_Value):
    """What will be done, before anything is created or billed."""

    config: FinetuneConfig
    model: FoundationModel
    component: PipelineComponent
    parameters: tuple[Parameter, ...]
    ignored: tuple[Parameter, ...] = ()
    """Defaults of the model that the component does not declare."""
    data: DataSnapshot
    cluster_size: ClusterSize
    serving_size: ClusterSize | None
    names: Names
    warnings: tuple[str, ...] = ()


class Phase(StrEnum):
    """Where a piece of external work stands: one set of words for jobs and deployments."""

    MISSING = "missing"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in (Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED)


class JobRef(_Value):
    """A submitted job. `adopted`: it was there already, nothing was submitted."""

    name: str
    studio_url: str | None = None
    adopted: bool = False


class JobOutcome(_Value):
    """A job that has completed."""

    name: str
    status: str
    seconds: float
    """Seconds that this run waited for the job."""
    adopted: bool = False


class MetricPoint(_Value):
    step: int
    value: float


class Metrics(_Value):
    """Training metrics from the job's MLflow runs: the last value and the whole curve."""

    run_id: str | None
    last: dict[str, float] = Field(default_factory=dict)
    curves: dict[str, tuple[MetricPoint, ...]] = Field(default_factory=dict)


class RegisteredModel(_Value):
    id: str
    name: str
    version: str
    adopted: bool = False


class LiveEndpoint(_Value):
    """A deployment that answers."""

    endpoint: str
    deployment: str
    scoring_uri: str
    size: str


class Reply(_Value):
    """What the deployed model said, beside what the data expected."""

    conversation: tuple[dict[str, str], ...]
    expected: str
    reply: str
    seconds: float
