"""The run is killed at every request after the job's submission, and started again each time."""

from benchmarks.rig import Rig
from tests.resilience.killing import cases_of_a_run, check, kill_at


def test_whatever_kills_it_all_is_done_once(cloud: Rig) -> None:
    _, tried = cases_of_a_run(cloud)
    assert tried
    trainings, missed = kill_at(cloud, tried)
    check(cloud, trainings, missed, len(tried))
