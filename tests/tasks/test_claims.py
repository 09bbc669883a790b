"""Claims with a real Prefect server, and real processes that are killed."""

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.exceptions import TerminationSignal
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Crashed, Running

from tasks.claims import (
    Claim,
    claimed,
    has_ended,
    hold,
    other_holders,
    read_claim,
    release,
    update,
    withdraw,
)

ROOT = Path(__file__).parents[2]


@flow
def training() -> None:
    """Only its runs are needed."""


@pytest.fixture(autouse=True)
def own_home(prefect_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINETUNE_HOME", str(tmp_path / "home"))


@pytest.fixture
def run_key() -> str:
    return uuid.uuid4().hex[:12]


def start_run() -> str:
    with get_client(sync_client=True) as client:
        return str(client.create_flow_run(training, state=Running()).id)


def end_run(run: str, state: object = None) -> None:
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(run), state or Completed(), force=True)  # type: ignore[arg-type]


def name_of(run: str) -> str:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(UUID(run)).name


def a_claim(run: str, run_key: str) -> Claim:
    return Claim(flow_run_id=run, workspace="w", run_key=run_key, job="ft", endpoint="ft-e")


def hold_in_another_process(claim: Claim) -> subprocess.Popen[str]:
    """A process that holds the claim until it is killed."""
    script = (
        "import sys, time; from tasks.claims import Claim, hold;"
        "hold(Claim.model_validate_json(sys.argv[1])); print('held', flush=True); time.sleep(300)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, claim.model_dump_json()],
        cwd=ROOT,
        env={**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "held"
    return process


def test_a_claim_is_written_down_until_it_is_released(run_key: str) -> None:
    claim = a_claim(start_run(), run_key)
    hold(claim)
    update(claim.flow_run_id, job="ft-2")
    assert read_claim(claim.flow_run_id) == claim.model_copy(update={"job": "ft-2"})
    release(claim)
    assert read_claim(claim.flow_run_id) is None


def test_runs_of_the_same_training_see_each_other_and_no_others(run_key: str) -> None:
    one, two, other = start_run(), start_run(), start_run()
    for run, key in ((one, run_key), (two, run_key), (other, "ffffffffffff")):
        hold(a_claim(run, key))
    assert other_holders(run_key, one) == [name_of(two)]
    assert other_holders(run_key, two) == [name_of(one)]


def test_of_two_runs_that_withdraw_both_see_that_they_are_the_last(run_key: str) -> None:
    one, two = start_run(), start_run()
    for run in (one, two):
        hold(a_claim(run, run_key))
    for run in (one, two):
        withdraw(a_claim(run, run_key))
    assert other_holders(run_key, one) == other_holders(run_key, two) == []


def test_a_run_of_another_home_that_has_ended_holds_nothing(
    run_key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = start_run()
    hold(a_claim(run, run_key))
    end_run(run, Crashed())
    monkeypatch.setenv("FINETUNE_HOME", str(tmp_path / "elsewhere"))
    assert other_holders(run_key, "me") == []


def test_a_run_that_was_called_crashed_while_it_slept_lives(run_key: str) -> None:
    run = start_run()
    hold(a_claim(run, run_key))
    end_run(run, Crashed())
    assert other_holders(run_key, "me") == [name_of(run)]
    assert has_ended(run) is False


def test_a_run_whose_output_nobody_reads_any_more_was_not_stopped(run_key: str) -> None:
    claim = a_claim(start_run(), run_key)
    with pytest.raises(SystemExit), claimed(claim):
        raise SystemExit(1)  # what rich makes of a broken pipe
    left = read_claim(claim.flow_run_id)
    assert left is not None
    assert not left.stopped
    assert has_ended(claim.flow_run_id) is True


def test_a_killed_process_holds_nothing_though_prefect_calls_its_run_running(run_key: str) -> None:
    run = start_run()
    process = hold_in_another_process(a_claim(run, run_key))
    assert other_holders(run_key, "me") == [name_of(run)]
    assert has_ended(run) is False
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert other_holders(run_key, "me") == []
    assert has_ended(run) is True


def test_the_claim_of_a_killed_run_makes_way_for_the_next_run(run_key: str) -> None:
    killed, alive, again = start_run(), start_run(), start_run()
    dead = hold_in_another_process(a_claim(killed, run_key))
    busy = hold_in_another_process(a_claim(alive, run_key))
    dead.kill()
    dead.wait()
    hold(a_claim(again, run_key))
    try:
        assert read_claim(killed) is None
        assert read_claim(alive) is not None
        assert has_ended(killed) is True
        assert other_holders(run_key, again) == [name_of(alive)]
    finally:
        busy.kill()
        busy.wait()


def test_a_run_of_another_home_is_judged_by_prefect_alone(
    run_key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = start_run()
    process = hold_in_another_process(a_claim(run, run_key))
    process.kill()
    process.wait()
    monkeypatch.setenv("FINETUNE_HOME", str(tmp_path / "elsewhere"))
    assert has_ended(run) is False
    end_run(run)
    assert has_ended(run) is True


def test_a_run_that_this_server_never_saw_is_neither_over_nor_alive() -> None:
    assert has_ended(str(uuid.uuid4())) is None
    assert has_ended("local") is None


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), TerminationSignal(signal=15)])
def test_an_interrupted_run_leaves_its_claim_marked(run_key: str, stop: BaseException) -> None:
    claim = a_claim(start_run(), run_key)
    with pytest.raises(type(stop)), claimed(claim):
        raise stop
    left = read_claim(claim.flow_run_id)
    assert left is not None
    assert left.stopped


def test_a_failed_run_gives_its_claim_up(run_key: str) -> None:
    claim = a_claim(start_run(), run_key)
    with pytest.raises(ValueError, match="broken"), claimed(claim):
        raise ValueError("broken")
    assert read_claim(claim.flow_run_id) is None
    assert other_holders(run_key, "me") == []
