"""What a person asks of a release. Every field is described: the texts are the form in the UI."""

from typing import Annotated

from pydantic import Field, field_validator

from tasks.config import Section, VmSize

Share = Annotated[int, Field(ge=1, le=100)]


class Checks(Section):
    """What the new deployment has to hold at every step, or it is rolled back."""

    seconds: float = Field(
        60,
        ge=0,
        le=24 * 3600,
        title="Seconds a step",
        description="Seconds that every step of the traffic is watched: 0 to 86,400.",
    )
    requests: int = Field(
        20,
        ge=1,
        le=10_000,
        title="Requests a step",
        description="Requests that are sent to the new deployment, and as many to the old one, "
        "while a step is watched: 1 to 10,000.",
    )
    most_errors: float = Field(
        0.0,
        ge=0,
        lt=1,
        title="Most errors",
        description="Share of the new deployment's requests that may fail: 0 to below 1.",
    )
    slowest_seconds: float = Field(
        60,
        gt=0,
        title="Slowest reply",
        description="Seconds within which 95 of 100 replies of the new deployment must come.",
    )
    slowdown: float = Field(
        2.0,
        gt=0,
        title="Slowdown",
        description="How many times slower than the old deployment the new one may be, by the "
        "median of their replies. Less than a quarter of a second is not counted.",
    )


class ReleaseConfig(Section):
    """The endpoint that serves the champion, and how a new model gets its traffic."""

    endpoint: str = Field(
        "chat",
        min_length=3,
        max_length=32,
        pattern=r"^[A-Za-z][A-Za-z0-9-]*[A-Za-z0-9]$",
        title="Endpoint",
        description="Name of the endpoint, unique within its Azure region: letters, digits and "
        "'-', a letter first. Created when it does not exist. It stays, and is billed.",
    )
    size: VmSize = Field(
        "Standard_NC24ads_A100_v4", title="VM size", description="VM size of the deployment."
    )
    instances: int = Field(
        1, ge=1, title="Instances", description="Number of instances of the deployment."
    )
    concurrent_requests: int = Field(
        8,
        ge=1,
        le=500,
        title="Requests at a time",
        description="Requests that one instance takes at a time. Too few: clients are refused "
        "with 429 under load; too many: each waits longer.",
    )
    queue_seconds: float = Field(
        30,
        gt=0,
        le=60,
        title="Longest queue",
        description="Seconds that a request may wait for its turn before it is refused with 429.",
    )
    mirror: int = Field(
        10,
        ge=0,
        le=50,
        title="Mirrored traffic",
        description="Percent of the live requests that the new deployment gets a copy of before "
        "it answers any itself: 0 to 50. 0: no copy.",
    )
    steps: tuple[Share, ...] = Field(
        (10, 50, 100),
        min_length=1,
        title="Traffic steps",
        description="Percent of the traffic that the new deployment answers, step after step; "
        "rising, the last one 100.",
    )
    checks: Checks = Field(
        default_factory=Checks,
        title="Checks",
        description="What the new deployment has to hold at every step, or it is rolled back.",
    )
    approval: bool = Field(
        False,
        title="Ask for approval",
        description="Wait, before anything is made, until a person approves the release in "
        "Prefect's UI.",
    )
    approval_hours: float = Field(
        72,
        gt=0,
        title="Hours to approve",
        description="Hours after which a release that nobody has approved is given up.",
    )
    max_new_tokens: int = Field(
        50, ge=1, title="Reply length", description="Longest reply to a check's request, in tokens."
    )
    deploy_minutes: float = Field(
        60, gt=0, title="Deadline", description="Minutes for the deployment to be created."
    )

    @field_validator("steps")
    @classmethod
    def _rise_to_100(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if list(steps) != sorted(set(steps)) or steps[-1] != 100:
            raise ValueError(f"the steps must rise and end with 100, unlike {list(steps)}")
        return steps
