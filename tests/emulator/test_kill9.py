"""kill -9 of the emulator in the middle of anything: what was acknowledged is there afterwards."""

import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.emulator.kill9_kinds import job, stage
from tests.emulator.kill9_middle import (
    WHOLE,
    Middle,
    fired,
    operation,
    prepare,
    settled,
    status,
)
from tests.emulator.kill9_support import Life, lives, until
from tests.emulator.kill9_writers import Written, check, write_and_kill
from tests.emulator.running import ROOT

STOPPED = "EmulatorStopped"


@dataclass
class Next:
    """The life after the kill."""

    middle: Middle
    life: Life


@pytest.fixture(scope="module")
def next_life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Next]:
    folder = tmp_path_factory.mktemp("kill9")
    middle = prepare(Life(folder / "state").until_ready(), folder)
    life = Life(folder / "state").until_ready()
    yield Next(middle, life)
    life.stop()


def properties(life: Life, path: str) -> dict[str, Any]:
    answer = life.send("GET", path)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["properties"]
    return found


def test_it_starts_at_once_and_nothing_of_the_killed_one_is_left(next_life: Next) -> None:
    assert next_life.life.seconds < 15
    assert [p for p in next_life.middle.processes if lives(p)] == []
    assert len(next_life.middle.processes) > 8
    for port in next_life.middle.ports:
        socket.create_server(("127.0.0.1", port)).close()


def test_what_was_acknowledged_is_there(next_life: Next) -> None:
    for kind in next_life.middle.kinds:
        assert kind.get(next_life.life, "kept").json() == next_life.middle.kept[kind.name]
    blob = next_life.life.blob("GET", "kept.bin")
    assert (blob.content, blob.headers["x-ms-meta-who"]) == (WHOLE, "me")
    assert next_life.life.blob("GET", "gone.bin").status_code == 404
    blocks = b"<BlockList><Latest>MDE=</Latest></BlockList>"
    assert next_life.life.blob("PUT", "blocks.bin", blocks, "comp=blocklist").status_code == 201
    assert next_life.life.blob("GET", "blocks.bin").content == b"first"
    quotas = {each["family"]: each["limit"] for each in next_life.life.control.quotas()}
    assert quotas["standardESv3Family"] == 7


def test_what_had_no_effect_is_not_there_and_what_had_one_is_whole(next_life: Next) -> None:
    for kind in next_life.middle.kinds:
        assert kind.get(next_life.life, "beforeheld").status_code == 404, kind.name
        found = kind.get(next_life.life, "afterheld")
        assert found.status_code == 200, kind.name
        assert sorted(found.json()["properties"]) == sorted(
            next_life.middle.kept[kind.name]["properties"]
        ), kind.name
        state = found.json()["properties"].get("provisioningState", "Succeeded")
        assert state in ("Succeeded", "Failed"), kind.name
        assert kind.put(next_life.life, "afterheld").is_success, kind.name
        assert kind.put(next_life.life, "beforeheld").is_success, kind.name
    life = next_life.life
    assert life.blob("GET", "afterheld.bin").headers["x-ms-meta-who"] == "me"
    assert life.blob("GET", "beforeheld.bin").status_code == 404
    assert life.blob("GET", "half.bin").status_code == 404
    replaced = life.blob("GET", "replaced.bin")
    assert (replaced.content, replaced.headers["x-ms-meta-who"]) == (WHOLE, "me")
    assert list((life.state / "blobs" / ".uploads").iterdir()) == []


def test_running_jobs_have_failed_and_say_why(next_life: Next) -> None:
    life, before = next_life.life, next_life.middle.statuses
    cancelling = before.pop("cancelling")
    assert cancelling == "CancelRequested"
    assert set(before.values()) == {"Running", "Queued", "Preparing"}
    for name in before:
        assert status(life, name) == "Failed", name
        history = f"/history/v1.0{life.config.workspace_path}/experiments/killed/runs/{name}"
        details = life.api("GET", f"{history}/details").json()
        assert details["error"]["error"]["code"] == STOPPED
        assert "Submit the job again" in details["error"]["error"]["message"]
        assert details["endTimeUtc"]
    assert status(life, "ended") == "Completed"
    # Its cancellation had been accepted, and nothing of it runs any more.
    assert status(life, "cancelling") == "Canceled"
    assert life.send("PUT", "/jobs/again", {"properties": job("true")}).is_success
    until(lambda: status(life, "again") == "Completed")


