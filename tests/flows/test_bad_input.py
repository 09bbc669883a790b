"""Bad input, tried as a user does: one clear sentence, a non-zero exit, nothing left behind."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import yaml

from emulator.hub import hub_app
from emulator.registry import ASSETS
from tests.azure import local_azure
from tests.emulator.running import ROOT
from tests.flows.bad_input_support import User, arguments_of, left_behind

LONG = "x" * 300


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all cases: the data are prepared once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def user(
    prefect_server: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[User]:
    from tasks.clients import forget_clients

    for name, value in local_azure().environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FINETUNE_HOME", str(home))
    yield User(home, capsys)
    forget_clients()


PLAN = [
    ("unknown model", {"model__name": "Phi-3-mini"}, ["no model Phi-3-mini", "Near names"]),
    ("unknown model version", {"model__version": "'999'"}, ["version 999", "model.version"]),
    ("unknown component", {"component__name": "chat_pipeline"}, ["no component chat_pipeline"]),
    ("unknown component version", {"component__version": "'9.9.9'"}, ["version 9.9.9"]),
    ("unknown dataset", {"dataset__name": "nobody/nothing"}, ["nobody/nothing", "dataset.name"]),
    ("bad dataset name", {"dataset__name": "a/b/c"}, ["a/b/c", "owner/name"]),
    ("unknown split", {"dataset__train_split": "train_sfx"}, ["no split train_sfx", "train_sft"]),
    ("unknown subset", {"dataset__subset": "french"}, ["subset french", "dataset.subset"]),
    ("unknown revision", {"dataset__revision": "v9"}, ["no revision v9", "dataset.revision"]),
    ("too few rows", {"dataset__percent": 0.1}, ["at least 10", "dataset.percent"]),
    (
        "several parameters",
        {
            "parameters__num_train_epochs": "many",
            "parameters__learning_rate": -1,
            "parameters__lora_rr": 8,
        },
        ["num_train_epochs", "learning_rate", "lora_rr", "lora_r"],
    ),
    ("out of range", {"parameters__num_train_epochs": 0}, ["num_train_epochs = 0"]),
    ("not a choice", {"parameters__lr_scheduler_type": "zigzag"}, ["zigzag", "cosine"]),
    ("training size not allowed", {"compute__size": "Standard_ND40rs_v2"}, ["not allowed"]),
    ("size not offered", {"compute__size": "Standard_NC9999_v9"}, ["Standard_NC9999_v9"]),
    ("serving size not allowed", {"serving__size": "Standard_DS1_v2"}, ["Standard_DS1_v2"]),
    ("retired", {"model__accept_retired": "false"}, ["was retired", "accept_retired"]),
    ("cluster's name", {"compute__cluster": "9_bad name"}, ["9_bad name"]),
    ("deployment's name", {"serving__deployment": "no_underscore!"}, ["no_underscore!"]),
    ("an absurd model name", {"model__name": LONG}, ["no model"]),
]


@pytest.mark.parametrize(("settings", "words"), [row[1:] for row in PLAN], ids=[r[0] for r in PLAN])
def test_what_cannot_be_done_is_refused_before_anything_is_created(
    user: User, settings: dict[str, Any], words: list[str]
) -> None:
    said = user.runs(**({"compute__cluster": "never-made"} | settings))
    assert said.code == 1
    assert said.error.endswith("[bad input]")
    assert said.error.count("\n") == 0
    for word in words:
        assert word in said.error
    assert "Traceback" not in said.out + said.err
    assert said.report["status"] == "failed"
    assert said.report["job"] is None
    assert "compute" not in said.report["seconds"]
    assert not list((user.home / "claims").glob("*"))


SIGNING_IN = [
    ("wrong secret", {"AZURE_CLIENT_SECRET": "not-the-secret-4711"}, ["client id and secret"]),
    ("unknown tenant", {"AZURE_TENANT_ID": "11111111-2222-3333-4444-555555555555"}, ["tenant"]),
    ("unknown workspace", {"AZUREML_WORKSPACE_NAME": "nowhere"}, ["nowhere"]),
    ("unknown group", {"AZUREML_RESOURCE_GROUP": "no-group"}, ["no-group"]),
]


@pytest.mark.parametrize(
    ("environment", "words"), [row[1:] for row in SIGNING_IN], ids=[r[0] for r in SIGNING_IN]
)
def test_a_way_in_that_is_wrong_is_named_and_no_secret_is_told(
    user: User,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    words: list[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    said = user.runs()
    assert said.code == 1
    for word in words:
        assert word in said.error
    assert "Traceback" not in said.out + said.err
    secrets = [local_azure().environment["AZURE_CLIENT_SECRET"], "not-the-secret-4711"]
    assert not [secret for secret in secrets if secret in said.everything]


def test_a_missing_block_is_named(user: User) -> None:
    said = user.runs("--workspace", "no-such-block")
    assert said.code == 1
    assert "no block 'no-such-block'" in said.error
    assert "Traceback" not in said.out + said.err


def test_a_job_that_fails_is_told_with_its_last_log_lines(user: User) -> None:
    """A model of the user's own whose weights are damaged: the job itself finds out."""
    shipped = ASSETS / "models" / "Phi-3-mini-4k-instruct"
    own = local_azure().state / "registry" / "models" / "Damaged"
    shutil.copytree(shipped / "model", own / "model")
    (own / "model" / "data" / "model" / "model.safetensors").write_bytes(b"no weights")
    described = yaml.safe_load((shipped / "model.yaml").read_text())
    (own / "model.yaml").write_text(yaml.safe_dump(described | {"name": "Damaged"}))
    said = user.runs(model__name="Damaged", compute__cluster="for-damaged", max_attempts=2)
    assert said.code == 1
    assert "Its last log lines:" in said.error
    assert "safetensors" in said.error.lower()
    assert said.error.endswith("[bad input]")
    assert said.report["job"]["name"].endswith("-1")
    assert said.report["model"] is None
    assert not list((user.home / "claims").glob("*.json"))


