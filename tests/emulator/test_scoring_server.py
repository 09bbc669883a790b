"""The process behind a deployment: loads a model, answers /score, ends with its parent."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from emulator.registry import Registry
from emulator.scoring_models import BadRequest, read_chat_request

ROOT = Path(__file__).parents[2]
USER = {"role": "user", "content": "Good morning."}
ASSISTANT = {"role": "assistant", "content": "Hello."}


def start(folder: Path, **more: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "emulator.scoring_server", "--model", str(folder)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
    )


def port_of(process: "subprocess.Popen[str]") -> int:
    assert process.stdout is not None
    word, _, port = process.stdout.readline().partition(" ")
    assert word == "LISTENING"
    return int(port)


def request(url: str, body: Any = None) -> tuple[int, Any]:
    """Status and JSON of a GET, or of a POST with a JSON body (bytes go as they are)."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 90
    while request(f"{url}/health")[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def server() -> Iterator["subprocess.Popen[str]"]:
    process = start(Registry().model_folder("Phi-3-mini-4k-instruct"))
    yield process
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def url(server: "subprocess.Popen[str]") -> str:
    address = f"http://127.0.0.1:{port_of(server)}"
    # The model takes seconds to load, and the port is bound before.
    assert request(f"{address}/health") == (503, {"status": "loading"})
    status, answer = request(f"{address}/score", {"input_data": {"input_string": [[USER]]}})
    assert (status, answer["error"]["code"]) == (503, "ModelNotReady")
    wait_until_ready(address)
    return address


def ask(url: str, conversations: Any, **parameters: Any) -> tuple[int, Any]:
    data = {"input_string": conversations, "parameters": parameters}
    return request(f"{url}/score", {"input_data": data, "params": {}})


def test_answers_the_request_of_the_real_service(url: str) -> None:
    status, answer = ask(
        url,
        [[USER, ASSISTANT, USER, ASSISTANT]],
        temperature=0.6,
        top_p=0.9,
        do_sample=True,
        max_new_tokens=200,
    )
    assert status == 200
    assert answer.keys() == {"output"}
    assert isinstance(answer["output"], str)


def test_one_conversation_may_stand_alone(url: str) -> None:
    greedy = {"max_new_tokens": 8, "do_sample": False}
    assert ask(url, [USER], **greedy) == ask(url, [[USER]], **greedy)


def test_several_conversations_give_several_replies(url: str) -> None:
    status, answer = ask(url, [[USER], [USER, ASSISTANT, USER]], max_new_tokens=4)
    assert status == 200
    assert len(answer["output"]) == 2


def test_a_temperature_of_zero_is_greedy(url: str) -> None:
    once = ask(url, [[USER]], temperature=0, do_sample=True, max_new_tokens=8)
    assert once[0] == 200
    assert once == ask(url, [[USER]], do_sample=False, max_new_tokens=8)


def test_params_win_over_parameters(url: str) -> None:
    data = {"input_string": [[USER]], "parameters": {"max_new_tokens": 200, "do_sample": False}}
    _, short = request(f"{url}/score", {"input_data": data, "params": {"max_new_tokens": 1}})
    _, long = request(f"{url}/score", {"input_data": data})
    assert len(short["output"]) <= len(long["output"])


def test_a_conversation_longer_than_the_context_is_refused(url: str) -> None:
    long = {"role": "user", "content": "one two three four five " * 3000}
    status, answer = ask(url, [[long]])
    assert status == 400
    assert "the model reads at most" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"nope", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        ({}, "input_data.input_string"),
        ({"input_data": {"input_string": "hello"}}, "must be a list"),
        ({"input_data": {"input_string": []}}, "not empty"),
        ({"input_data": {"input_string": [["hello"]]}}, "role and content"),
        ({"input_data": {"input_string": [[{"role": "user"}]]}}, "role and content"),
    ],
)
def test_malformed_requests_are_refused_with_a_reason(url: str, body: Any, message: str) -> None:
    status, answer = request(f"{url}/score", body)
    assert status == 400
    assert message in answer["error"]["message"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("beams", 3, "is not supported; use temperature"),
        ("temperature", "hot", "must be of the type int or float"),
        ("temperature", -1, "must be 0 or more"),
        ("top_p", 1.5, "greater than 0 and at most 1"),
        ("max_new_tokens", 0, "must be 1 or more"),
        ("max_new_tokens", True, "must be of the type int"),
        ("do_sample", "yes", "must be of the type bool"),
    ],
)
def test_parameters_are_checked(name: str, value: Any, message: str) -> None:
    body = {"input_data": {"input_string": [[USER]], "parameters": {name: value}}}
    with pytest.raises(BadRequest, match=message):
        read_chat_request(body)


