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
    finetune_min_spec: str | None = None
    """Smallest VM for fine-tuning, as "vCPUs|GPUs|GB of memory|GB of disk"."""
    inference_min_spec: str | None = None
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
    family: str = ""
    """Under this name the region counts the cores in use; "" when it does not say."""
    usd_per_hour: float | None = None
    """Retail price of a dedicated Linux VM as the service gives it; None when it gives none."""
    low_priority_usd_per_hour: float | None = None


class Cluster(_Value):
    """A compute cluster that exists."""

    name: str
    size: str
    low_priority: bool = False
    nodes: int = 0
    """Nodes allocated now; their cores are in use already."""
    max_nodes: int = 1
    has_identity: bool = False


class Usage(_Value):
    """Cores in use of one family, or of all together, against the quota."""

    name: str
    used: int
    limit: int


class Price(_Value):
    """What the run's VMs cost, in USD. None: a price is not known; `unknown` names its size."""

    nodes: int
    """Nodes of the cluster that the bound counts."""
    cluster_per_hour: float | None
    endpoint_per_hour: float | None
    most: float | None
    """Nodes and instances for as long as the deadlines allow; None also for a kept endpoint."""
    unknown: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


class Change(_Value):
    """One thing that is not as it was in an earlier run. "-" stands for something absent."""

    what: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.what}: {self.before} -> {self.after}"


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


class Draft(_Value):
    """What is known of a plan. A part is None when it could not be looked up or chosen."""

    config: FinetuneConfig
    model: FoundationModel | None = None
    component: PipelineComponent | None = None
    parameters: tuple[Parameter, ...] = ()
    ignored: tuple[Parameter, ...] = ()
    """Defaults of the model that the component does not declare."""
    data: DataSnapshot | None = None
    cluster: Cluster | None = None
    """The cluster that exists; None when it has to be created."""
    cluster_size: ClusterSize | None = None
    serving_size: ClusterSize | None = None
    names: Names | None = None
    quota: tuple[str, ...] = ()
    """What the run needs of each core quota, and what is free."""
    price: Price | None = None
    previous: str | None = None
    """The last successful run that `changes` compares with; None when there is none."""
    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()


class Plan(Draft):
    """What will be done, before anything is created or billed: a draft that is complete."""

    model: FoundationModel
    component: PipelineComponent
    data: DataSnapshot
    cluster_size: ClusterSize
    names: Names


class PastRun(_Value):
    """A run that has completed: its plan, and the job that carried it out."""

    job: str
    finished: datetime
    plan: Plan


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
    tracking_uri: str | None = None
    """Where MLflow finds the run."""
    last: dict[str, float] = Field(default_factory=dict)
    curves: dict[str, tuple[MetricPoint, ...]] = Field(default_factory=dict)


class RegisteredModel(_Value):
    id: str
    name: str
    version: str
    adopted: bool = False

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"

    def is_same(self, other: "RegisteredModel") -> bool:
        """Whether both are one version of one model."""
        return (self.name, self.version) == (other.name, other.version)


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
