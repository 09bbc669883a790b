"""Jobs that are small enough to be waited for."""

from collections.abc import Callable
from typing import Any

from tests.contract.created import Created
from tests.contract.service import until

TERMINAL = ("Completed", "Failed", "Canceled")
LONGEST = 1800
"""Seconds that a job may take: on the real service a node and an image come first."""


def command_job(created: Created, environment: str, cluster: str, line: str, **more: Any) -> Any:
    """A command job of this session."""
    from azure.ai.ml import command

    return command(
        name=created.name("job"),
        command=line,
        environment=environment,
        compute=cluster,
        experiment_name=created.prefix,
        tags=created.tags,
        **more,
    )


def pipeline(created: Created, graph: Callable[..., Any], **inputs: Any) -> Any:
    """A pipeline job of this session, of what a function builds."""
    from azure.ai.ml import dsl

    decorated: Any = dsl.pipeline
    return decorated(name=created.prefix)(graph)(**inputs)


def ended(client: Any, name: str) -> str:
    """The status that a job ends with."""

    def status() -> str | None:
        now = client.jobs.get(name).status
        return now if now in TERMINAL else None

    return until(status, LONGEST)
