"""The command: exit codes, one emulator a folder, reset."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from emulator.control_client import Control
from tests.emulator.running import ROOT, StartedEmulator, emulator_command

WORKSPACE_NAME = "import os; print(os.environ['AZUREML_WORKSPACE_NAME'])"
ASK = """
import requests
for _ in range(2):
    answer = requests.get("https://management.azure.com/metadata/endpoints?api-version=2019-05-01")
    print(answer.status_code, end=" ")
print()
"""
CONNECT = """
import os
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Data
from azure.identity import DefaultAzureCredential
ml = MLClient(DefaultAzureCredential(), *[os.environ["AZUREML_" + n] for n in
    ("SUBSCRIPTION_ID", "RESOURCE_GROUP", "WORKSPACE_NAME")], enable_telemetry=False)
"""

BUSY = """
import mlflow, time
from azure.ai.ml import command
from azure.ai.ml.entities import Environment
mlflow.set_tracking_uri(ml.workspaces.get(ml.workspace_name).mlflow_tracking_uri)
mlflow.set_experiment("gone")
with mlflow.start_run():
    mlflow.log_metric("a", 1)
place = os.path.join(os.environ["AZUREML_EMULATOR_STATE"], "pid")
job = ml.jobs.create_or_update(command(
    command=f"echo $$ > {place}; sleep 500", environment=Environment(image="x"), compute="local"))
while not os.path.exists(place):
    time.sleep(0.05)
"""
LEFT = (
    CONNECT
    + """
import mlflow
mlflow.set_tracking_uri(ml.workspaces.get(ml.workspace_name).mlflow_tracking_uri)
print([e.name for e in mlflow.search_experiments()], [job.name for job in ml.jobs.list()])
"""
)


def test_exec_passes_on_output_and_exit_code(tmp_path: Path) -> None:
    result = emulator_command("exec", "--", sys.executable, "-c", WORKSPACE_NAME, state=tmp_path)
    assert (result.returncode, result.stdout) == (0, "local\n")
    result = emulator_command(
        "exec", "--", sys.executable, "-c", "raise SystemExit(7)", state=tmp_path
    )
    assert result.returncode == 7
    assert emulator_command("status", state=tmp_path).returncode == 1


def test_a_users_mistake_is_one_sentence(tmp_path: Path) -> None:
    for arguments, text in (
        (["exec"], "exec needs a command"),
        (["exec", "--", "no-such-command"], "cannot run no-such-command"),
        (["env"], "no emulator runs"),
        (["reset"], "no emulator runs"),
    ):
        result = emulator_command(*arguments, state=tmp_path)
        assert result.returncode == 1
        assert text in result.stderr
        assert "Traceback" not in result.stderr


def test_a_folder_has_one_emulator_and_exec_joins_it(tmp_path: Path) -> None:
    with StartedEmulator(tmp_path) as running:
        second = running.command("start")
        assert second.returncode == 1
        assert "already runs" in second.stderr
        joined = running.command(
            "exec", "--", sys.executable, "-c", "import os; print(os.environ['HTTPS_PROXY'])"
        )
        assert joined.stdout.strip() == running.environment["HTTPS_PROXY"]
        assert "running" in running.command("status").stdout


def test_config_is_what_the_sdk_reads(tmp_path: Path) -> None:
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    result = emulator_command("config", state=tmp_path / "state")
    (tmp_path / "config.json").write_text(result.stdout)
    client = MLClient.from_config(DefaultAzureCredential(), path=tmp_path)
    assert (client.resource_group_name, client.workspace_name) == ("local", "local")
    assert not (tmp_path / "state" / "lock").exists()  # nothing was started


def test_reset_forgets(tmp_path: Path) -> None:
    """Also what runs: a job, and MLflow's server, which goes on without what it held."""
    (tmp_path / "file.txt").write_text("content")
    with StartedEmulator(tmp_path) as running:
        create = CONNECT + (
            "ml.data.create_or_update(Data(name='gone', version='1', "
            f"path={str(tmp_path / 'file.txt')!r}, type='uri_file'))\n"
        )
        running.command("exec", "--", sys.executable, "-W", "ignore", "-c", create + BUSY)
        assert "1 data" in running.command("status").stdout
        job = int((tmp_path / "pid").read_text())
        assert psutil.pid_exists(job)
        assert running.command("reset").returncode == 0
        assert "0 data" in running.command("status").stdout
        assert not psutil.pid_exists(job)
        left = running.command("exec", "--", sys.executable, "-W", "ignore", "-c", LEFT).stdout
        assert left.splitlines()[-1] == "['Default'] []"


