"""The requests of a run as places where it can be killed."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from emulator.control_client import Event

_VARIABLE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{40,64}|[0-9a-f]{12}"
    r"|cluster-\d+"
)


@dataclass(frozen=True)
class Slot:
    """The n-th request (from 1) of an operation on a path, whose names of this run are `*`."""

    operation: str
    path: str
    number: int
    kind: str

    def __str__(self) -> str:
        tail = "/".join(self.path.rsplit("/", 2)[-2:])
        return f"{self.operation} {tail} #{self.number}"


@dataclass(frozen=True)
class Case:
    """Kill the run when this request arrives, or when its effect has taken place."""

    slot: Slot
    moment: Literal["before", "after"]

    def __str__(self) -> str:
        return f"{self.moment} {self.slot}"


def slots(events: Iterable[Event]) -> list[Slot]:
    """Every request of a run, in order.

    A read that is repeated while nothing was written in between finds and changes nothing new:
    it counts once.
    """
    counts: Counter[tuple[str, str]] = Counter()
    since_write: set[tuple[str, str]] = set()
    found: list[Slot] = []
    for event in events:
        key = (event.operation, _VARIABLE.sub("*", event.path))
        counts[key] += 1
        if event.kind == "write":
            since_write.clear()
        elif key in since_write:
            continue
        since_write.add(key)
        found.append(Slot(*key, counts[key], event.kind))
    return found


def cases(found: Iterable[Slot]) -> list[Case]:
    """Before every write, and after every request.

    Before a read is where the request before it left off, so that is not tried twice.
    """
    made: list[Case] = []
    for slot in found:
        if slot.kind == "write":
            made.append(Case(slot, "before"))
        made.append(Case(slot, "after"))
    return made
