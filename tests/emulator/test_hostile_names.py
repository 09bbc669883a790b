"""Names and values that mean no good, or are none: in paths, bodies and queries."""

import socket
import time
from urllib.parse import urlsplit

import pytest
import requests

from emulator.config import Config
from tests.emulator.hostile_support import API_VERSION, ARM, blob_request, config_of, signed_session
from tests.emulator.running import RunningEmulator


@pytest.fixture(scope="module")
def config(emulator: RunningEmulator) -> Config:
    return config_of(emulator)


@pytest.fixture(scope="module")
def session(config: Config) -> requests.Session:
    return signed_session(config)


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/..%2f..%2f..%2fetc",
        "/jobs/%00",
        "/data/a%0d%0aX-Injected:%201/versions/1",
        "/models/..%5c..%5cx/versions/1",
        "/environments/%2e%2e/versions/%2e%2e",
    ],
)
def test_names_lead_nowhere(config: Config, session: requests.Session, path: str) -> None:
    url = f"https://{ARM}{config.workspace_path}{path}?api-version=2024-10-01"
    body = {"properties": {"jobType": "Command", "command": "true", "dataUri": "x", "image": "x"}}
    for method in ("GET", "PUT", "DELETE"):
        request = requests.Request(method, url, json=body).prepare()
        request.url = url  # as it is written: requests would tidy it up
        request.headers.update({"Authorization": str(session.headers["Authorization"])})
        answer = session.send(request, timeout=10)
        assert answer.status_code < 500 or answer.status_code == 501, (method, answer.text)
        assert "X-Injected" not in answer.headers
    assert not (config.state.parent / "etc").exists()


@pytest.mark.parametrize(
    "value",
    ['"\\ud800"', "NaN", "-Infinity", "1e999", "1" * 5000, "[" * 101 + "]" * 101, "[" * 100_000],
    ids=["half a character", "NaN", "-Infinity", "1e999", "digits", "deep", "deeper"],
)
def test_what_no_answer_could_repeat_is_not_taken(
    config: Config, session: requests.Session, value: str
) -> None:
    endpoints = f"https://{ARM}{config.workspace_path}/onlineEndpoints"
    body = f'{{"properties": {{"authMode": "Key", "properties": {{"a": {value}}}}}}}'
    answer = session.put(f"{endpoints}/odd", params=API_VERSION, data=body, timeout=10)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "UserError")
    assert session.get(endpoints, params=API_VERSION, timeout=10).status_code == 200


def test_a_nul_is_kept_as_it_is(config: Config, session: requests.Session) -> None:
    url = f"https://{ARM}{config.workspace_path}/environments/nul/versions/1"
    body = '{"properties": {"image": "a", "tags": {"a": "\\u0000"}}}'
    assert session.put(url, params=API_VERSION, data=body, timeout=10).status_code == 201
    found = session.get(url, params=API_VERSION, timeout=10).json()
    assert found["properties"]["tags"] == {"a": "\0"}


def test_blob_names_that_are_no_file_names(config: Config) -> None:
    for name in ("x" * 300, "d/" + "%C3%BC" * 200 + "/e", "x" * 1100):
        for method in ("PUT", "GET", "HEAD", "DELETE"):
            answer = blob_request(config, method, name)
            assert answer.status_code == 400, (method, name, answer.text)
    deep = "d/" * 300 + "x"
    assert blob_request(config, "PUT", deep).status_code == 201
    assert blob_request(config, "GET", f"?restype=container&comp=list&prefix={deep[:9]}").ok


@pytest.mark.parametrize("value", ["%0d%0aX-Injected:%201", "%00", "%E5%90%8D"])
def test_a_header_by_query_stays_one_header(config: Config, value: str) -> None:
    assert blob_request(config, "PUT", "plain").status_code == 201
    answer = blob_request(config, "GET", f"plain?rscd={value}")
    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (
        400,
        "InvalidQueryParameterValue",
    )
    assert "X-Injected" not in answer.headers


def test_the_hub_is_asked_odd_things(config: Config) -> None:
    for path in ("%ff/x/resolve/main/a", "api/datasets/%E5%90%8D/x", "%0d%0aX-Injected:1", "%00"):
        answer = requests.get(f"{config.hub_url}/{path}", timeout=10)
        assert answer.status_code in (404, 501), path
        assert "X-Injected" not in answer.headers
    url = f"{config.hub_url}/api/datasets/local/smalltalk-chat/paths-info/main"
    for body in ("{", "[]", '{"paths": 1}', "[" * 100_000):
        headers = {"Content-Type": "application/json"}
        answer = requests.post(url, body, headers=headers, timeout=10)
        assert answer.status_code in (400, 404), body[:20]


def test_the_log_has_one_line_a_request(config: Config, session: requests.Session) -> None:
    forged = "x%0a2026-01-01%20ERROR%20forged"
    url = f"https://{ARM}{config.workspace_path}/jobs/{forged}"
    assert session.get(url, params=API_VERSION, timeout=10).status_code == 404
    proxy = urlsplit(config.proxy_url)
    with socket.create_connection((proxy.hostname or "", proxy.port or 0), timeout=5) as plain:
        plain.sendall(b"CONNECT x\n2026-01-01\tERROR\tforged:443 HTTP/1.1\r\n\r\n")
        assert plain.recv(4096).startswith(b"HTTP/1.1 502")
    log, end = config.state / "emulator.log", time.monotonic() + 10
    while log.read_text().count("forged") < 2 and time.monotonic() < end:  # it is written later
        time.sleep(0.05)
    lines = log.read_text().splitlines()
    assert [line for line in lines if "forged" in line and line.startswith("2026-01-01")] == []
    assert len([line for line in lines if "forged" in line]) == 2
