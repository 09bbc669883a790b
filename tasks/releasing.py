"""The stages of a release: its hold on the endpoint, the new deployment, the shares, the end."""

import hashlib
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prefect import task
from pydantic import BaseModel, ConfigDict

from tasks.artifacts import run_logger, without_dots
from tasks.claims import Claim, has_ended
from tasks.clients import REMOTE, explained, workspace_client
from tasks.deployment import (
    Order,
    delete_deployment,
    ensure_deployment,
    find_deployment,
    is_usable,
)
from tasks.endpoint import UNUSABLE, delete_endpoint, find_endpoint
from tasks.errors import NotFound, UserError
from tasks.lease import Lease, busy, endpoint_tags, is_over, read_lease, run_key
from tasks.ownership import EXPIRES, FLOW_RUN, RUN_KEY
from tasks.polling import status_word
from tasks.release_config import ReleaseConfig
from tasks.rollback import roll_back
from tasks.traffic import create_endpoint, live_shares, mirrored_shares, route
from tasks.values import LiveEndpoint, RegisteredModel

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

_MODEL = re.compile(
    r"(?:azureml:)?(?:.*/models/)?(?P<name>[^/:]+)(?:/versions/|:)(?P<version>[^/:]+)"
)
_NAME_LENGTH = 32
_SPARE_MINUTES = 30.0


class Release(BaseModel):
    """A release that holds its endpoint."""

    model_config = ConfigDict(frozen=True)

    lease: Lease
    model: RegisteredModel
    old_model: str | None = None
    """Name and version that the old deployment serves, as far as its id tells."""
    scoring_uri: str
    share: int = 0
    """Percent of the traffic that the new deployment had when this run came."""

    @property
    def live(self) -> LiveEndpoint:
        """The new deployment, to be asked."""
        lease = self.lease
        return LiveEndpoint(
            endpoint=lease.endpoint, deployment=lease.new, scoring_uri=self.scoring_uri, size=""
        )

    def stages(self, config: ReleaseConfig) -> list[tuple[int, int]]:
        """What is left of the way: the new deployment's share, and its share of copies, in percent.

        Where nothing served before there is nothing to compare with: one check, without traffic.
        """
        if self.lease.old is None:
            return [(self.share, 0)]
        copied = [(0, config.mirror)] if config.mirror and not self.share else []
        return copied + [(share, 0) for share in config.steps if share >= self.share]


def release_claim(flow_run_id: str, workspace: str, endpoint: str) -> Claim:
    """What a release works on; nothing in it is to be deleted by the claim alone."""
    return Claim(flow_run_id=flow_run_id, workspace=workspace, run_key=run_key(endpoint))


def deployment_name(model: RegisteredModel) -> str:
    """A name for the model's deployment that no other model has: m-VERSION-HASH."""
    digest = hashlib.sha256(f"{model.name}:{model.version}".encode()).hexdigest()[:8]
    version = re.sub(r"[^a-z0-9]+", "-", model.version.lower())
    room = _NAME_LENGTH - len("m--") - len(digest)
    return f"m-{version[:room].strip('-') or 'x'}-{digest}"


@task(name="find the model", task_run_name="find {model}", **REMOTE)
def find_model(workspace: str, model: str) -> RegisteredModel:
    """The registered model that "name:version" or an id of Azure ML means. Raises NotFound."""
    from azure.core.exceptions import ResourceNotFoundError

    match = _MODEL.fullmatch(model.strip())
    if match is None:
        raise UserError(
            f"{model!r} names no model.",
            "Give a registered model as NAME:VERSION, or by its azureml: id.",
        )
    name, version = match["name"], match["version"]
    if "registries/" in model:
        return RegisteredModel(id=model.strip(), name=name, version=version)
    client = workspace_client(workspace)
    with explained(f"Looking up model {name}:{version}"):
        try:
            found = client.models.get(name, version=version)
        except ResourceNotFoundError as error:
            raise NotFound(
                f"The workspace has no model {name}:{version}.",
                "Look at the registered models in the studio, or run finetune first.",
            ) from error
    return RegisteredModel(id=str(found.id), name=name, version=version)


@task(name="look at the endpoint", task_run_name="look at {endpoint}", **REMOTE)
def find_live(workspace: str, endpoint: str, model: RegisteredModel) -> LiveEndpoint | None:
    """The deployment that serves this model with all of the traffic already; None for none.

    One that a release has not finished with counts as none.
    """
    client = workspace_client(workspace)
    existing = find_endpoint(client, endpoint)
    if existing is None or read_lease(endpoint, existing.tags):
        return None
    for name, share in live_shares(existing).items():
        deployment = find_deployment(client, endpoint, name)
        if share == 100 and is_usable(deployment, model):
            uri = str(existing.scoring_uri)
            return LiveEndpoint(endpoint=endpoint, deployment=name, scoring_uri=uri, size="")
    return None


