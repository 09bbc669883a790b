"""The lease of an endpoint: which release is under way on it, written down in its tags.

Azure itself keeps it, so that a release that was killed is found by the next one, whatever
machine that runs on, and two at once are refused.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ConfigDict

from tasks.errors import ErrorKind, UserError
from tasks.ownership import FLOW_RUN, KEEP, RUN_KEY, parse_moment

RUN, EXPIRES, NEW, OLD, MADE = (
    "release_flow_run_id",
    "release_expires",
    "release_new",
    "release_old",
    "release_made_endpoint",
)
_TAGS = (RUN, EXPIRES, NEW, OLD, MADE)
_PAST = datetime.min.replace(tzinfo=UTC)
"""The expiry of a lease whose tag nobody can read."""


class EndpointBusy(UserError):
    """Another release is under way on the endpoint, or has taken it over."""

    kind = ErrorKind.TRANSIENT


class Lease(BaseModel):
    """One release's hold on an endpoint, and all that is needed to take its work back."""

    model_config = ConfigDict(frozen=True)

    endpoint: str
    flow_run_id: str
    expires: datetime
    new: str
    """Name of the deployment that is released."""
    old: str | None = None
    """Name of the deployment that it replaces; None on an endpoint that served nothing."""
    made: bool = False
    """Whether the endpoint was made for this release."""

    def tags(self) -> dict[str, str]:
        """The tags that stand for it."""
        return {
            RUN: self.flow_run_id,
            EXPIRES: self.expires.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            NEW: self.new,
            **({OLD: self.old} if self.old else {}),
            **({MADE: "true"} if self.made else {}),
        }

    def renewed(self, minutes: float) -> "Lease":
        """The same for so many minutes from now."""
        return self.model_copy(update={"expires": datetime.now(UTC) + timedelta(minutes=minutes)})


def run_key(endpoint: str) -> str:
    """The run key of every release to the endpoint: at most one of them is under way."""
    return f"release-{endpoint}"


def read_lease(endpoint: str, tags: Mapping[str, str] | None) -> Lease | None:
    """The lease in an endpoint's tags, dead or alive; None for none."""
    tags = tags or {}
    if RUN not in tags or NEW not in tags:
        return None
    return Lease(
        endpoint=endpoint,
        flow_run_id=tags[RUN],
        expires=parse_moment(tags.get(EXPIRES)) or _PAST,
        new=tags[NEW],
        old=tags.get(OLD),
        made=tags.get(MADE) == "true",
    )


def with_lease(tags: Mapping[str, str] | None, lease: Lease | None) -> dict[str, str]:
    """An endpoint's tags with this lease in the place of any other; None: with none."""
    kept = {name: value for name, value in (tags or {}).items() if name not in _TAGS}
    return kept | (lease.tags() if lease else {})


def endpoint_tags(endpoint: str, flow_run_id: str) -> dict[str, str]:
    """Tags of an endpoint that a release makes: whose it is, and that it is to stay."""
    return {RUN_KEY: run_key(endpoint), FLOW_RUN: flow_run_id, KEEP: "true"}


def is_over(lease: Lease, has_ended: Callable[[str], bool | None], now: datetime) -> bool:
    """Whether its release is dead: its run has ended, or its time is up."""
    return lease.expires <= now or has_ended(lease.flow_run_id) is True


def busy(lease: Lease) -> EndpointBusy:
    return EndpointBusy(
        f"Endpoint {lease.endpoint} is in the middle of another release: run "
        f"{lease.flow_run_id} puts {lease.new} on it.",
        "Wait for its end, or cancel it in Prefect, and run again; the endpoint is free at "
        f"{lease.expires:%Y-%m-%d %H:%M} UTC at the latest.",
    )
