"""The stand-in hub, asked by the real clients: huggingface_hub and datasets."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from emulator.hub import hub_app
from emulator.hub_assets import make_sample

ASSETS = Path(make_sample.__file__).parent
CHAT = "HuggingFaceH4/ultrachat_200k"
SPLITS = {"train_sft": 2400, "test_sft": 240, "train_gen": 240, "test_gen": 240}
TEST_FILE = "data/test_sft-00000-of-00001.parquet"

LOAD = """
import json, sys
from datasets import load_dataset, load_dataset_builder
revision = sys.argv[1]
builder = load_dataset_builder("HuggingFaceH4/ultrachat_200k", revision=revision)
rows = {s: load_dataset(builder.repo_id, split=s + "[:5%]", revision=revision)
        for s in builder.info.splits}
print(json.dumps({s: [len(part), part.column_names, part[0]] for s, part in rows.items()}))
"""


@dataclass
class RunningHub:
    url: str
    requests: deque[str]

    @property
    def api(self) -> HfApi:
        return HfApi(endpoint=self.url, token=False)

    def file(self, path: str) -> str:
        return f"{self.url}/datasets/{CHAT}/resolve/main/{path}"


def serve(folder: Path) -> Iterator[RunningHub]:
    app = hub_app(folder)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the hub did not start"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield RunningHub(f"http://127.0.0.1:{port}", app.state.requests)
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def hub() -> Iterator[RunningHub]:
    yield from serve(ASSETS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A hub folder with one small model, and a secret beside it."""
    model = tmp_path / "hub" / "models" / "local" / "tiny"
    model.mkdir(parents=True)
    (model / "config.json").write_text('{"model_type": "phi3"}')
    (model / "model.safetensors").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "hub" / "secret.txt").write_text("secret")
    return tmp_path / "hub"


@pytest.fixture
def own_hub(folder: Path) -> Iterator[RunningHub]:
    yield from serve(folder)


