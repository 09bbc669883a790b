"""The run is killed at every request that it sends, and started again: nothing is done twice.

The list of requests is that of a whole run, as the emulator's event log has it, so that a new
request is covered from the day it appears. All of them take many minutes: without EXHAUSTIVE=1
(`make test-all`) only those that write what costs money are tried.
"""

import time
from dataclasses import dataclass

from benchmarks.fleet import Run
from benchmarks.rig import CLEAN, Rig
from emulator.control_client import FaultHandle
from tests.resilience.exhaustive import EXHAUSTIVE
from tests.resilience.slots import Case, Slot, cases, slots


@dataclass
class Outcome:
    """What became of one case. `reached`: the first run got as far as the request."""

    case: Case
    reached: bool
    again: Run


def reference(cloud: Rig) -> list[Case]:
    """The requests of a run that is left alone."""
    before = cloud.control.last_event()
    run = cloud.start(cloud.config(0))
    assert run.end() == 0, run.text
    return cases(slots(cloud.control.events(after=before)))


def kill_at(cloud: Rig, case: Case, number: int) -> Outcome:
    """Kill a fresh run at the request, and start it again."""
    config = cloud.config(number)
    slot = case.slot
    fault = cloud.control.add_fault(
        slot.operation, path=slot.path, after=slot.number - 1, hold=case.moment
    )
    first = cloud.start(config)
    reached = is_held(fault, first)
    first.kill()
    fault.remove()
    again = cloud.start(config)
    again.end()
    return Outcome(case, reached, again)


def is_held(fault: FaultHandle, run: Run) -> bool:
    """Whether the run was held before it ended."""
    while run.is_alive:
        if fault.refresh().waiting:
            return True
        time.sleep(0.05)
    return False


def is_paid_for(slot: Slot) -> bool:
    """Whether the request makes or removes what costs money, or stays."""
    return slot.kind == "write" and not slot.operation.startswith(("Blo", "Compute"))


def test_killed_at_every_request_and_started_again_all_is_done_once(cloud: Rig) -> None:
    tried = reference(cloud)
    assert len(tried) > 60
    if not EXHAUSTIVE:
        tried = [case for case in tried if case.moment == "after" and is_paid_for(case.slot)]
    outcomes = [kill_at(cloud, case, number) for number, case in enumerate(tried, start=1)]
    failed = [o for o in outcomes if o.again.end() != 0]
    assert not failed, "\n".join(f"{o.case}: {o.again.text[-2000:]}" for o in failed)
    left = cloud.left()
    wrong = [o for o in outcomes if left[o.again.run_key] != CLEAN]
    assert not wrong, "\n".join(f"{o.case}: {left[o.again.run_key]}" for o in wrong)
    # Few rows more or less may give the same test data, which is then uploaded already.
    assert sum(o.reached for o in outcomes) >= 0.75 * len(outcomes)
    assert cloud.claims() == []
