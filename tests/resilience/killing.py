"""A run that is killed at one request after the other, and started again each time.

The list of requests is that of a run that is left alone, as the emulator's event log has it, so
that a new request is covered from the day it appears. What a killed run leaves is where the next
one starts, and that one is killed at the next request: so one training is killed many times, and
its end shows whether all of these have done no harm.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from benchmarks.fleet import Run
from benchmarks.rig import CLEAN, Rig
from emulator.control_client import FaultHandle
from tests.resilience.exhaustive import EXHAUSTIVE
from tests.resilience.slots import Case, Slot, cases, slots

_SUBMIT = "Jobs_CreateOrUpdate"


def cases_of_a_run(cloud: Rig) -> tuple[list[Case], list[Case]]:
    """Where a run can be killed, in order: up to the submission of its job, and after it.

    Without EXHAUSTIVE=1 (`make test-all`) only where it has just written what costs money or stays.
    Number 0 of the rig's trainings is used for it.
    """
    before = cloud.control.last_event()
    run = cloud.start(cloud.config(0))
    assert run.end() == 0, run.text
    every = cases(slots(cloud.control.events(after=before)))
    assert len(every) > 60
    submission = max(n for n, case in enumerate(every, 1) if case.slot.operation == _SUBMIT)
    return _chosen(every[:submission]), _chosen(every[submission:])


def _chosen(found: list[Case]) -> list[Case]:
    # What is downloaded from the hub is there for every later run of this machine.
    wanted = [case for case in found if case.slot.operation != "Hub_Download"]
    if EXHAUSTIVE:
        return wanted
    return [case for case in wanted if case.moment == "after" and _is_paid_for(case.slot)]


def _is_paid_for(slot: Slot) -> bool:
    """Whether the request makes or removes what costs money, or stays."""
    return slot.kind == "write" and not slot.operation.startswith("Blo")


@dataclass
class Training:
    """One training, where it was killed, and the run that ended it by itself."""

    number: int
    killed: list[Case] = field(default_factory=list)
    last: Run | None = None

    def __str__(self) -> str:
        return ", then ".join(str(case) for case in self.killed)


def kill_at(cloud: Rig, tried: Sequence[Case]) -> tuple[list[Training], list[Case]]:
    """Kill runs at every case. Gives the trainings, which have ended, and what was not reached.

    A run that adopts what an earlier one has made does not send every request again. So a case
    that is not reached is tried once more with a training of its own.
    """
    numbers = count(1)
    trainings = [Training(next(numbers))]
    missed: list[Case] = []
    for case in tried:
        if _killed(cloud, trainings[-1], case):
            continue
        if trainings[-1].killed:  # else it was a new one already
            trainings.append(Training(next(numbers)))
            if _killed(cloud, trainings[-1], case):
                continue
        missed.append(case)
        trainings.append(Training(next(numbers)))
    if trainings[-1].killed:
        _end(cloud, trainings[-1])
    else:
        trainings.pop()
    return trainings, missed


def _killed(cloud: Rig, training: Training, case: Case) -> bool:
    """Whether a run of the training got to the request and was killed there; else it has ended."""
    slot = case.slot
    fault = cloud.control.add_fault(
        slot.operation, path=slot.path, after=slot.number - 1, hold=case.moment
    )
    run = cloud.start(cloud.config(training.number))
    if _is_held(fault, run):
        run.kill()
        fault.remove()
        training.killed.append(case)
        return True
    fault.remove()
    training.last = run
    return False


def _end(cloud: Rig, training: Training) -> None:
    training.last = cloud.start(cloud.config(training.number))
    training.last.end()


def _is_held(fault: FaultHandle, run: Run) -> bool:
    """Whether the run was held before it ended."""
    while run.is_alive:
        if fault.refresh().waiting:
            return True
        time.sleep(0.02)
    return False


def check(cloud: Rig, trainings: Iterable[Training], missed: list[Case], tried: int) -> None:
    """One job and one model for each training, no endpoint, no claim, and few requests missed."""
    problems = list(_problems(cloud, trainings))
    assert not problems, "\n".join(problems)
    # Few rows more or less may give the same test data, which is then uploaded already.
    assert len(missed) <= 0.1 * tried, [str(case) for case in missed]
    assert cloud.claims() == []


def _problems(cloud: Rig, trainings: Iterable[Training]) -> Iterator[str]:
    left = cloud.left()
    for training in trainings:
        run = training.last
        assert run is not None
        if run.end() != 0:
            yield f"killed {training}:\n{run.text[-2000:]}"
        elif left[run.run_key] != CLEAN:
            yield f"killed {training}: {left[run.run_key]}"
