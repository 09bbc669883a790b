"""What `make up` gives its children, and what it says when it cannot start."""

import os
import shlex
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments import up
from deployments.stack import UpError
from deployments.surroundings import (
    base_environment,
    free_port,
    parse_environment,
    server_environment,
)


def test_children_get_this_projects_prefect_and_not_the_users(tmp_path: Path) -> None:
    theirs = {
        "PREFECT_API_URL": "https://api.prefect.cloud/somebody",
        "PREFECT_API_KEY": "secret",
        "PREFECT_PROFILE": "production",
        "HTTP_PROXY": "http://proxy:3128",
        "PATH": "/usr/bin",
        "HOME": str(tmp_path),
    }
    ours = base_environment(theirs, "http://127.0.0.1:4200/api")
    assert ours["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert not {"PREFECT_API_KEY", "PREFECT_PROFILE", "HTTP_PROXY"} & set(ours)
    assert Path(ours["PREFECT_HOME"]).parent.name == ".local"
    assert ours["HOME"] == str(tmp_path)
    assert ours["PATH"].endswith(f"{os.pathsep}/usr/bin")


def test_the_data_base_that_the_user_names_is_the_servers_alone() -> None:
    named = {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql+asyncpg://me:secret@host/prefect",
        "PREFECT_API_DATABASE_CONNECTION_TIMEOUT": "60",
    }
    theirs = {**named, "PREFECT_API_KEY": "secret", "PREFECT_SERVER_DATABASE_ECHO": ""}
    everybodys = base_environment(theirs, "http://127.0.0.1:4200/api")
    assert server_environment(theirs, "http://127.0.0.1:4200/api") == everybodys | named
    assert not {*named} & {*everybodys}


def test_a_chosen_state_folder_is_kept(tmp_path: Path) -> None:
    environment = base_environment({"AZUREML_EMULATOR_STATE": str(tmp_path)}, "http://x/api")
    assert environment["AZUREML_EMULATOR_STATE"] == str(tmp_path)


names = st.from_regex(r"[A-Z_][A-Z0-9_]*", fullmatch=True)
values = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(st.dictionaries(names, values))
def test_printed_variables_are_read_back(variables: dict[str, str]) -> None:
    printed = "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
    assert parse_environment(printed) == variables


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) not in (0, port)


def test_a_second_one_for_the_same_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(tmp_path, monkeypatch)
    with up.only_one(), pytest.raises(UpError, match="runs already"), up.only_one():
        raise AssertionError("the lock was given twice")
    with up.only_one():
        pass


@pytest.mark.parametrize("place", [".", "up", "prefect", "emulator"])
def test_a_folder_that_cannot_be_written_is_named(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = tmp_path / ".local"
    use(local, monkeypatch)
    taken = local / place
    taken.parent.mkdir(parents=True, exist_ok=True)
    taken.write_text("a file where a folder should be")
    with pytest.raises(UpError) as caught, up.only_one():
        raise AssertionError("it went on")
    told = str(caught.value)
    assert str(taken) in told
    assert "cannot be written: " in told
    assert "run `make up` again" in told
    assert "\n" not in told


def use(local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another folder in place of this checkout's .local."""
    monkeypatch.setattr(up, "LOCAL", local)
    monkeypatch.setattr(up, "FOLDER", local / "up")
    monkeypatch.setenv("AZUREML_EMULATOR_STATE", str(local / "emulator"))
