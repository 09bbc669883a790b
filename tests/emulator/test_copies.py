"""What jobs leave in folders is copied, without what no copy can be made of."""

import os
import socket
from pathlib import Path

import pytest

from emulator.compute.copies import copy_tree


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "checkpoint-3" / "deep").mkdir(parents=True)
    (source / "checkpoint-3" / "model.bin").write_text("weights")
    (source / "file").write_text("text")
    return source


def _files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_links_to_files_and_within_are_followed(source: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.txt").write_text("elsewhere")
    (source / "linked").symlink_to(tmp_path / "elsewhere.txt")
    (source / "latest").symlink_to("checkpoint-3")
    copy_tree(source, tmp_path / "target")
    kept = {"checkpoint-3/model.bin", "latest/model.bin", "linked", "file"}
    assert _files(tmp_path / "target") == kept
    assert not (tmp_path / "target" / "linked").is_symlink()


def test_what_leads_elsewhere_around_or_nowhere_is_left_out(source: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret").write_text("secret")
    (source / "out").symlink_to(tmp_path / "elsewhere")
    (source / "nowhere").symlink_to("gone")
    (source / "self").symlink_to(".")
    (source / "checkpoint-3" / "up").symlink_to("..")
    (source / "checkpoint-3" / "deep" / "other").symlink_to("../../around")
    (source / "around").mkdir()
    (source / "around" / "back").symlink_to("../checkpoint-3")
    (source / "ring").symlink_to("ring")
    copy_tree(source, tmp_path / "target")
    found = _files(tmp_path / "target")
    assert found == {"checkpoint-3/model.bin", "file", "around/back/model.bin"}


def test_pipes_and_sockets_are_left_out(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(source / "pipe")
    monkeypatch.chdir(source)  # the name of a socket may not be long
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        copy_tree(source, tmp_path / "target")
    assert _files(tmp_path / "target") == {"checkpoint-3/model.bin", "file"}
