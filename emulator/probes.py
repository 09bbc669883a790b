"""Liveness and readiness probes: how often a deployment is asked how it is, and what follows."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from emulator.compute.durations import seconds


@dataclass(frozen=True)
class Probe:
    """One kind of probe of one deployment, with the service's defaults. Times in seconds."""

    delay: float
    period: float
    timeout: float
    failures: int
    """In a row, until it has failed."""
    successes: int
    """In a row, until it has succeeded after a failure."""

    @classmethod
    def read(cls, given: Mapping[str, Any] | None) -> "Probe":
        """From a deployment's resource. Raises ValueError for what is no probe."""
        probe = given or {}
        return cls(
            _seconds(probe, "initialDelay", "PT10S"),
            _seconds(probe, "period", "PT10S"),
            _seconds(probe, "timeout", "PT2S"),
            _number(probe, "failureThreshold", 30),
            _number(probe, "successThreshold", 1),
        )

    @property
    def deadline(self) -> float:
        """How long a deployment that starts may fail it."""
        return self.delay + self.period * self.failures

    async def watch(
        self, healthy: Callable[[float], Awaitable[bool]], changed: Callable[[bool], None]
    ) -> None:
        """Ask without end, and tell of each change. `healthy` gets the time-out of one probe."""
        good, row = True, 0
        while True:
            await asyncio.sleep(self.period)
            row = row + 1 if await healthy(self.timeout) != good else 0
            if row >= (self.failures if good else self.successes):
                good, row = not good, 0
                changed(good)


def _seconds(probe: Mapping[str, Any], name: str, default: str) -> float:
    value = seconds(probe.get(name) or default) or 0
    if value < (0 if name == "initialDelay" else 1):
        raise ValueError(f"{name} of a probe must be a second or more, not {probe.get(name)}.")
    return value


def _number(probe: Mapping[str, Any], name: str, default: int) -> int:
    value = probe.get(name)
    if value is None:
        return default
    if type(value) is not int or value < 1:
        raise ValueError(f"{name} of a probe must be 1 or more, not {value}.")
    return value


@dataclass(frozen=True)
class Probes:
    """Both probes of a deployment."""

    liveness: Probe
    readiness: Probe
    has_readiness: bool
    """Whether the deployment sets its readiness probe itself."""

    @classmethod
    def of(cls, properties: Mapping[str, Any]) -> "Probes":
        """Those of a deployment's properties. Raises ValueError."""
        given = properties.get("readinessProbe")
        return cls(Probe.read(properties.get("livenessProbe")), Probe.read(given), bool(given))

    @property
    def first_to_give_up(self) -> tuple[str, Probe]:
        """Which one ends a start that takes too long; a readiness probe only when it is set."""
        if self.has_readiness and self.readiness.deadline < self.liveness.deadline:
            return "readiness", self.readiness
        return "liveness", self.liveness

    @property
    def successes(self) -> int:
        """How often in a row a new instance must answer before it gets requests."""
        return self.readiness.successes
