"""Command jobs: processes, logs, failures, cancellation, time limits, restarts."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from emulator.blob_store import BlobError
from emulator.compute.process import kill_stray, members, python_folder, started_at
from emulator.compute.runner import INTERRUPTED
from emulator.http import AzureError
from tests.emulator.compute_support import command_job, workplace


def alive(pid: int) -> bool:
    try:
        # A container's first process may never collect the dead.
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def child_pid(file: Path) -> int:
    async with asyncio.timeout(10):
        while not file.exists() or not file.read_text().strip():
            await asyncio.sleep(0.02)
    return int(file.read_text())


def test_a_command_gets_inputs_outputs_and_surroundings(tmp_path: Path) -> None:
    async def scenario() -> None:
        source = place.data("in/a file.txt", "content")
        place.submit(
            "job-1",
            command_job(
                "cat '${{inputs.file}}' > ${{outputs.report}}; cp '${{inputs.file}}' "
                "${{outputs.folder}}/; echo kept > outputs/x.txt; "
                "echo $AZUREML_RUN_ID $AZUREML_ROOT_RUN_ID $MLFLOW_RUN_ID $MLFLOW_TRACKING_URI "
                "$AZUREML_ARM_WORKSPACE_NAME $MINE ${{inputs.n}} [$PYTHONPATH]; "
                "python -c 'import sys; print(sys.prefix)'; echo err >&2",
                inputs={
                    "file": {"jobInputType": "uri_file", "uri": source},
                    "n": {"jobInputType": "literal", "value": "7"},
                },
                outputs={
                    "report": {"jobOutputType": "uri_file"},
                    "folder": {"jobOutputType": "uri_folder"},
                },
                environmentVariables={"MINE": "own"},
            ),
        )
        run = await place.until("job-1")
        assert run["status"] == "Completed", run["error"]
        assert place.read("azureml/job-1/report") == "content"
        assert place.read("azureml/job-1/folder/a file.txt") == "content"
        said, prefix, error = place.log("job-1").splitlines()
        assert said == "job-1 job-1 job-1 http://127.0.0.1:1 local own 7 []"
        assert prefix == sys.prefix
        assert error == "err"
        assert place.log("job-1", "outputs/x.txt") == "kept\n"
        assert "The Docker image any is not used." in place.log("job-1", "system_logs/emulator.txt")
        assert run["startTimeUtc"] < run["endTimeUtc"]
        assert run["logs"][0] == "ExperimentRun/dcid.job-1/user_logs/std_log.txt"

    os.environ["PYTHONPATH"] = "/somewhere"
    try:
        with workplace(tmp_path) as place:
            asyncio.run(scenario())
    finally:
        del os.environ["PYTHONPATH"]


def test_the_log_can_be_read_while_the_job_runs(tmp_path: Path) -> None:
    async def scenario() -> None:
        command = f"python -c 'print(\"first\")'; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done"
        place.submit("talker", command_job(command))
        await place.until("talker", "Running")
        async with asyncio.timeout(10):
            while place.log("talker") != "first\n":
                await asyncio.sleep(0.02)
        assert place.run("talker")["status"] == "Running"
        (tmp_path / "go").touch()
        await place.until("talker")

    with workplace(tmp_path) as place:
        asyncio.run(scenario())


def test_a_failure_says_what_the_process_said_last(tmp_path: Path) -> None:
    async def scenario() -> None:
        place.submit("bad", command_job("""python -c 'print("x"); raise ValueError("no rows")'"""))
        error = (await place.until("bad"))["error"]
        assert error["code"] == "UserError"
        assert error["message"].startswith(
            "Execution failed. User process 'python' exited with status code 1. Please check log "
            "file 'user_logs/std_log.txt' for error details. Error: Traceback"
        )
        assert error["message"].endswith("ValueError: no rows")
        assert place.tracking.runs["bad"]["status"] == "FAILED"

    with workplace(tmp_path) as place:
        asyncio.run(scenario())


def test_an_input_that_is_not_there_fails_the_job_by_name(tmp_path: Path) -> None:
    async def scenario() -> None:
        uri = "azureml://datastores/workspaceblobstore/paths/nothing.txt"
        inputs = {"file": {"jobInputType": "uri_file", "uri": uri}}
        place.submit("lost", command_job("cat ${{inputs.file}}", inputs=inputs))
        run = await place.until("lost")
        assert run["status"] == "Failed"
        assert f"Input file cannot be read: {uri} does not exist" in run["error"]["message"]

    with workplace(tmp_path) as place:
        asyncio.run(scenario())


def test_a_downloaded_input_is_a_copy(tmp_path: Path) -> None:
    async def scenario() -> None:
        uri = place.data("in/a.txt", "original")
        inputs = {"file": {"jobInputType": "uri_file", "uri": uri, "mode": "Download"}}
        place.submit("copy", command_job("echo changed > ${{inputs.file}}", inputs=inputs))
        assert (await place.until("copy"))["status"] == "Completed"
        assert place.read("in/a.txt") == "original"

    with workplace(tmp_path) as place:
        asyncio.run(scenario())


def test_cancel_ends_the_whole_process_group(tmp_path: Path) -> None:
    async def scenario() -> None:
        command = f"sleep 60 & echo $! > {tmp_path}/pid; wait"
        path = place.submit("long", command_job(command))
        pid = await child_pid(tmp_path / "pid")
        assert alive(pid)
        place.jobs.request_cancel(path)
        assert place.run("long")["status"] == "CancelRequested"
        await place.jobs.wait(path)
        assert not alive(pid)
        run = place.run("long")
        assert (run["status"], run["error"]) == ("Canceled", None)
        assert place.tracking.runs["long"]["status"] == "KILLED"
        with pytest.raises(AzureError, match="is in terminal status, it can't be canceled") as no:
            place.jobs.request_cancel(path)
        assert no.value.status == 400

    with workplace(tmp_path) as place:
        asyncio.run(scenario())


def test_a_process_that_ignores_the_request_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emulator.compute.process.end_group.__defaults__", (0.3,))

    async def scenario() -> None:
        command = f"trap '' TERM; echo $$ > {tmp_path}/pid; while true; do sleep 0.05; done"
        path = place.submit("stubborn", command_job(command))
        pid = await child_pid(tmp_path / "pid")
        # Asking twice does not disturb the first.
        first = asyncio.create_task(place.jobs.cancel(path))
        await asyncio.sleep(0.1)
        await place.jobs.cancel(path)
        await first
        assert not alive(pid)
        assert place.run("stubborn")["status"] == "Canceled"

    with workplace(tmp_path) as place:
        asyncio.run(scenario())


def test_a_job_that_waits_for_a_slot_can_be_cancelled(tmp_path: Path) -> None:
    async def scenario() -> None:
        first = place.submit("first", command_job("sleep 60"))
        await place.until("first", "Running")
        second = place.submit("second", command_job("sleep 60"))
        await place.until("second", "Queued")
        await place.jobs.cancel(second)
        assert place.run("second")["status"] == "Canceled"
        await place.jobs.cancel(first)

    with workplace(tmp_path, cores=1) as place:
        asyncio.run(scenario())


def test_a_job_ends_at_its_time_limit(tmp_path: Path) -> None:
    async def scenario() -> None:
        limits = {"jobLimitsType": "Command", "timeout": "PT1S"}
        place.submit("slow", command_job("sleep 60", limits=limits))
        run = await place.until("slow")
        assert run["status"] == "Canceled"
        assert "longer than its limit of 1 seconds" in run["error"]["message"]

    with workplace(tmp_path) as place:
        asyncio.run(scenario())


def test_nothing_outlives_a_job_that_ended(tmp_path: Path) -> None:
    async def scenario() -> None:
        place.submit("leaver", command_job(f"sleep 60 & echo $! > {tmp_path}/pid"))
        assert (await place.until("leaver"))["status"] == "Completed"
        pid = int((tmp_path / "pid").read_text())
        await asyncio.sleep(0.1)
        assert not alive(pid)

    with workplace(tmp_path) as place:
        asyncio.run(scenario())


def test_stopping_the_emulator_fails_its_jobs_and_leaves_no_process(tmp_path: Path) -> None:
    async def scenario() -> None:
        command = f"sleep 60 & echo $! > {tmp_path}/pid; wait"
        place.submit("cut", command_job(command))
        pid = await child_pid(tmp_path / "pid")
        await place.jobs.stop()
        assert not alive(pid)
        assert place.run("cut")["error"] == INTERRUPTED

    with workplace(tmp_path) as place:
        asyncio.run(scenario())


def test_a_process_id_that_was_used_again_is_left_alone() -> None:
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        started = started_at(stranger.pid)
        assert started is not None
        assert not kill_stray(stranger.pid, started - 100, "job")
        assert members(stranger.pid)
        assert kill_stray(stranger.pid, started, "job")
        assert stranger.wait(timeout=5) == -signal.SIGKILL
    finally:
        stranger.kill()


def test_python_is_the_emulators_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (python_folder(tmp_path) / "python").exists()
    lonely = tmp_path / "lonely" / "python3.99"
    lonely.parent.mkdir()
    lonely.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(lonely))
    shim = python_folder(tmp_path) / "python"
    assert shim.parent == tmp_path / "bin"
    assert str(lonely) in shim.read_text()


def test_a_named_output_becomes_an_asset(tmp_path: Path) -> None:
    async def scenario() -> None:
        outputs = {
            "made": {"jobOutputType": "uri_folder", "assetName": "numbers"},
            "model": {"jobOutputType": "mlflow_model", "assetName": "m", "assetVersion": "7"},
        }
        place.submit("maker", command_job("echo 1 > ${{outputs.made}}/n.txt", outputs=outputs))
        assert (await place.until("maker"))["status"] == "Completed"
        data = place.store.get(f"{place.config.workspace_path}/data/numbers/versions/1")
        assert data is not None
        assert data["properties"]["dataUri"].endswith("/paths/azureml/maker/made/")
        model = place.store.get(f"{place.config.workspace_path}/models/m/versions/7")
        assert model is not None
        assert model["properties"]["modelType"] == "mlflow_model"

    with workplace(tmp_path) as place:
        asyncio.run(scenario())


def test_an_output_goes_where_the_user_says(tmp_path: Path) -> None:
    async def scenario() -> None:
        uri = "azureml://datastores/workspaceblobstore/paths/mine/${{name}}/"
        outputs = {"out": {"jobOutputType": "uri_folder", "uri": uri}}
        place.submit("own-path", command_job("echo 1 > ${{outputs.out}}/n.txt", outputs=outputs))
        run = await place.until("own-path")
        assert run["status"] == "Completed"
        assert place.read("mine/own-path/n.txt") == "1\n"
        assert run["outputs"]["out"]["uri"].endswith("/paths/mine/own-path/")

    with workplace(tmp_path) as place:
        asyncio.run(scenario())


@pytest.mark.parametrize(
    ("command", "variables"),
    [
        ("echo a\0b", {}),
        ("true", {"A": "a\0b"}),
        ("true", {"A=B": "c"}),
        ("true " + "x" * 300_000, {}),
        ("x" * 300_000, {}),
    ],
    ids=["NUL", "NUL in a variable", "odd name", "long", "one long word"],
)
def test_a_command_that_no_process_can_have_is_refused(
    tmp_path: Path, command: str, variables: dict[str, str]
) -> None:
    async def scenario() -> None:
        place.submit("odd", command_job(command, environmentVariables=variables))
        run = await place.until("odd")
        assert run["status"] == "Failed"
        assert run["error"]["code"] == "UserError"
        assert "cannot be started" in run["error"]["message"]

    with workplace(tmp_path) as place:
        asyncio.run(scenario())


def test_links_and_pipes_in_outputs_lead_nowhere(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("mine")

    async def scenario() -> None:
        place.submit(
            "linked",
            command_job(
                f"cd ${{{{outputs.y}}}}; ln -s {elsewhere} out; mkfifo pipe; ln -s . ring; "
                "touch $'\\xff' here; cd -; mkfifo outputs/pipe; ln -s {elsewhere} outputs/root",
                outputs={"y": {"jobOutputType": "uri_folder"}},
            ),
        )
        run = await place.until("linked")
        assert run["status"] == "Completed", run["error"]
        blobs, container = place.blobs, place.config.blob_container
        listed = list(blobs.names(container, "azureml/linked/"))
        assert [name.rpartition("/")[2] for name in listed] == ["here"]
        prefix = listed[0].removesuffix("here")
        for name in ("out/kept", "out/new", "pipe"):
            assert blobs.get(container, prefix + name) is None
        assert not blobs.delete(container, f"{prefix}out/kept")
        for name in ("out/kept", "out/new/deep"):
            with pytest.raises(BlobError, match="cannot be kept"):
                blobs.write_bytes(container, prefix + name, b"theirs")
        assert [file.name for file in elsewhere.iterdir()] == ["kept"]
        assert (elsewhere / "kept").read_text() == "mine"

    with workplace(tmp_path / "state") as place:
        asyncio.run(scenario())