def test_operations_have_ended(next_life: Next) -> None:
    for what, address in next_life.middle.operations.items():
        found = operation(next_life.life, address)
        if what.startswith("delete") or what == "cancel":
            assert found["status"] == "Succeeded", what
        else:
            assert found["status"] == "Failed", what
            assert found["error"]["code"] == "OperationInterrupted"
            assert "Send it again" in found["error"]["message"]


def test_what_was_in_the_middle_of_a_change_can_go_on(next_life: Next) -> None:
    life, kinds = next_life.life, next_life.middle.kinds
    for kind in kinds:
        if f"create {kind.name}" not in next_life.middle.operations:
            continue
        found = kind.get(life, "middle")
        assert found.json()["properties"]["provisioningState"] == "Failed", kind.name
        again = kind.put(life, "middle")
        assert settled(life, again.headers["Azure-AsyncOperation"])["status"] == "Succeeded"
    for path in ("/onlineEndpoints/going", "/computes/going"):
        assert life.send("GET", path).status_code == 404
    resting = properties(life, "/computes/resting")["properties"]
    assert resting["state"] == "Stopped"
    assert resting["lastOperation"]["operationStatus"] == "StartFailed"
    started = life.send("POST", "/computes/resting/start")
    assert settled(life, started.headers["Azure-AsyncOperation"])["status"] == "Succeeded"


def test_a_deployment_answers_again(next_life: Next) -> None:
    life = next_life.life
    keys = life.send("POST", "/onlineEndpoints/stage/listKeys").json()
    answer = life.client.post(
        f"https://stage.{life.config.location}.inference.ml.azure.com/score",
        content="{}",
        headers={
            "Authorization": f"Bearer {keys['primaryKey']}",
            "azureml-model-deployment": "kept",
        },
    )
    assert answer.status_code == 200, answer.text
    assert not {process.pid for process in next_life.middle.processes} & set(answer.json())


def test_what_mlflow_has_acknowledged_is_there(next_life: Next) -> None:
    life = next_life.life
    run = life.mlflow("GET", f"runs/get?run_id={next_life.middle.run}").json()["run"]
    assert {m["key"]: m["value"] for m in run["data"]["metrics"]} == {"loss": 0.5}
    model = life.mlflow("GET", "registered-models/get?name=registered").json()["registered_model"]
    assert model["aliases"] == [{"alias": "champion", "version": "1"}]
    for name in ("running", "pipeline", *next_life.middle.steps):
        info = life.mlflow("GET", f"runs/get?run_id={name}").json()["run"]["info"]
        assert info["status"] == "FAILED", name


def test_a_schedule_goes_on_and_fires_nothing_twice(next_life: Next) -> None:
    life, before = next_life.life, set(next_life.middle.fired)
    life.control.advance(121)  # the clock began at the machine's time again
    until(lambda: set(fired(life)) - before)
    jobs = [life.send("GET", f"/jobs/{name}").json() for name in fired(life)]
    times = [job["properties"]["properties"]["azureml.scheduleTime"] for job in jobs]
    assert sorted(set(times)) == sorted(times)
    assert before <= {job["name"] for job in jobs}


def test_no_node_works(next_life: Next) -> None:
    busy = properties(next_life.life, "/computes/busy")["properties"]
    assert busy["nodeStateCounts"]["runningNodeCount"] == 0


def test_a_kill_before_any_single_write(tmp_path: Path) -> None:
    """Each write of each kind of operation, of a reset and of the start."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.emulator.kill9_points", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{done.stdout}{done.stderr[-3000:]}"
    assert int(done.stdout.split()[0]) > 50


ROUNDS = 60 if os.environ.get("EXHAUSTIVE") else 3


def test_clients_that_write_when_the_kill_comes(tmp_path: Path) -> None:
    """At a random moment of half a second, again and again; what was told stays true."""
    dice = random.Random(int(os.environ.get("SEED", "9")))
    rounds: list[Written] = []
    life = Life(tmp_path / "state").until_ready()
    try:
        stage(life)
        for number in range(ROUNDS):
            rounds.append(write_and_kill(life, dice, number))
            life = Life(tmp_path / "state").until_ready()
            check(life, rounds[-1])
        check(life, rounds[0])
    finally:
        life.kill()
    assert sum(len(written.things) for written in rounds) >= ROUNDS
