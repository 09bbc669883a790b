"""Liveness and readiness probes of scoring scripts that hang, pause or never start."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.emulator.script_support import custom, deploy, score

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

ENDPOINT = "probed-scripts"


@pytest.fixture(scope="module")
def endpoint(ml_client: "MLClient") -> Iterator[str]:
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    ml_client.begin_create_or_update(ManagedOnlineEndpoint(name=ENDPOINT, auth_mode="key")).result()
    yield ENDPOINT
    ml_client.online_endpoints.begin_delete(ENDPOINT).result()


def test_a_process_that_hangs_is_replaced(
    ml_client: "MLClient", endpoint: str, tmp_path: Path
) -> None:
    from azure.ai.ml.entities import ProbeSettings

    (tmp_path / "score.py").write_text(
        "import os, signal, time\ndef init(): pass\n"
        "def run(raw):\n    if 'hang' in raw: os.kill(os.getpid(), signal.SIGSTOP); time.sleep(9)\n"
        "    return os.getpid()\n"
    )
    asked = custom("hangs", tmp_path, None, "score.py", ENDPOINT)
    asked.liveness_probe = ProbeSettings(period=1, failure_threshold=1, initial_delay=30)
    deploy(ml_client, asked)
    first = score(ml_client, "hangs", ENDPOINT, x=1).json()
    assert score(ml_client, "hangs", ENDPOINT, hang=1).status_code in (408, 424, 502)
    deadline = time.monotonic() + 20
    while psutil.pid_exists(first) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert score(ml_client, "hangs", ENDPOINT, x=1).json() != first
    log = ml_client.online_deployments.get_logs("hangs", endpoint, lines=20)
    assert "Liveness probe failed" in log
    ml_client.online_deployments.begin_delete("hangs", endpoint).result()


def test_an_instance_that_is_not_ready_gets_no_requests(
    ml_client: "MLClient", endpoint: str, tmp_path: Path
) -> None:
    from azure.ai.ml.entities import OnlineRequestSettings, ProbeSettings

    (tmp_path / "score.py").write_text(
        "import os, signal, subprocess, time\ndef init(): pass\n"
        "def run(raw):\n    if 'pause' in raw:\n"
        "        subprocess.Popen(f'sleep 3; kill -CONT {os.getpid()}', shell=True)\n"
        "        os.kill(os.getpid(), signal.SIGSTOP); time.sleep(2)\n"
        "    return os.getpid()\n"
    )
    asked = custom("pauses", tmp_path, None, "score.py", ENDPOINT)
    asked.readiness_probe = ProbeSettings(
        initial_delay=5, period=1, timeout=1, failure_threshold=1, success_threshold=1
    )
    asked.request_settings = OnlineRequestSettings(request_timeout_ms=1000)
    deploy(ml_client, asked)
    first = score(ml_client, "pauses", ENDPOINT, x=1).json()
    assert score(ml_client, "pauses", ENDPOINT, pause=1).status_code == 408
    statuses = set()
    deadline = time.monotonic() + 15
    while (answer := score(ml_client, "pauses", ENDPOINT, x=1)).status_code != 200:
        statuses.add(answer.status_code)
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert 503 in statuses
    assert answer.json() == first  # the same process: it was not ready, and it was not killed
    log = ml_client.online_deployments.get_logs("pauses", endpoint, lines=20)
    assert "Readiness probe failed" in log
    assert "Readiness probe succeeded" in log
    ml_client.online_deployments.begin_delete("pauses", endpoint).result()


def test_a_script_that_is_never_ready_fails_its_deployment(
    ml_client: "MLClient", endpoint: str, tmp_path: Path
) -> None:
    from azure.ai.ml.entities import ProbeSettings
    from azure.core.exceptions import HttpResponseError

    (tmp_path / "score.py").write_text(
        "import time\ndef init(): time.sleep(60)\ndef run(raw): return raw\n"
    )
    asked = custom("unready", tmp_path, None, "score.py", ENDPOINT)
    asked.readiness_probe = ProbeSettings(initial_delay=1, period=1, failure_threshold=1)
    with pytest.raises(HttpResponseError, match="2 seconds that the readiness probe allows"):
        deploy(ml_client, asked)
    ml_client.online_deployments.begin_delete("unready", endpoint).result()
