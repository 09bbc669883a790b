"""Deployments with a scoring script of their own: `init()`, `run()`, and what can go wrong."""

import json
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from tests.emulator.running import RunningEmulator
from tests.emulator.script_support import ENDPOINT, custom, deploy, score

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

SCRIPT = """
    import json, logging, os, sys, time
    from helper import double

    def init():
        global weights, model_dir
        time.sleep(float(os.environ.get("INIT_SECONDS", "0")))
        if os.environ.get("BROKEN"):
            raise ValueError("the weights are broken")
        model_dir = os.environ["AZUREML_MODEL_DIR"]
        with open(os.path.join(model_dir, "weights", "weights.json")) as file:
            weights = json.load(file)
        logging.warning("ready with %s", weights)

    def run(raw):
        asked = json.loads(raw)
        if "sleep" in asked:
            time.sleep(asked["sleep"])
        if "fail" in asked:
            raise RuntimeError("the script cannot do this")
        if "die" in asked:
            os._exit(7)
        if "text" in asked:
            return "a text"
        return {
            "result": double(asked["x"]) * weights["factor"],
            "pid": os.getpid(),
            "name": os.environ.get("NAME"),
            "place": os.path.basename(model_dir),
        }
"""


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scoring") / "src"
    (folder / "onlinescoring").mkdir(parents=True)
    (folder / "onlinescoring" / "score.py").write_text(textwrap.dedent(SCRIPT))
    (folder / "onlinescoring" / "helper.py").write_text("def double(x):\n    return 2 * x\n")
    (folder / "no_run.py").write_text("def init():\n    pass\n")
    return folder


@pytest.fixture(scope="module")
def model(ml_client: "MLClient", tmp_path_factory: pytest.TempPathFactory) -> str:
    from azure.ai.ml.entities import Model

    folder = tmp_path_factory.mktemp("model") / "weights"
    folder.mkdir()
    (folder / "weights.json").write_text('{"factor": 10}')
    made = Model(name="weights", version="3", path=str(folder), type="custom_model")
    return str(ml_client.models.create_or_update(made).id)


@pytest.fixture(scope="module")
def endpoint(ml_client: "MLClient", code: Path, model: str) -> Iterator[str]:
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    ml_client.begin_create_or_update(ManagedOnlineEndpoint(name=ENDPOINT, auth_mode="key")).result()
    deploy(ml_client, custom("blue", code, model, NAME="blue"))
    yield ENDPOINT
    ml_client.online_endpoints.begin_delete(ENDPOINT).result()


def test_the_script_answers_with_its_model(
    ml_client: "MLClient", endpoint: str, tmp_path: Path
) -> None:
    request = tmp_path / "request.json"
    request.write_text('{"x": 3}')
    answer = json.loads(
        ml_client.online_endpoints.invoke(endpoint, request_file=request, deployment_name="blue")
    )
    assert answer["result"] == 60
    assert answer["name"] == "blue"
    assert answer["place"] == "3"  # .../azureml-models/weights/3, as in the cloud
    shown = ml_client.online_deployments.get("blue", endpoint)
    assert shown.code_configuration.scoring_script == "onlinescoring/score.py"
    assert shown.provisioning_state == "Succeeded"


def test_a_text_is_answered_as_json(ml_client: "MLClient", endpoint: str) -> None:
    assert score(ml_client, "blue", text=1).json() == "a text"


def test_an_exception_is_the_scripts_own_failure(ml_client: "MLClient", endpoint: str) -> None:
    answer = score(ml_client, "blue", fail=1)
    assert answer.status_code == 424
    assert answer.headers["ms-azureml-model-error-statuscode"] == "500"
    log = ml_client.online_deployments.get_logs("blue", endpoint, lines=100)
    assert "RuntimeError: the script cannot do this" in log
    assert "ready with {'factor': 10}" in log
    stored = ml_client.online_deployments.get_logs(
        "blue", endpoint, lines=100, container_type="storage-initializer"
    )
    assert "Model weights:3 is in place" in stored


def test_a_request_may_take_its_time_out_and_no_longer(
    ml_client: "MLClient", endpoint: str
) -> None:
    assert score(ml_client, "blue", x=1, sleep=0.2).status_code == 200
    began = time.monotonic()
    assert score(ml_client, "blue", x=1, sleep=4).status_code == 408
    assert time.monotonic() - began < 3.8


