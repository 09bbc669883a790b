"""What a job will do, worked out before anything starts: steps, their inputs, their order."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from emulator.compute.values import Data, Literal, PathIn, StepOutput, Value

ROOT = ""
"""The key of the job itself; a step's key is the path of its nodes, `import/convert`."""


@dataclass(frozen=True)
class Command:
    """What one step runs."""

    text: str
    code: str | Path | None
    """A folder of the registry, or the ARM id of a code version."""
    environment: str | None
    variables: dict[str, str]
    timeout: float | None
    """Seconds."""
    instances: int
    distribution: str | None


@dataclass(frozen=True)
class StepInput:
    """A value with the type and mode that the component declares; no value: left out."""

    value: Value | None
    type: str
    mode: str | None


@dataclass(frozen=True)
class Target:
    """Where an output goes: to the folder of the job `owner` (a key), or to a path of its own."""

    owner: str
    name: str
    type: str
    mode: str | None = None
    uri: str | None = None
    asset_name: str | None = None
    asset_version: str | None = None


@dataclass(frozen=True)
class Step:
    """One command, with everything bound."""

    key: str
    node: str
    parent: str
    command: Command
    compute: str
    inputs: dict[str, StepInput]
    outputs: dict[str, Target]
    component: str | None = None
    deterministic: bool = True
    """Whether the same inputs give the same outputs."""
    module: str = ""
    """The component's own name."""

    @property
    def sources(self) -> list[StepOutput]:
        """The outputs of other steps that this one reads."""
        return [source for source in _sources(self.inputs) if isinstance(source, StepOutput)]


@dataclass(frozen=True)
class Group:
    """A pipeline component inside of a pipeline: a job of its own between root and steps."""

    key: str
    node: str
    parent: str
    inputs: dict[str, StepInput]
    outputs: dict[str, Target]
    component: str | None = None
    module: str = ""


@dataclass(frozen=True)
class Condition:
    """A boolean, of which a step needs one value to run."""

    value: Literal | StepOutput
    wanted: bool


@dataclass
class Plan:
    """A job's steps in an order that respects their needs."""

    pipeline: bool
    steps: dict[str, Step] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    outputs: dict[str, Target] = field(default_factory=dict)
    continue_on_failure: bool = True
    datastore: str = "workspaceblobstore"
    force_rerun: bool = False
    conditions: dict[str, list[Condition]] = field(default_factory=dict)
    """Of the steps and groups that may be left out, by key."""

    def conditions_of(self, key: str) -> Iterator[Condition]:
        """What decides whether a step runs: its own conditions after those of what it is in."""
        parts = key.split("/")
        for length in range(1, len(parts) + 1):
            yield from self.conditions.get("/".join(parts[:length]), ())

    def steps_of(self, group: str) -> Iterator[Step]:
        """All steps below a group, however deep."""
        return (step for key, step in self.steps.items() if key.startswith(group + "/"))


def _sources(inputs: dict[str, StepInput]) -> Iterator[Data | StepOutput]:
    for item in inputs.values():
        value = item.value
        if isinstance(value, PathIn):
            yield value.base
        elif isinstance(value, Data | StepOutput):
            yield value
