"""The control API of a running emulator, from another process."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlencode

from emulator.config import Config, load_config
from emulator.control_request import ControlError, send

__all__ = ["Control", "ControlError", "Event", "FaultHandle"]

_POLL_SECONDS = 0.02
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Event:
    """One request that the emulator got; `emulator.events` says what the fields mean."""

    sequence: int
    time: str
    host: str
    method: str
    path: str
    operation: str
    kind: str
    correlation: str | None
    status: int | None
    fault: str | None
    action: str | None
    effect: bool
    done: bool
    milliseconds: float | None


class FaultHandle:
    """A fault that was set."""

    def __init__(self, control: "Control", answer: Mapping[str, Any]) -> None:
        self._control = control
        self.id: str = answer["id"]
        self.answer = dict(answer)

    @property
    def matched(self) -> int:
        """How many requests it was tried with, when last asked."""
        return int(self.answer["matched"])

    @property
    def fired(self) -> int:
        """How many requests it happened to, when last asked."""
        return int(self.answer["fired"])

    @property
    def waiting(self) -> int:
        """How many requests or operations it held, when last asked."""
        return int(self.answer["waiting"])

    def refresh(self) -> "FaultHandle":
        """Ask for the counts again."""
        self.answer = self._control.request("GET", f"/faults/{self.id}")
        return self

    def wait_until_held(self, timeout: float = 30, count: int = 1) -> "FaultHandle":
        """Wait until `count` requests are held. ControlError after `timeout` seconds."""
        return _wait(
            lambda: self if self.refresh().waiting >= count else None,
            timeout,
            f"the fault {self.id} ({self.answer['operation']}) held no request",
        )

    def release(self) -> int:
        """Let the held requests go on; says how many."""
        return int(self._control.request("POST", f"/faults/{self.id}/release")["released"])

    def remove(self) -> None:
        """Take the fault away; what it holds goes on. Its last counts stay here."""
        try:
            self.answer = self._control.request("DELETE", f"/faults/{self.id}")
        except ControlError as error:
            if error.status != 404:
                raise


class Control:
    """What a test does to the cloud. Everything but quotas is forgotten with the process."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def of(cls, state: Path) -> "Control":
        """The control of the emulator of a state folder."""
        config = load_config(state)
        if config is None:
            raise ControlError(f"{state} is not the state folder of an emulator")
        return cls(config)

    def request(self, method: str, path: str, body: object = None) -> Any:
        """Any request to the control API; gives the JSON of its answer."""
        return send(self.config, method, path, body)

    # Faults

    def add_fault(
        self,
        operation: str = "*",
        *,
        method: str | None = None,
        host: str | None = None,
        path: str | None = None,
        times: int | None = 1,
        after: int = 0,
        probability: float = 1.0,
        seed: int = 0,
        delay: float | None = None,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        code: str | None = None,
        message: str | None = None,
        effect: bool | None = None,
        reset: Literal["before", "after"] | None = None,
        body: Literal["broken", "cut", "empty"] | None = None,
        merge: Mapping[str, Any] | None = None,
        operation_result: Mapping[str, str] | Literal["never"] | None = None,
        token: Literal["expired", "revoked"] | int | None = None,
        hold: Literal["before", "after"] | None = None,
    ) -> FaultHandle:
        """Set a fault; it stays until it is removed, also after it has happened `times` times."""
        action = {
            "delay": delay,
            "status": status,
            "headers": dict(headers) if headers else None,
            "code": code,
            "message": message,
            "effect": effect,
            "reset": reset,
            "body": body,
            "merge": merge,
            "operation": operation_result,
            "token": token,
            "hold": hold,
        }
        rule = {
            "operation": operation,
            "method": method,
            "host": host,
            "path": path,
            "times": times,
            "after": after,
            "probability": probability,
            "seed": seed,
            "action": {name: value for name, value in action.items() if value is not None},
        }
        return FaultHandle(self, self.request("POST", "/faults", rule))

    @contextmanager
    def fault(self, operation: str = "*", **options: Any) -> Iterator[FaultHandle]:
        """`add_fault` for the time of a block."""
        fault = self.add_fault(operation, **options)
        try:
            yield fault
        finally:
            fault.remove()

    def faults(self) -> list[FaultHandle]:
        return [FaultHandle(self, each) for each in self.request("GET", "/faults")["faults"]]

    def clear_faults(self) -> None:
        self.request("DELETE", "/faults")

    # Events

    def events(
        self, after: int = 0, operation: str = "*", kind: Literal["read", "write"] | None = None
    ) -> list[Event]:
        """The requests with a higher sequence number, of the operations that a glob names."""
        query = {"after": after, "operation": operation} | ({"kind": kind} if kind else {})
        answer = self.request("GET", f"/events?{urlencode(query)}")
        return [Event(**event) for event in answer["events"]]

    def last_event(self) -> int:
        """The number of the last request; what comes from now on has a higher one."""
        return int(self.request("GET", "/events?limit=1")["last"])

    def clear_events(self) -> None:
        self.request("DELETE", "/events")

    # Transitions

    def transition(
        self,
        kind: str,
        *,
        mode: Literal["immediate", "timed", "manual"] = "immediate",
        seconds: float | Mapping[str, float] | None = None,
        states: list[str] | None = None,
        fail: Mapping[str, Any] | None = None,
    ) -> None:
        """Set how the resources of a kind move from state to state."""
        setting = {"mode": mode, "seconds": seconds, "states": states, "fail": fail}
        given = {name: value for name, value in setting.items() if value is not None}
        self.request("PUT", f"/transitions/{kind}", given)

    def fail_next(self, kind: str, **failure: Any) -> None:
        """Let the next resources of a kind fail: times, code, message, exit_code, stderr, name.

        This sets the kind's mode to immediate; `transition(fail=...)` sets both.
        """
        self.transition(kind, fail=failure)

    def advance_resource(
        self,
        kind: str,
        name: str,
        *,
        code: str | None = None,
        message: str | None = None,
        wait: float = 0,
    ) -> list[str]:
        """Let what waits go on, or fail with a code and a message.

        Gives the names; waits up to `wait` seconds until there is something to advance.
        """
        error = {"code": code, "message": message}
        given = {name: value for name, value in error.items() if value is not None}
        path = f"/transitions/{kind}/{quote(name)}/advance"

        def advance() -> list[str] | None:
            try:
                answer = self.request("POST", path, {"error": given} if given else {})
            except ControlError as refusal:
                if refusal.status != 404 or not wait:
                    raise
                return None
            return [str(each) for each in answer["advanced"]]

        return _wait(advance, wait, f"none of the {kind} waited under the name {name!r}")

    def transitions(self) -> dict[str, Any]:
        """The settings (`kinds`) and what is `waiting`."""
        answer: dict[str, Any] = self.request("GET", "/transitions")
        return answer

    def clear_transitions(self, kind: str | None = None) -> None:
        self.request("DELETE", f"/transitions/{kind}" if kind else "/transitions")

    # Clock, quotas, everything

    def now(self) -> datetime:
        """The emulator's time."""
        return datetime.fromisoformat(self.request("GET", "/clock")["now"])

    def advance(self, seconds: float) -> datetime:
        """Turn the emulator's clock forward."""
        return datetime.fromisoformat(self.request("POST", "/clock", {"advance": seconds})["now"])

    def clear_clock(self) -> None:
        self.request("DELETE", "/clock")

    def quotas(self) -> list[dict[str, Any]]:
        """`family`, `limit` and `used` of each quota, in vCPUs."""
        answer: list[dict[str, Any]] = self.request("GET", "/quotas")["quotas"]
        return answer

    def set_quota(self, family: str, limit: int) -> None:
        """Set the limit of the quotas that a glob names."""
        self.request("PUT", f"/quotas/{quote(family)}", {"limit": limit})

    def exhaust_quota(self, family: str = "*") -> None:
        """Leave nothing: the limit is what is used now."""
        self.request("PUT", f"/quotas/{quote(family)}", {"exhausted": True})

    def clear_quotas(self) -> None:
        self.request("DELETE", "/quotas")

    def clear(self) -> None:
        """Faults, events, transitions, clock and quotas as at the start; resources stay."""
        self.request("POST", "/clear")

    def reset(self) -> None:
        """The same, and all resources are deleted."""
        self.request("POST", "/reset")


def _wait(attempt: Callable[[], _Found | None], seconds: float, what: str) -> _Found:
    deadline = time.monotonic() + seconds
    while True:
        found = attempt()
        if found is not None:
            return found
        if time.monotonic() > deadline:
            raise ControlError(f"{what} within {seconds:g} s")
        time.sleep(_POLL_SECONDS)