def load(hub: RunningHub, home: Path, revision: str) -> dict[str, Any]:
    """What `datasets` gives a fresh process: by split, rows, columns and the first row."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", LOAD, revision],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_datasets_loads_every_split_and_downloads_it_once(hub: RunningHub, tmp_path: Path) -> None:
    commit = hub.api.dataset_info(CHAT).sha
    assert commit is not None
    hub.requests.clear()
    first = load(hub, tmp_path, commit)
    assert {split: part[0] for split, part in first.items()} == {
        split: rows * 5 // 100 for split, rows in SPLITS.items()
    }
    _, columns, row = first["test_gen"]
    assert columns == ["prompt", "prompt_id", "messages"]
    assert set(row["messages"][0]) == {"content", "role"}
    assert len(_downloads(hub)) == len(SPLITS)

    hub.requests.clear()
    assert load(hub, tmp_path, commit) == first
    assert _downloads(hub) == []


def _downloads(hub: RunningHub) -> list[str]:
    return [r for r in hub.requests if r.startswith("GET ") and r.endswith(".parquet")]


def test_a_dataset_describes_itself(hub: RunningHub) -> None:
    information = hub.api.dataset_info(CHAT, revision="main")
    assert re.fullmatch("[0-9a-f]{40}", information.sha or "")
    assert TEST_FILE in [sibling.rfilename for sibling in information.siblings or []]
    assert hub.api.dataset_info(CHAT, revision=information.sha).sha == information.sha


def test_the_tree_lists_folders_and_files_with_their_sizes(hub: RunningHub) -> None:
    on_disk = ASSETS / "datasets" / CHAT
    top = {e.path for e in hub.api.list_repo_tree(CHAT, repo_type="dataset")}
    assert top == {"data", "NOTICE", "README.md"}
    data = list(hub.api.list_repo_tree(CHAT, "data", repo_type="dataset", expand=True))
    assert {e.path: getattr(e, "size", None) for e in data} == {
        f"data/{p.name}": p.stat().st_size for p in (on_disk / "data").iterdir()
    }
    everything = hub.api.list_repo_tree(CHAT, repo_type="dataset", recursive=True)
    assert top < {e.path for e in everything}
    found = hub.api.get_paths_info(CHAT, ["README.md", "data", "nothing"], repo_type="dataset")
    assert [e.path for e in found] == ["README.md", "data"]


def test_files_arrive_whole(hub: RunningHub, tmp_path: Path) -> None:
    path = hf_hub_download(
        CHAT, TEST_FILE, repo_type="dataset", endpoint=hub.url, cache_dir=tmp_path, token=False
    )
    assert Path(path).read_bytes() == (ASSETS / "datasets" / CHAT / TEST_FILE).read_bytes()


def test_models_are_served_too(own_hub: RunningHub, folder: Path, tmp_path: Path) -> None:
    assert own_hub.api.model_info("local/tiny").id == "local/tiny"
    copy = snapshot_download(
        "local/tiny", endpoint=own_hub.url, cache_dir=tmp_path / "cache", token=False
    )
    for name in ("config.json", "model.safetensors"):
        original = folder / "models" / "local" / "tiny" / name
        assert Path(copy, name).read_bytes() == original.read_bytes()


def test_a_changed_file_is_a_new_commit(own_hub: RunningHub, folder: Path) -> None:
    before = own_hub.api.model_info("local/tiny").sha
    assert own_hub.api.model_info("local/tiny").sha == before
    (folder / "models" / "local" / "tiny" / "config.json").write_text('{"model_type": "phi4"}')
    assert own_hub.api.model_info("local/tiny").sha != before
    with pytest.raises(RevisionNotFoundError):
        own_hub.api.model_info("local/tiny", revision=before)


@pytest.mark.parametrize(
    ("asked", "status", "expected"),
    [
        ("bytes=0-3", 206, slice(0, 4)),
        ("bytes=10-", 206, slice(10, None)),
        ("bytes=-8", 206, slice(-8, None)),
        ("bytes=999999999-", 416, slice(0, 0)),
        ("pages=1-2", 200, slice(None)),
    ],
)
def test_ranges(hub: RunningHub, asked: str, status: int, expected: slice) -> None:
    whole = (ASSETS / "datasets" / CHAT / TEST_FILE).read_bytes()
    answer = httpx.get(hub.file(TEST_FILE), headers={"Range": asked})
    assert answer.status_code == status
    assert answer.content == whole[expected]
    if status == 206:
        first = len(whole) + expected.start if expected.start < 0 else expected.start
        last = first + len(answer.content) - 1
        assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(whole)}"


def test_head_has_the_headers_and_no_body(hub: RunningHub) -> None:
    head, get = httpx.head(hub.file(TEST_FILE)), httpx.get(hub.file(TEST_FILE))
    assert head.content == b""
    for name in ("ETag", "X-Repo-Commit", "Content-Length", "Accept-Ranges"):
        assert head.headers[name] == get.headers[name]
    assert int(head.headers["Content-Length"]) == len(get.content)
    same = httpx.get(hub.file(TEST_FILE), headers={"If-None-Match": head.headers["ETag"]})
    assert (same.status_code, same.content) == (304, b"")


@pytest.mark.parametrize("unknown", ["nobody/nothing", "squad"])
def test_an_unknown_repository_is_named_with_what_there_is(hub: RunningHub, unknown: str) -> None:
    with pytest.raises(RepositoryNotFoundError) as caught:
        hub.api.dataset_info(unknown)
    answer = caught.value.response.json()
    assert unknown in answer["error"]
    assert CHAT in answer["error"]


def test_unknown_revisions_and_files(hub: RunningHub) -> None:
    with pytest.raises(RevisionNotFoundError):
        hub.api.dataset_info(CHAT, revision="0" * 40)
    with pytest.raises(RevisionNotFoundError):
        hub.api.dataset_info(CHAT, revision="refs/convert/parquet")
    with pytest.raises(EntryNotFoundError):
        list(hub.api.list_repo_tree(CHAT, "nothing", repo_type="dataset"))
    with pytest.raises(EntryNotFoundError):
        hf_hub_download(CHAT, "nothing", repo_type="dataset", endpoint=hub.url, token=False)


@pytest.mark.parametrize(
    "path",
    [
        "/local/tiny/resolve/main/../../../secret.txt",
        "/local/tiny/resolve/main/%2e%2e/%2e%2e/%2e%2e/secret.txt",
        "/local/tiny/resolve/main/link.txt",
        "/%2e%2e/hub/resolve/main/secret.txt",
        "/local/tiny/resolve/main//etc/hostname",
    ],
)
def test_nothing_outside_a_repository_is_served(
    own_hub: RunningHub, folder: Path, path: str
) -> None:
    (folder / "models" / "local" / "tiny" / "link.txt").symlink_to(folder / "secret.txt")
    answer = httpx.get(httpx.URL(own_hub.url, raw_path=path.encode()))
    assert answer.status_code in (404, 501)
    assert b"secret" not in answer.content.replace(b"secret.txt", b"")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/whoami-v2"),
        ("POST", f"/api/datasets/{CHAT}/commit/main"),
        ("DELETE", f"/datasets/{CHAT}/resolve/main/README.md"),
        ("GET", f"/api/spaces/{CHAT}"),
    ],
)
def test_what_it_does_not_do_is_said(hub: RunningHub, method: str, path: str) -> None:
    answer = httpx.request(method, hub.url + path)
    assert answer.status_code == 501
    assert f"{method} {path}" in answer.json()["error"]


def test_the_sample_is_chat_in_the_real_datasets_shape() -> None:
    import pyarrow.parquet as pq

    vocabulary = frozenset((ASSETS / "vocabulary.txt").read_text().split())
    seen: set[str] = set()
    for split, number in SPLITS.items():
        path = ASSETS / "datasets" / CHAT / "data" / f"{split}-00000-of-00001.parquet"
        rows = pq.read_table(path).to_pylist()
        assert len(rows) == number
        for row in rows:
            turns = row["messages"]
            assert [turn["role"] for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
            assert 4 <= len(turns) <= 8
            assert row["prompt"] == turns[0]["content"]
            assert re.fullmatch("[0-9a-f]{64}", row["prompt_id"])
            assert all(make_sample.fit_to_show(turn["content"], vocabulary) for turn in turns)
        identities = {row["prompt_id"] for row in rows}
        assert len(identities) == number
        assert seen.isdisjoint(identities)
        seen |= identities


def test_unfit_messages_end_a_row() -> None:
    vocabulary = frozenset(make_sample.WORD.findall("i like long walks and good books do you"))
    fit = "I like long walks and good books. Do you like good books?"
    row = [fit] * 4
    assert list(make_sample.pieces([*row, fit], vocabulary)) == [row]
    assert list(make_sample.pieces([*row, "call 555 1234", *row], vocabulary)) == [row, row]
    assert list(make_sample.pieces([fit, fit, fit, "I like Bertrand", fit], vocabulary)) == []


def test_one_speakers_messages_in_a_row_become_one_turn() -> None:
    said = [("a", "Hello"), ("a", "  what\u2019s  new "), ("b", ""), ("b", "books")]
    groups = [[{"sender": sender, "text": text}] for sender, text in said]
    assert make_sample.turns({"messages": groups}) == ["Hello\nwhat's new", "books"]


def test_a_page_elsewhere_cannot_lead_its_own_name_here(own_hub: RunningHub) -> None:
    url = f"{own_hub.url}/models/local/tiny/resolve/main/config.json"
    answer = httpx.get(url, headers={"Host": "attacker.example"})
    assert answer.status_code == 403
    assert "phi3" not in answer.text
