"""Waiting for external work: one poller for jobs, deployments and long-running operations."""

import random as _random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tasks.errors import DeadlineExceeded, ErrorKind, UserError
from tasks.explaining import azure_code_and_text, is_transient
from tasks.values import Phase


@dataclass(frozen=True)
class Observation:
    """One look at external work: its phase, the service's own word for it, and the resource."""

    phase: Phase
    status: str = ""
    resource: Any = None


@dataclass(frozen=True)
class Patience:
    """How long and how often to look. All times are seconds."""

    deadlines: Mapping[Phase, float] = field(default_factory=dict)
    """Longest total time in a phase; a phase without an entry may last for ever."""
    interval: float = 15.0
    """Longest pause between two looks; the first pauses are shorter."""
    first_interval: float = 0.2
    error_limit: float = 900.0
    """How long looks may go on failing before the wait is given up."""

    def pause(self, looks: int) -> float:
        """Seconds to sleep after the given number of looks, before jitter."""
        first = min(self.first_interval, self.interval)
        return float(min(self.interval, first * 1.3 ** min(looks, 60)))


def wait(
    what: str,
    look: Callable[[], Observation],
    patience: Patience,
    *,
    cancel: Callable[[], object] | None = None,
    on_progress: Callable[[Observation], object] | None = None,
    on_error: Callable[[Exception], object] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
    random: Callable[[], float] = _random.random,
) -> Observation:
    """Look until the work has ended, and return the last observation.

    Time is added up by phase: work that goes back to its queue keeps what it has used of that
    deadline. Errors of `look` that may pass are tolerated for `patience.error_limit` seconds in a
    row, and the phase's clock runs on meanwhile; any other error is raised at once. Past a
    deadline, `cancel` is called and DeadlineExceeded raised.
    """
    spent: dict[Phase, float] = {}
    phase, before, looks = Phase.QUEUED, clock(), 0
    failing_since: float | None = None
    while True:
        try:
            seen = look()
        except Exception as error:
            if isinstance(error, UserError) or not is_transient(error):
                raise
            failing_since = before if failing_since is None else failing_since
            if on_error is not None:
                on_error(error)
            if clock() - failing_since > patience.error_limit:
                raise _gave_up(what, error, patience.error_limit) from error
        else:
            failing_since = None
            phase = Phase.QUEUED if seen.phase is Phase.MISSING else seen.phase
            if on_progress is not None:
                on_progress(seen)
            if seen.phase.ended:
                return seen
        now = clock()
        spent[phase] = spent.get(phase, 0.0) + now - before
        before = now
        left = patience.deadlines.get(phase, float("inf")) - spent[phase]
        if left <= 0:
            raise _too_late(what, phase, patience.deadlines[phase], cancel)
        # Never longer than the interval: whoever set it counts on it.
        sleep(min(patience.pause(looks) * (0.75 + 0.25 * random()), left))
        looks += 1


def _gave_up(what: str, error: Exception, limit: float) -> UserError:
    _, text = azure_code_and_text(error)
    return UserError(
        f"{what} could not be looked at for {_duration(limit)}: {text}",
        "It may still be running: run again to adopt it once the service answers.",
        ErrorKind.SERVICE,
    )


def _too_late(
    what: str, phase: Phase, limit: float, cancel: Callable[[], object] | None
) -> DeadlineExceeded:
    state = {Phase.QUEUED: "was still waiting to start", Phase.RUNNING: "was still running"}
    message = f"{what} {state.get(phase, f'was still {phase}')} after {_duration(limit)}"
    if cancel is None:
        return DeadlineExceeded(f"{message}.", "Raise the deadline, or look at it in the studio.")
    try:
        cancel()
    except Exception as error:  # the deadline is what the caller has to know
        _, text = azure_code_and_text(error)
        return DeadlineExceeded(
            f"{message}, and cancelling it failed: {text}.", "Cancel it in the studio."
        )
    return DeadlineExceeded(
        f"{message} and was cancelled.",
        "Raise the deadline in `deadlines`, or find out in the studio what it waited for.",
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:g} s"
    return f"{seconds / 60:g} min" if seconds < 7200 else f"{seconds / 3600:g} h"


_REASON_SECONDS = 30.0
_ENDED = {
    "succeeded": Phase.SUCCEEDED,
    "failed": Phase.FAILED,
    "canceled": Phase.CANCELLED,
    "cancelled": Phase.CANCELLED,
}


def status_word(state: object) -> str:
    """Azure's own word of a state, which the SDK gives as text or as an enum; "" for none."""
    return str(getattr(state, "value", state) or "")


def provisioning_phase(state: object) -> Phase:
    """The phase that a resource's provisioning state (a word or an SDK enum) stands for."""
    return _ENDED.get(status_word(state).lower(), Phase.RUNNING)


def look_at_resource(
    get: Callable[[], Any], operation: Any | None = None
) -> Callable[[], Observation]:
    """A `look` for a resource with a provisioning state.

    `operation`: the SDK's poller of the change, if this process began it. Its failure, which has
    the service's error text, is raised; the resource itself decides everything else, so that work
    begun by someone else is waited for in the same way.
    """

    def raise_failure(seconds: float) -> None:
        if operation is None:
            return
        operation.wait(0)  # raises the failure of an operation that has ended
        if not operation.done():
            operation.wait(seconds)

    def look() -> Observation:
        resource = get()
        state = resource.provisioning_state
        phase = provisioning_phase(state)
        try:
            raise_failure(_REASON_SECONDS if phase is Phase.FAILED else 0)
        except Exception as error:
            if not is_transient(error):
                raise
        return Observation(phase, status_word(state), resource)

    return look


def wait_for_resource(
    what: str, get: Callable[[], Any], patience: Patience, operation: Any | None = None
) -> Observation:
    """Wait until a resource's provisioning has ended.

    `operation`: the SDK's poller of the change, if this process began it. When that sees the end,
    the resource is looked at there and then, however long the pause was to be.
    """

    look = look_at_resource(get, operation)
    return wait(what, look, patience, sleep=lambda seconds: pause(seconds, operation))


def pause(seconds: float, operation: Any | None) -> None:
    """Sleep, but no longer than until the SDK's poller of an operation sees its end."""
    if operation is None or operation.done():
        time.sleep(seconds)
        return
    with suppress(Exception):  # what failed is seen by the next look
        operation.wait(seconds)
