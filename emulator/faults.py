"""Faults: what shall go wrong, with which requests, how often. Rules, counts, nothing else."""

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from random import Random
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)
_ACTIONS = ("status", "reset", "body", "merge", "operation", "token", "hold")
_OF_STATUS = ("headers", "code", "message", "effect")

Seconds = Annotated[float, Field(ge=0, le=86400)]


class OperationEnd(BaseModel):
    """How a long-running operation shall end."""

    model_config = _STRICT

    status: Literal["Failed", "Canceled"] = "Failed"
    code: str = "InternalServerError"
    message: str = "The operation failed as a fault told it to."


class Action(BaseModel):
    """What happens to a request: one of the actions, and a delay (seconds) before it."""

    model_config = _STRICT

    delay: Seconds = 0
    status: Annotated[int, Field(ge=300, le=599)] | None = None
    headers: dict[str, str] = {}
    code: str | None = None
    message: str | None = None
    effect: bool = False
    reset: Literal["before", "after"] | None = None
    body: Literal["broken", "cut", "empty"] | None = None
    merge: dict[str, Any] | None = None
    """A JSON merge patch (RFC 7396) for the body of the answer."""
    operation: OperationEnd | Literal["never"] | None = None
    token: Literal["expired", "revoked"] | Annotated[int, Field(ge=1, le=86400)] | None = None
    hold: Literal["before", "after"] | None = None

    @model_validator(mode="after")
    def _one_action(self) -> "Action":
        given = [name for name in _ACTIONS if getattr(self, name) is not None]
        if len(given) > 1 or not (given or self.delay):
            raise ValueError(
                f"give one of {', '.join(_ACTIONS)}, or delay alone; "
                f"given: {', '.join(given) or 'none'}"
            )
        loose = [name for name in _OF_STATUS if name in self.model_fields_set]
        if loose and self.status is None:
            raise ValueError(f"{', '.join(loose)} belong to status, which is not given")
        return self

    @property
    def name(self) -> str:
        """The action as the event log has it: `reset:after`, `status`, `delay` ..."""
        for name in _ACTIONS:
            value = getattr(self, name)
            if value is not None:
                return f"{name}:{value}" if isinstance(value, str) else name
        return "delay"


class FaultRule(BaseModel):
    """Which requests a fault meets, and what happens to them. Names and paths are globs."""

    model_config = _STRICT

    operation: str = "*"
    method: str | None = None
    host: str | None = None
    path: str | None = None
    times: Annotated[int, Field(ge=1)] | None = 1
    """How often it happens; None for ever."""
    after: Annotated[int, Field(ge=0)] = 0
    """How many matching requests pass before."""
    probability: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: int = 0
    action: Action

    @model_validator(mode="after")
    def _token_seconds(self) -> "FaultRule":
        if isinstance(self.action.token, int) and self.operation != "Identity_Token":
            raise ValueError("a token's lifetime in seconds needs the operation Identity_Token")
        return self

    def matches(self, operation: str, method: str, host: str, path: str) -> bool:
        return (
            fnmatchcase(operation, self.operation)
            and (self.method is None or self.method.upper() == method)
            and (self.host is None or fnmatchcase(host, self.host.lower()))
            and (self.path is None or fnmatchcase(path.lower(), self.path.lower()))
        )


@dataclass(eq=False)
class Fault:
    """A rule that is set, and what has come of it."""

    id: str
    rule: FaultRule
    matched: int = 0
    fired: int = 0
    waiting: int = 0
    """Requests that are held, and operations that do not end."""
    removed: asyncio.Event = field(default_factory=asyncio.Event)
    _released: asyncio.Event = field(default_factory=asyncio.Event)
    _random: Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = Random(self.rule.seed)

    def meets(self, operation: str, method: str, host: str, path: str) -> bool:
        """Whether the fault happens to this request; counts."""
        rule = self.rule
        if not rule.matches(operation, method, host, path):
            return False
        self.matched += 1
        if self.matched <= rule.after or (rule.times is not None and self.fired >= rule.times):
            return False
        if rule.probability < 1 and self._random.random() >= rule.probability:
            return False
        self.fired += 1
        return True

    def release(self) -> int:
        """Let all that wait go on; says how many."""
        self._released.set()
        self._released = asyncio.Event()
        return self.waiting

    async def released(self) -> None:
        await self._released.wait()

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            **self.rule.model_dump(exclude_defaults=True),
            "operation": self.rule.operation,
            "times": self.rule.times,
            "matched": self.matched,
            "fired": self.fired,
            "waiting": self.waiting,
        }


class Faults:
    """The faults that are set, in the order in which they are tried; one meets a request."""

    def __init__(self) -> None:
        self._faults: dict[str, Fault] = {}
        self._count = 0

    @property
    def active(self) -> bool:
        return bool(self._faults)

    def add(self, rule: FaultRule) -> Fault:
        self._count += 1
        fault = Fault(str(self._count), rule)
        self._faults[fault.id] = fault
        return fault

    def get(self, identifier: str) -> Fault | None:
        return self._faults.get(identifier)

    def all(self) -> list[Fault]:
        return list(self._faults.values())

    def meet(self, operation: str, method: str, host: str, path: str) -> Fault | None:
        """The fault that happens to a request, if one does."""
        for fault in self._faults.values():
            if fault.meets(operation, method, host, path):
                return fault
        return None

    def remove(self, identifier: str) -> None:
        """Take a fault away; what it holds goes on."""
        if fault := self._faults.pop(identifier, None):
            fault.removed.set()
            fault.release()

    def clear(self) -> None:
        for identifier in list(self._faults):
            self.remove(identifier)


CURRENT: ContextVar[Fault | None] = ContextVar("fault of the request", default=None)
"""The fault that meets the request which is answered, for the parts that take one in."""