def test_other_paths_are_not_found(url: str) -> None:
    assert request(f"{url}/")[0] == 404
    assert request(f"{url}/elsewhere", {})[0] == 404


def test_a_chat_model_says_what_it_takes(url: str) -> None:
    status, described = request(f"{url}/swagger.json")
    assert (status, described["swagger"]) == (200, "2.0")
    takes = described["definitions"]["ServiceInput"]["properties"]["input_data"]
    assert list(takes["properties"]) == ["input_string", "parameters"]
    assert takes["required"] == ["input_string"]
    status, refused = request(f"{url}/swagger.json?version=9")
    assert (status, refused["message"][:28]) == (404, "Swagger version [9] is not v")


def test_requests_wait_for_each_other(url: str) -> None:
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(ask(url, [[USER]], max_new_tokens=20)[0]))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 8


def test_idle_costs_no_processor_time(url: str, server: "subprocess.Popen[str]") -> None:
    process = psutil.Process(server.pid)
    before = process.cpu_times()
    time.sleep(2.5)
    after = process.cpu_times()
    assert after.user + after.system - before.user - before.system <= 0.05


def test_a_plain_hugging_face_folder_is_served_too(tmp_path: Path) -> None:
    data = Registry().model_folder("Phi-3-mini-4k-instruct") / "data"
    for part in ("model", "tokenizer"):
        for file in (data / part).iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    process = start(tmp_path)
    try:
        address = f"http://127.0.0.1:{port_of(process)}"
        wait_until_ready(address)
        assert ask(address, [[USER]], max_new_tokens=3)[0] == 200
    finally:
        process.kill()
        process.communicate()


def test_another_flavor_is_served_through_mlflow(tmp_path: Path) -> None:
    import mlflow.pyfunc

    class Doubler(mlflow.pyfunc.PythonModel):  # type: ignore[misc,unused-ignore]
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return model_input["x"] * 2

    import pandas
    from mlflow.models import infer_signature

    signature = infer_signature(pandas.DataFrame({"x": [1]}), pandas.Series([2], name="y"))
    mlflow.pyfunc.save_model(
        str(tmp_path / "model"),
        python_model=Doubler(),
        pip_requirements=["mlflow"],
        signature=signature,
    )
    process = start(tmp_path / "model")
    try:
        address = f"http://127.0.0.1:{port_of(process)}"
        wait_until_ready(address)
        body = {"input_data": {"columns": ["x"], "data": [[1], [4]]}, "params": {}}
        assert request(f"{address}/score", body) == (200, [2, 8])
        for same in (
            {"dataframe_split": {"columns": ["x"], "data": [[1], [4]]}},
            {"dataframe_records": [{"x": 1}, {"x": 4}]},
            {"inputs": {"x": [1, 4]}},
        ):
            assert request(f"{address}/score", same) == (200, [2, 8])
        _, described = request(f"{address}/swagger.json?version=3")
        takes = described["components"]["schemas"]["ServiceInput"]["properties"]["input_data"]
        assert takes["properties"]["columns"]["items"] == {"type": "string", "enum": ["x"]}
        gives = described["components"]["schemas"]["ServiceOutput"]
        assert gives["items"]["properties"] == {"y": {"type": "integer"}}
        assert request(f"{address}/score", {"input_data": 7})[0] == 400
        assert request(f"{address}/score", {"dataframe_split": {"data": 7}})[0] == 400
    finally:
        process.kill()
        process.communicate()


def test_a_folder_without_a_model_ends_the_process_with_a_reason(tmp_path: Path) -> None:
    process = start(tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors == (
        f"The model in {tmp_path} cannot be loaded: ValueError: "
        f"{tmp_path} holds neither an MLmodel file nor a config.json\n"
    )


def test_broken_weights_end_the_process_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "phi3"}')
    process = start(tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "cannot be loaded" in errors
    assert "Traceback" not in errors


def test_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    folder = Registry().model_folder("Phi-3-mini-4k-instruct")
    code = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-m', 'emulator.scoring_server',"
        f" '--model', {str(folder)!r}])\n"
        "print(p.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    lines = [parent.stdout.readline() for _ in range(2)]
    child = psutil.Process(int(next(line for line in lines if line[0].isdigit())))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert child.wait(timeout=15) != 0
    parent.stdout.close()
