"""A little of `make chaos`: kill -9 at random moments, and two machines at the same second."""

from pathlib import Path

from rich.console import Console

from benchmarks.chaos import chaos
from benchmarks.rig import CLEAN, Rig


def test_runs_that_are_killed_at_random_end_with_everything_once(cloud: Rig) -> None:
    figures = chaos(cloud, rounds=3, lanes=2, seed=1, console=Console(quiet=True))
    assert figures.kills > 0
    assert figures.are_right, figures


def test_two_machines_that_start_the_same_training_share_one_job(
    cloud: Rig, tmp_path: Path
) -> None:
    config = cloud.config(100)
    runs = [cloud.start(config, home=tmp_path / name) for name in ("one", "two")]
    assert [run.end() for run in runs] == [0, 0], "\n".join(run.text[-3000:] for run in runs)
    assert runs[0].run_key == runs[1].run_key
    assert cloud.left()[runs[0].run_key] == CLEAN


def test_the_sweep_in_the_middle_of_a_healthy_run_touches_nothing(cloud: Rig) -> None:
    cloud.control.transition("jobs", mode="manual", states=["Queued"])
    run = cloud.start(cloud.config(101))
    cloud.control.advance_resource("jobs", "*", wait=60)  # its job is there, and goes on
    sweep = cloud.start({"workspace": "default", "dry_run": False}, flow="sweep")
    assert sweep.end() == 0, sweep.text
    assert '"ended":[]' in sweep.text
    cloud.control.clear_transitions()
    assert run.end() == 0, run.text
    assert cloud.left()[run.run_key] == CLEAN


def test_the_sweep_ends_what_a_killed_run_has_left(cloud: Rig) -> None:
    fault = cloud.control.add_fault("Endpoint_Score", hold="before")
    run = cloud.start(cloud.config(102))
    fault.wait_until_held(timeout=120)
    run.kill()
    fault.remove()
    dry = cloud.start({"workspace": "default", "dry_run": True}, flow="sweep")
    assert dry.end() == 0, dry.text
    assert "would be ended" in dry.text
    (key,) = [key for key, left in cloud.left().items() if left.endpoints]
    sweep = cloud.start({"workspace": "default", "dry_run": False}, flow="sweep")
    assert sweep.end() == 0, sweep.text
    assert cloud.left()[key] == CLEAN