def test_a_process_that_died_is_started_again(
    emulator: RunningEmulator, ml_client: "MLClient", endpoint: str, code: Path, model: str
) -> None:
    deploy(ml_client, custom("dies", code, model))
    first = score(ml_client, "dies", x=1).json()["pid"]
    assert score(ml_client, "dies", die=1).status_code in (424, 502)
    assert score(ml_client, "dies", x=1).json()["pid"] != first
    ml_client.online_deployments.begin_delete("dies", endpoint).result()
    assert not psutil.pid_exists(first)
    assert not list((emulator.state / "deployments" / ENDPOINT).glob("dies*"))


@pytest.mark.parametrize(
    ("script", "variables", "said"),
    [
        ("onlinescoring/score.py", {"BROKEN": "1"}, "ValueError: the weights are broken"),
        ("no_run.py", {}, "defines no function run()"),
    ],
)
def test_a_script_that_does_not_start(
    ml_client: "MLClient",
    endpoint: str,
    code: Path,
    model: str,
    script: str,
    variables: dict[str, str],
    said: str,
) -> None:
    from azure.core.exceptions import HttpResponseError

    with pytest.raises(HttpResponseError, match="User container has crashed or terminated"):
        deploy(ml_client, custom("broken", code, model, script, **variables))
    shown = ml_client.online_deployments.get("broken", endpoint)
    assert shown.provisioning_state == "Failed"
    assert said in ml_client.online_deployments.get_logs("broken", endpoint, lines=100)
    # The other one goes on, and the next try mends it.
    assert score(ml_client, "blue", x=1).json()["result"] == 20
    deploy(ml_client, custom("broken", code, model))
    assert score(ml_client, "broken", x=1).json()["result"] == 20
    ml_client.online_deployments.begin_delete("broken", endpoint).result()


def test_a_script_of_code_that_is_there_may_be_named_with_its_folder(
    ml_client: "MLClient", endpoint: str, model: str
) -> None:
    known = ml_client.online_deployments.get("blue", endpoint).code_configuration
    deploy(ml_client, custom("named", Path(known.code), model, "src/onlinescoring/score.py"))
    assert score(ml_client, "named", x=1).json()["result"] == 20
    ml_client.online_deployments.begin_delete("named", endpoint).result()


def test_a_script_outside_of_its_code_is_refused(
    ml_client: "MLClient", endpoint: str, code: Path, model: str
) -> None:
    from azure.core.exceptions import HttpResponseError

    (code.parent / "outside.py").write_text("def init(): pass\ndef run(raw): return 1\n")
    with pytest.raises(HttpResponseError, match="outside of its code"):
        deploy(ml_client, custom("outside", code, model, "../outside.py"))


def test_a_deployment_needs_no_model(ml_client: "MLClient", endpoint: str, tmp_path: Path) -> None:
    script = tmp_path / "score.py"
    script.write_text("def init(): pass\ndef run(raw): return raw.upper()\n")
    deploy(ml_client, custom("nomodel", tmp_path, None, "score.py"))
    assert score(ml_client, "nomodel", x="abc").json() == '{"X":"ABC"}'
    ml_client.online_deployments.begin_delete("nomodel", endpoint).result()


def test_modules_decorators_and_get_requests(
    ml_client: "MLClient", endpoint: str, tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "at_the_root.py").write_text("def shout(text): return text.upper()\n")
    (tmp_path / "sub" / "score.py").write_text(
        "import functools\nfrom at_the_root import shout\n"
        "def timed(f):\n    @functools.wraps(f)\n    def g(*a, **k): return f(*a, **k)\n"
        "    return g\n"
        "def init(): pass\n@timed\ndef run(raw): return shout(raw)\n"
    )
    deploy(ml_client, custom("modules", tmp_path, None, "sub/score.py"))
    answer = score(ml_client, "modules", x="abc")
    assert answer.json() == '{"X":"ABC"}'
    assert answer.headers["x-ms-run-function-failed"] == "False"
    key = ml_client.online_endpoints.get_keys(ENDPOINT).primary_key
    url = f"https://{ENDPOINT}.eastus.inference.ml.azure.com"
    headers = {"Authorization": f"Bearer {key}", "azureml-model-deployment": "modules"}
    asked = httpx.get(f"{url}/score?a=1&b=x&b=[2]", headers=headers)
    assert asked.json() == '{"A": 1, "B": ["X", [2]]}'
    binary = httpx.post(f"{url}/score", content=b"\xff\xd8", headers=headers)
    assert (binary.status_code, binary.headers["ms-azureml-model-error-statuscode"]) == (424, "400")
    assert "cannot be decoded as UTF-8" in binary.json()["message"]
    assert httpx.get(f"{url}/nothing", headers=headers).status_code == 404
    swagger = f"{url}/swagger.json"
    assert httpx.get(swagger, headers=headers).json()["swagger"] == "2.0"
    third = httpx.get(f"{swagger}?version=3", headers=headers).json()
    assert third["openapi"].startswith("3.0")
    assert "/score" in third["paths"]
    (shown,) = third["components"]["securitySchemes"]
    assert shown == "Bearer"
    unknown = httpx.get(f"{swagger}?version=9", headers=headers)
    assert unknown.status_code == 404
    assert "[9] is not valid" in unknown.json()["message"]
    assert httpx.get(swagger).status_code == 401
    ml_client.online_deployments.begin_delete("modules", endpoint).result()