def test_faults_from_a_file_and_by_command(tmp_path: Path) -> None:
    file = tmp_path / "faults.yaml"
    file.write_text("faults: [{operation: Metadata_*, action: {status: 503}}]\n")
    with StartedEmulator(tmp_path / "state", "--faults", str(file)) as running:
        (listed,) = running.command("fault", "list").stdout.splitlines()
        assert json.loads(listed)["action"] == {"status": 503}
        joined = running.command("exec", "--", sys.executable, "-c", ASK)
        assert joined.stdout == "503 200 \n"
        added = running.command("fault", "add", "Metadata_*", "--times", "ever", "--status", "404")
        assert json.loads(added.stdout)["times"] is None
        joined = running.command("exec", "--", sys.executable, "-c", ASK)
        assert joined.stdout == "404 404 \n"
        running.command("fault", "clear")
        events = running.command("events", "--operation", "Metadata_*").stdout.splitlines()
        assert [json.loads(event)["status"] for event in events] == [503, 200, 404, 404]
        wrong = running.command("fault", "add", "*", "--status", "700")
        assert (wrong.returncode, wrong.stdout) == (1, "")
        assert "action.status" in wrong.stderr
        assert "Traceback" not in wrong.stderr


def test_the_other_commands_of_the_control_api(tmp_path: Path) -> None:
    with StartedEmulator(tmp_path) as running:
        assert "(0 s ahead)" in running.command("clock").stdout
        assert "(60 s ahead)" in running.command("clock", "advance", "60").stdout
        running.command("quota", "set", "standardDSv2*", "8")
        assert "standardDSv2Family: 16 of 8 vCPUs" in running.command("quota", "list").stdout
        made = running.command("transition", "jobs", "timed", "--seconds", "2", "--fail", "1")
        assert json.loads(made.stdout)["jobs"]["seconds"] == 2
        nothing = running.command("transition", "jobs", "advance", "--name", "x")
        assert nothing.returncode == 1
        assert "None of the jobs waits" in nothing.stderr


def test_faults_end_with_the_emulator(tmp_path: Path) -> None:
    with StartedEmulator(tmp_path) as running:
        running.command("fault", "add", "*", "--status", "503", "--times", "ever")
        running.command("transition", "jobs", "manual")
        assert running.command("clock", "advance", "60").returncode == 0
    with StartedEmulator(tmp_path) as running:
        assert running.command("fault", "list").stdout == ""
        assert "(0 s ahead)" in running.command("clock").stdout
        assert Control.of(tmp_path).transitions() == {"kinds": {}, "waiting": []}


def test_a_wrong_file_of_faults_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "faults.yaml"
    for text, problem in (
        ("faults: [{operation: x}]", "faults.0.action: Field required"),
        ("transitions: {job: {mode: manual}}", "there is no 'job'"),
        ("faults: [", "cannot read"),
    ):
        file.write_text(text)
        result = emulator_command("start", "--faults", str(file), state=tmp_path / "state")
        assert result.returncode == 1
        assert problem in result.stderr
        assert "Traceback" not in result.stderr


def test_an_emulator_that_exec_started_ends_with_exec(tmp_path: Path) -> None:
    sleeper = subprocess.Popen(
        [sys.executable, "-m", "emulator", "exec", "--", "sleep", "60"],
        cwd=ROOT,
        env={**os.environ, "AZUREML_EMULATOR_STATE": str(tmp_path)},
    )
    _until(lambda: (tmp_path / "ready").exists())
    emulator_pid = int((tmp_path / "ready").read_text())
    sleeper.send_signal(signal.SIGKILL)
    sleeper.wait()
    _until(lambda: not Path(f"/proc/{emulator_pid}").exists())


def _until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
