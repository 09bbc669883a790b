"""How resources move from state to state: at once, after a time, when told to, or to a failure."""

import asyncio
import shlex
from collections.abc import Collection
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from emulator.clock import CLOCK
from emulator.faults import Seconds
from emulator.http import AzureError

_PROVISIONED = ("Creating", "Updating", "Deleting")
STATES: dict[str, tuple[str, ...]] = {
    "jobs": ("Queued", "Preparing", "Finalizing"),
    "computes": (*_PROVISIONED, "Starting", "Stopping", "Restarting"),
    "endpoints": _PROVISIONED,
    "deployments": _PROVISIONED,
    "schedules": _PROVISIONED,
}
"""The kinds of resources, and the states of each that can last."""

_USUAL: dict[str, tuple[str, ...]] = {"jobs": ("Queued",)}
"""Those that a setting without `states` is about, where not all of them are."""

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)


class Failure(BaseModel):
    """What the next resources of a kind, or steps of a job, fail with."""

    model_config = _STRICT

    times: Annotated[int, Field(ge=1)] = 1
    code: str = "InternalServerError"
    message: str = "The resource failed as a transition of the local Azure ML told it to."
    exit_code: Annotated[int, Field(ge=1, le=255)] = 1
    stderr: str = ""
    """What the process of a deployment or a step writes before it exits."""
    name: str = "*"

    def command(self) -> str:
        """A shell command that fails like this."""
        text = self.stderr or self.message
        return f"printf '%s\\n' {shlex.quote(text)} >&2; exit {self.exit_code}"


class Setting(BaseModel):
    """How the resources of one kind move."""

    model_config = _STRICT

    mode: Literal["immediate", "timed", "manual"] = "immediate"
    seconds: Seconds | dict[str, Seconds] = 0
    """Of a timed state; for all states, or by state."""
    states: list[str] | None = None
    fail: Failure | None = None

    @model_validator(mode="after")
    def _timed(self) -> "Setting":
        if self.mode == "timed" and not self.seconds:
            raise ValueError("the mode timed needs seconds")
        if self.mode != "timed" and "seconds" in self.model_fields_set:
            raise ValueError(f"seconds belong to the mode timed, not to {self.mode}")
        return self


@dataclass(eq=False)
class _Waiting:
    kind: str
    name: str
    state: str
    names: frozenset[str]
    moved: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.Future())


class Transitions:
    """The settings of all kinds, and what waits to be advanced."""

    def __init__(self) -> None:
        self._settings: dict[str, Setting] = {}
        self._failed: dict[str, int] = {}
        self._waiting: list[_Waiting] = []

    def set(self, kind: str, setting: Setting) -> None:
        """Set how a kind moves. What waits goes on unless the kind is still manual."""
        _check_states(kind, setting)
        self._settings[kind] = setting
        self._failed[kind] = 0
        if setting.mode != "manual":
            self._free(kind)

    def clear(self, kind: str | None = None) -> None:
        """Move at once again, one kind or all; what waits goes on."""
        for each in [kind] if kind else list(STATES):
            self._settings.pop(each, None)
            self._free(each)

    def are_set(self, kind: str) -> bool:
        """Whether a kind moves as it was told to."""
        return kind in self._settings

    async def enter(self, kind: str, state: str, name: str, aliases: Collection[str] = ()) -> None:
        """Stay in a state as long as the setting says.

        `name` and `aliases` are what the resource can be advanced by. Raises AzureError when it
        is told to fail.
        """
        setting = self._settings.get(kind)
        if setting is None or state not in (setting.states or _USUAL.get(kind, STATES[kind])):
            return
        if setting.mode == "timed":
            seconds = setting.seconds
            await CLOCK.sleep(seconds.get(state, 0) if isinstance(seconds, dict) else seconds)
        elif setting.mode == "manual":
            waiting = _Waiting(kind, name, state, frozenset({name, *aliases}))
            self._waiting.append(waiting)
            try:
                await waiting.moved
            finally:
                self._waiting.remove(waiting)

    def failure(self, kind: str, *names: str) -> Failure | None:
        """What a resource shall fail with, counted; None when it shall not."""
        setting = self._settings.get(kind)
        failure = setting.fail if setting else None
        if failure is None or self._failed[kind] >= failure.times:
            return None
        if not any(fnmatchcase(name, failure.name) for name in names):
            return None
        self._failed[kind] += 1
        return failure

    def advance(self, kind: str, name: str, error: AzureError | None = None) -> list[str]:
        """Let what waits under a name (a glob) go on, or fail; gives its names."""
        found = [
            waiting
            for waiting in self._waiting
            if waiting.kind == kind
            and not waiting.moved.done()
            and any(fnmatchcase(each, name) for each in waiting.names)
        ]
        for waiting in found:
            if error:
                waiting.moved.set_exception(error)
            else:
                waiting.moved.set_result(None)
        return [waiting.name for waiting in found]

    def waiting(self) -> list[dict[str, str]]:
        return [
            {"kind": each.kind, "name": each.name, "state": each.state}
            for each in self._waiting
            if not each.moved.done()
        ]

    def as_json(self) -> dict[str, Any]:
        kinds = {
            kind: setting.model_dump(exclude_defaults=True)
            | {"mode": setting.mode}
            | ({"failed": self._failed[kind]} if setting.fail else {})
            for kind, setting in self._settings.items()
        }
        return {"kinds": kinds, "waiting": self.waiting()}

    def _free(self, kind: str) -> None:
        self.advance(kind, "*")


def check_kind(kind: str) -> str:
    """The kind; AzureError 400 when there is none of the name."""
    if kind not in STATES:
        raise AzureError(
            400, "UserError", f"kind: there is no {kind!r}; there are {', '.join(STATES)}"
        )
    return kind


def _check_states(kind: str, setting: Setting) -> None:
    """AzureError 400 for a state that the kind does not have."""
    timed = list(setting.seconds) if isinstance(setting.seconds, dict) else []
    for field_, names in (("states", setting.states or []), ("seconds", timed)):
        for name in names:
            if name not in STATES[kind]:
                raise AzureError(
                    400,
                    "UserError",
                    f"{field_}: {kind} have no state {name!r} that lasts; they have "
                    f"{', '.join(STATES[kind])}",
                )