RAW = """
from azureml.contrib.services.aml_request import AMLRequest, rawhttp
from azureml_inference_server_http.api.aml_response import AMLResponse

def init(): pass

@rawhttp
def run(request: AMLRequest, request_headers):
    if request.method == "GET":
        return {"asked": request.args.getlist("a"), "header": request_headers["X-Mine"]}
    files = {f.filename: f.stream.read() for f in request.files.getlist("file")}
    if not files:
        return AMLResponse("No file", status_code=422)
    headers = {"Content-Type": "image/jpeg", "X-Names": "+".join(files)}
    return AMLResponse(b"".join(files.values())[::-1], 200, headers)
"""


def test_raw_requests_with_files_in_and_out(
    ml_client: "MLClient", endpoint: str, tmp_path: Path
) -> None:
    (tmp_path / "score.py").write_text(RAW)
    deploy(ml_client, custom("raw", tmp_path, None, "score.py"))
    key = ml_client.online_endpoints.get_keys(ENDPOINT).primary_key
    url = f"https://{ENDPOINT}.eastus.inference.ml.azure.com/score"
    headers = {"Authorization": f"Bearer {key}", "azureml-model-deployment": "raw"}
    image = bytes(range(256))
    parts = [("file", ("a.jpg", image)), ("file", ("b.jpg", b"\xff"))]
    answer = httpx.post(url, files=parts, headers=headers)
    assert answer.content == (image + b"\xff")[::-1]
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-names"] == "a.jpg+b.jpg"
    none = httpx.post(url, content=image, headers=headers)
    assert (none.status_code, none.text) == (424, "No file")
    assert none.headers["ms-azureml-model-error-statuscode"] == "422"
    asked = httpx.get(f"{url}?a=1&a=2", headers={**headers, "x-mine": "yes"})
    assert asked.json() == {"asked": ["1", "2"], "header": "yes"}
    ml_client.online_deployments.begin_delete("raw", endpoint).result()


@pytest.mark.parametrize("mode", ["aad_token", "aml_token"])
def test_an_endpoint_with_tokens(
    emulator: RunningEmulator, ml_client: "MLClient", mode: str
) -> None:
    from azure.ai.ml.entities import ManagedOnlineEndpoint
    from azure.ai.ml.exceptions import ValidationException
    from azure.identity import DefaultAzureCredential

    name = f"tokens-{mode[:3]}"
    ml_client.begin_create_or_update(ManagedOnlineEndpoint(name=name, auth_mode=mode)).result()
    got = ml_client.online_endpoints.get_keys(name)
    token = getattr(got, "access_token", None) or got.token
    wrong = DefaultAzureCredential().get_token("https://management.azure.com/.default").token
    url = f"https://{name}.eastus.inference.ml.azure.com/score"
    for bearer, status in ((token, 404), (wrong, 401), ("nothing", 401)):
        answer = httpx.post(url, json={}, headers={"Authorization": f"Bearer {bearer}"})
        assert answer.status_code == status, answer.text  # 404: it has no deployment yet
    with pytest.raises(ValidationException, match="does not use keys"):
        ml_client.online_endpoints.begin_regenerate_keys(name, key_type="primary").result()
    ml_client.online_endpoints.begin_delete(name).result()


def test_an_idle_deployment_costs_no_cpu(ml_client: "MLClient", endpoint: str) -> None:
    process = psutil.Process(score(ml_client, "blue", x=1).json()["pid"])
    before = sum(process.cpu_times()[:2])
    time.sleep(4)
    assert sum(process.cpu_times()[:2]) - before < 0.02