@task(name="take the endpoint", task_run_name="take endpoint {config.endpoint}", **REMOTE)
def take_endpoint(
    workspace: str, config: ReleaseConfig, model: RegisteredModel, flow_run_id: str
) -> Release:
    """Hold the endpoint, made if it is not there, for this release.

    What a dead release of another model has left is rolled back before; one of this model is
    taken up where it is. Raises EndpointBusy while another release is under way.
    """
    client, name, minutes = workspace_client(workspace), config.endpoint, config.deploy_minutes
    new = deployment_name(model)
    lease = Lease(endpoint=name, flow_run_id=flow_run_id, expires=datetime.now(UTC), new=new)
    lease = lease.renewed(lease_minutes(config))
    endpoint = _usable_endpoint(client, name, minutes)
    if endpoint is None:
        made = lease.model_copy(update={"made": True})
        endpoint = create_endpoint(
            client, name, endpoint_tags(name, flow_run_id) | made.tags(), minutes
        )
    left = read_lease(name, endpoint.tags)
    if left is not None and left.flow_run_id != flow_run_id:
        if not is_over(left, has_ended, datetime.now(UTC)):
            raise busy(left)
        run_logger().warning("Run %s has left its release of %s.", left.flow_run_id, left.new)
        if left.new != new:
            for sentence in roll_back(client, left, minutes):
                run_logger().warning("%s", sentence)
            return take_endpoint.fn(workspace, config, model, flow_run_id)
    old = left.old if left else _served(endpoint, new)
    found = find_deployment(client, name, old) if old else None
    lease = lease.model_copy(
        update={"old": old if found else None, "made": bool(left and left.made)}
    )
    endpoint = route(
        client,
        lease,
        live_shares(endpoint),
        mirrored_shares(endpoint),
        minutes,
        over=left,
        take=True,
    )
    return Release(
        lease=lease,
        model=model,
        old_model=short_model(found.model) if found else None,
        scoring_uri=str(endpoint.scoring_uri),
        share=live_shares(endpoint).get(new, 0),
    )


def lease_minutes(config: ReleaseConfig) -> float:
    """How long a release may be silent at most, from one change of the endpoint to the next."""
    checks = config.checks
    check = checks.seconds + checks.requests * checks.slowest_seconds
    return 3 * config.deploy_minutes + check / 60 + _SPARE_MINUTES


def _usable_endpoint(client: "MLClient", name: str, minutes: float) -> Any | None:
    """The endpoint as it is; None for none. One that failed, without a deployment, is deleted."""
    endpoint = find_endpoint(client, name)
    if endpoint is None:
        return None
    state = status_word(endpoint.provisioning_state).lower()
    if state == "deleting" or (state in UNUSABLE and not endpoint.traffic):
        delete_endpoint(client, name, minutes)
        return None
    return endpoint


def _served(endpoint: Any, new: str) -> str | None:
    """The one deployment that serves. Raises UserError where there are several."""
    shares = [name for name in live_shares(endpoint) if name != new]
    if len(shares) > 1:
        raise UserError(
            f"The traffic of endpoint {endpoint.name} is split between {' and '.join(shares)}: a "
            "release replaces one deployment.",
            "Send all of it to one of them, and run again.",
        )
    return shares[0] if shares else None


def short_model(asset: object) -> str:
    """Name and version of the model that an asset's id names."""
    match = _MODEL.fullmatch(str(asset))
    return f"{match['name']}:{match['version']}" if match else str(asset)


@task(name="deploy beside", task_run_name="deploy {release.lease.new}", **REMOTE)
def deploy_beside(workspace: str, release: Release, config: ReleaseConfig) -> None:
    """The new deployment, without traffic, beside the one that serves; adopted if it is there."""
    lease = release.lease
    order = Order(
        endpoint=lease.endpoint,
        name=lease.new,
        model=release.model,
        size=config.size,
        instances=config.instances,
        tags={
            RUN_KEY: run_key(lease.endpoint),
            FLOW_RUN: lease.flow_run_id,
            EXPIRES: lease.expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
        concurrent=config.concurrent_requests,
        queue_seconds=config.queue_seconds,
    )
    without_dots()
    ensure_deployment(workspace_client(workspace), order, config.deploy_minutes)


@task(name="shift the traffic", task_run_name="{share} % to {release.lease.new}", **REMOTE)
def shift_traffic(
    workspace: str, release: Release, share: int, mirror: int, config: ReleaseConfig
) -> None:
    """Send this much of the traffic (percent) to the new deployment, and the rest to the old one.

    `mirror`: percent of it that the new one gets a copy of.
    """
    lease = release.lease.renewed(lease_minutes(config))
    shares = {lease.new: share} if share else {}
    if lease.old and share < 100:
        shares[lease.old] = 100 - share
    copies = {lease.new: mirror} if mirror else {}
    route(workspace_client(workspace), lease, shares, copies, config.deploy_minutes)
    told = ", ".join(f"{name} {percent} %" for name, percent in shares.items()) or "no traffic yet"
    copied = f"; {mirror} % copied to {lease.new}" if mirror else ""
    run_logger().info("Endpoint %s: %s%s", lease.endpoint, told, copied)


@task(name="end the release", task_run_name="end the release of {release.lease.new}", **REMOTE)
def end_release(workspace: str, release: Release, minutes: float) -> list[str]:
    """Delete the old deployment and give the endpoint free; says what was deleted."""
    client, lease, deleted = workspace_client(workspace), release.lease, []
    without_dots()
    if lease.old and delete_deployment(client, lease.endpoint, lease.old, minutes):
        deleted.append(f"deployment {lease.old}")
    route(client, lease, {lease.new: 100}, {}, minutes, end=True)
    return deleted
