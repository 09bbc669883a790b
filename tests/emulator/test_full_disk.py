"""A disk that takes no more: who is told "done" is right, the rest goes on when there is room."""

import os
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from emulator.config import Config, load_config
from emulator.identity import MANAGEMENT, STORAGE, Tokens
from tests.emulator.running import StartedEmulator, emulator_command

pytestmark = pytest.mark.skipif(
    not hasattr(psutil.Process, "rlimit"), reason="sets a limit of a running process"
)


class Client:
    def __init__(self, state: Path) -> None:
        config = load_config(state)
        assert config is not None
        self.config: Config = config
        self._session = requests.Session()
        self._session.verify, self._session.trust_env = str(config.ca_bundle), False
        self._session.proxies = {"https": config.proxy_url}

    def resource(self, method: str, name: str, body: Any = None) -> requests.Response:
        token = Tokens(self.config).issue(MANAGEMENT[0], self.config.client_id)
        return self._session.request(
            method,
            f"https://{self.config.arm_host}{self.config.workspace_path}/environments/{name}"
            "/versions/1?api-version=2024-10-01",
            json=body,
            headers={"Authorization": f"Bearer {token}"},
            timeout=20,
        )

    def blob(self, method: str, name: str, content: bytes | None = None) -> requests.Response:
        token = Tokens(self.config).issue(STORAGE[0], self.config.client_id)
        return self._session.request(
            method,
            f"https://{self.config.blob_host}/{self.config.blob_container}/{name}",
            data=content,
            headers={
                "Authorization": f"Bearer {token}",
                "x-ms-version": "2023-11-03",
                "x-ms-blob-type": "BlockBlob",
            },
            timeout=20,
        )


def test_what_a_full_disk_does_not_take_is_refused_and_undone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    large = {"properties": {"image": "a", "tags": {"x": "y" * 50_000}}}
    with StartedEmulator(state):
        process = psutil.Process(int((state / "ready").read_text()))
        client = Client(state)
        unlimited = process.rlimit(psutil.RLIMIT_FSIZE)
        size = max(file.stat().st_size for file in state.glob("azureml.sqlite*"))
        process.rlimit(psutil.RLIMIT_FSIZE, (size + 300_000, unlimited[1]))
        kept: list[str] = []
        refused: list[str] = []
        for number in range(40):
            answer = client.resource("PUT", f"e{number}", large)
            (kept if answer.status_code == 201 else refused).append(f"e{number}")
            if answer.status_code != 201:
                assert answer.status_code == 507
                assert answer.json()["error"]["code"] == "InsufficientStorage"
                assert "Make room" in answer.json()["error"]["message"]
            if len(refused) == 3:
                break
        assert kept
        assert len(refused) == 3
        assert [client.resource("GET", name).status_code for name in refused] == [404] * 3
        answer = client.blob("PUT", "large", os.urandom(4 << 20))
        assert (answer.status_code, answer.headers["x-ms-error-code"]) == (
            507,
            "InsufficientStorage",
        )
        assert client.blob("GET", "large").status_code == 404
        process.rlimit(psutil.RLIMIT_FSIZE, unlimited)
        assert client.resource("PUT", refused[0], large).status_code == 201
        assert client.blob("PUT", "large", b"now").status_code == 201
        process.kill()
    with StartedEmulator(state):
        client = Client(state)
        for name in (*kept, refused[0]):
            assert client.resource("GET", name).status_code == 200
        assert client.blob("GET", "large").content == b"now"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("emulator.json", '{"subscription"'),
        ("emulator.json", "[]"),
        ("emulator.json", "{}"),
        ("azureml.sqlite", "none" * 1000),
    ],
)
def test_a_state_folder_that_is_broken_is_said_to_be(
    tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    ended = emulator_command("start", state=tmp_path)
    assert ended.returncode != 0
    assert ended.stderr.startswith("azureml-emulator: ")
    assert str(tmp_path) in ended.stderr
    assert "--state" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_state_folder_that_cannot_be_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for state in (tmp_path / "file", tmp_path / "file" / "below"):
        ended = emulator_command("start", state=state)
        assert ended.returncode != 0
        assert ended.stderr.startswith(f"azureml-emulator: the state folder {state} cannot be used")
        assert len(ended.stderr.splitlines()) == 1