@pytest.fixture
def other_hub(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A hub with a folder of its own: (folder of the datasets, address)."""
    server = uvicorn.Server(uvicorn.Config(hub_app(tmp_path), port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield tmp_path / "datasets" / "someone", f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


ALONE = [{"role": "user", "content": "alone"}]
DATA: list[tuple[str, dict[str, object], list[str]]] = [
    ("no column", {"text": "hello"}, ["no column `messages`", "text"]),
    ("no messages", {"messages": []}, ["0 usable rows of 20", "20 with"]),
    ("one message", {"messages": ALONE}, ["0 usable rows of 20", "20 with"]),
    ("not a list", {"messages": "hello"}, ["0 usable rows of 20", "20 with"]),
]


@pytest.mark.parametrize(("row", "words"), [r[1:] for r in DATA], ids=[r[0] for r in DATA])
def test_a_dataset_without_conversations_is_refused_with_what_it_has(
    user: User,
    other_hub: tuple[Path, str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    row: dict[str, object],
    words: list[str],
) -> None:
    folder, address = other_hub
    name = f"someone/{request.node.callspec.id.replace(' ', '-')}"
    files = folder / name.split("/")[1]
    files.mkdir(parents=True)
    for split in ("train", "test"):
        (files / f"{split}.jsonl").write_text(f"{json.dumps(row)}\n" * 20)
    monkeypatch.setenv("HF_ENDPOINT", address)
    said = user.runs(
        dataset__name=name,
        dataset__percent=100,
        dataset__train_split="train",
        dataset__test_split="test",
        dataset__sample_split="test",
    )
    assert said.code == 1
    for word in words:
        assert word in said.error
    assert said.error.endswith("[bad input]")
    assert "Traceback" not in said.out + said.err


COMMANDS = [
    (1, {"model__name": "Phi-3-mini"}, "The registry has no model Phi-3-mini."),
    (1, {"parameters__num_train_epochs": 0}, "num_train_epochs = 0 is less than 1."),
    (2, {"dataset__percent": 200}, "dataset.percent:"),
]


@pytest.mark.parametrize(("code", "settings", "words"), COMMANDS)
def test_the_command_s_own_terminal_shows_the_sentence_and_no_traceback(
    user: User, prefect_server: str, code: int, settings: dict[str, Any], words: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows.finetune", *arguments_of(settings)],
        env={**os.environ, "PREFECT_API_URL": prefect_server, "PYTHONPATH": str(ROOT)},
        cwd=user.home,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code
    assert words in done.stderr[done.stderr.rindex("error: ") :]
    assert "Traceback" not in done.stdout + done.stderr


def test_none_of_it_left_anything_in_the_workspace(user: User) -> None:
    assert left_behind() == []
