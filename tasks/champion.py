"""The champion: the version of a registered model whose tags say that it is the one to beat.

It is recorded in Azure ML itself, so that every machine and every Prefect server knows the same
one. Of two versions with the tag, which a run leaves that is killed in between, the later counts.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from prefect import task
from pydantic import BaseModel, ConfigDict

from tasks.artifacts import run_logger
from tasks.clients import REMOTE, explained, workspace_client
from tasks.ownership import parse_moment
from tasks.registration import registered
from tasks.values import RegisteredModel

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

CHAMPION, RETRAIN_KEY = "champion", "retrain_key"
VERDICT, AGAINST = "verdict", "judged_against"

Judgement = Literal["better", "worse", "refused"]


class Champion(BaseModel):
    """The model to beat, since when it is, and its tags."""

    model_config = ConfigDict(frozen=True)

    model: RegisteredModel
    since: datetime
    tags: dict[str, str]


class Judged(BaseModel):
    """A model that was measured against a champion, and what came of it."""

    model_config = ConfigDict(frozen=True)

    model: RegisteredModel
    verdict: str
    against: str
    """The champion then, as name:version; "none" where there was none."""


@task(name="find the champion", task_run_name="find the champion of {names}", **REMOTE)
def find_champion(workspace: str, names: Sequence[str]) -> Champion | None:
    """The champion among the versions of the models of these names."""
    found = [
        Champion(model=registered(version, adopted=True), since=since, tags=version.tags)
        for version in _versions(workspace_client(workspace), names)
        if (since := parse_moment(version.tags.get(CHAMPION))) is not None
    ]
    return max(found, key=lambda champion: champion.since, default=None)


@task(name="find the verdict", task_run_name="find the verdict on {key}", **REMOTE)
def find_judged(workspace: str, names: Sequence[str], key: str) -> Judged | None:
    """The model that was made from the same ingredients and measured already."""
    for version in _versions(workspace_client(workspace), names):
        if version.tags.get(RETRAIN_KEY) == key and VERDICT in version.tags:
            return Judged(
                model=registered(version, adopted=True),
                verdict=version.tags[VERDICT],
                against=version.tags.get(AGAINST, "none"),
            )
    return None


@task(
    name="record the verdict",
    task_run_name="record: {model.name}:{model.version} is {verdict}",
    **REMOTE,
)
def record_verdict(
    workspace: str, model: RegisteredModel, key: str, verdict: Judgement, against: str | None
) -> None:
    """Tag the model with what came of it, so that it is not made and measured once more."""
    tags = {RETRAIN_KEY: key, VERDICT: verdict, AGAINST: against or "none"}
    _tag(workspace_client(workspace), model.name, model.version, add=tags)


@task(name="crown", task_run_name="crown {model.name}:{model.version}", **REMOTE)
def crown(workspace: str, model: RegisteredModel, key: str | None, names: Sequence[str]) -> None:
    """Make the model the champion in the place of those among the models of these names.

    `key` stands for what a retraining made it from; None for a model of another origin.
    """
    client = workspace_client(workspace)
    others = [
        version
        for version in _versions(client, names)
        if CHAMPION in version.tags and not model.is_same(registered(version, adopted=True))
    ]
    # Later than the others, also where another machine's clock was ahead.
    times = [moment for other in others if (moment := parse_moment(other.tags[CHAMPION]))]
    since = max([datetime.now(UTC), *(time + timedelta(milliseconds=1) for time in times)])
    add = {CHAMPION: since.isoformat(timespec="milliseconds")}
    _tag(client, model.name, model.version, add | ({RETRAIN_KEY: key} if key else {}))
    # Only now: killed in between, the later one counts.
    for other in others:
        _tag(client, other.name, other.version, remove=(CHAMPION,))
    run_logger().info("Model %s:%s is the champion.", model.name, model.version)


def _versions(client: "MLClient", names: Iterable[str]) -> Iterable[Any]:
    """The versions of the models, those with tags only; a name that is not there has none."""
    from azure.core.exceptions import ResourceNotFoundError

    for name in dict.fromkeys(names):
        with explained(f"Listing the versions of model {name}"):
            try:
                yield from [version for version in client.models.list(name=name) if version.tags]
            except ResourceNotFoundError:
                continue


def _tag(
    client: "MLClient",
    name: str,
    version: str,
    add: dict[str, str] | None = None,
    remove: Sequence[str] = (),
) -> None:
    """Change the tags of a registered version; all else of it can never change."""
    with explained(f"Tagging model {name}:{version}"):
        model = client.models.get(name, version=version)
        tags = {tag: text for tag, text in (model.tags or {}).items() if tag not in remove}
        tags |= add or {}
        if tags != model.tags:
            model.tags = tags
            client.models.create_or_update(model)
