"""Conversations from a hub on a real socket: pinned, checked, hashed, and fetched only once."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import rows
from tasks.config import DatasetChoice
from tasks.data import download_data, pick_conversation, prepare_data, sample_frame, verify
from tasks.errors import DataError, NotFound
from tasks.explaining import is_transient
from tasks.rows import why_unusable
from tasks.values import DataSnapshot
from tests.tasks.hub_support import Hub, Message, running_hub, talk

UNUSABLE: list[tuple[str, list[Message] | None]] = [
    (rows.EMPTY, []),
    (rows.EMPTY, None),
    (rows.SINGLE, [{"role": "user", "content": "alone"}]),
    (rows.MALFORMED, [{"role": "user", "content": None}, {"role": "assistant", "content": "x"}]),
    (rows.NO_ASSISTANT, [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]),
    (rows.NO_ASSISTANT, [{"role": "user", "content": "a"}, {"role": "assistant", "content": " "}]),
]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with running_hub(tmp_path_factory.mktemp("hub")) as running:
        fill(running)
        yield running


def fill(hub: Hub) -> None:
    good: list[list[Message] | None] = [talk(n, 4) for n in range(194)]
    mixed = good[:100] + [talks for _, talks in UNUSABLE] + good[100:]
    other: list[list[Message] | None] = [talk(n, 2 + n % 3) for n in range(40)]
    hub.add(
        "acme/talks", {"train_sft": mixed, "test_sft": other, "test_gen": other, "train_gen": other}
    )
    tiny: list[list[Message] | None] = [talk(n) for n in range(9)]
    hub.add("acme/tiny", {"train_sft": tiny, "test_sft": tiny, "test_gen": tiny})
    texts = hub.folder / "datasets" / "acme" / "texts"
    texts.mkdir(parents=True)
    (texts / "train.jsonl").write_text('{"text": "no talk"}\n' * 20)


@pytest.fixture(autouse=True)
def use_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    hub.forget()


def choice(name: str = "acme/talks", **values: Any) -> DatasetChoice:
    return DatasetChoice(**{"name": name, "percent": 100, **values})


def test_splits_are_written_as_json_lines_with_every_row_accounted_for(tmp_path: Path) -> None:
    snapshot = prepare_data(choice(), tmp_path)
    assert len(snapshot.revision) == 40
    train = snapshot.train
    assert (train.rows_read, train.rows) == (200, 194)
    assert train.dropped == {
        rows.EMPTY: 2,
        rows.SINGLE: 1,
        rows.MALFORMED: 1,
        rows.NO_ASSISTANT: 2,
    }
    path = Path(train.path)
    assert path.name == "train_sft.jsonl"
    assert path.parent.parent == tmp_path / "acme--talks"
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == train.rows
    assert "你好" in lines[0]
    assert json.loads(lines[0]) == {"prompt": "prompt 0", "messages": talk(0, 4)}
    assert train.bytes == path.stat().st_size
    manifest = json.loads((path.parent / "manifest.json").read_text())
    assert manifest["fingerprint"] == snapshot.fingerprint


def test_only_the_splits_that_are_used_are_downloaded(tmp_path: Path, hub: Hub) -> None:
    talks: list[list[Message] | None] = [talk(n) for n in range(12)]
    splits = ("train_sft", "test_sft", "test_gen", "train_gen")
    hub.add("acme/unseen", dict.fromkeys(splits, talks))
    prepare_data(choice("acme/unseen"), tmp_path)
    files = {path.rsplit("/", 1)[-1].split("-")[0] for path in hub.asked if "/data/" in path}
    assert files == {"train_sft", "test_sft", "test_gen"}


@pytest.mark.parametrize(("percent", "read"), [(5, 10), (12.6, 25), (0.1, 1), (100, 200)])
def test_a_share_is_taken_from_the_start_rounded_but_never_nothing(
    tmp_path: Path, percent: float, read: int
) -> None:
    wanted = choice(percent=percent)
    if read < 10:
        with pytest.raises(DataError, match="1 usable rows of 1 read, and at least 10"):
            prepare_data(wanted, tmp_path)
        return
    train = prepare_data(wanted, tmp_path).train
    assert train.rows_read == read
    assert json.loads(Path(train.path).read_text().splitlines()[0])["prompt"] == "prompt 0"


def test_the_same_data_has_the_same_bytes_and_other_data_another_fingerprint(
    tmp_path: Path,
) -> None:
    first = prepare_data(choice(), tmp_path / "a")
    again = prepare_data(choice(revision=first.revision), tmp_path / "b")
    half = prepare_data(choice(percent=50), tmp_path / "a")
    assert first.fingerprint == again.fingerprint != half.fingerprint
    assert verify(first)
    assert verify(again)


def test_changed_or_missing_files_are_noticed(tmp_path: Path) -> None:
    snapshot = prepare_data(choice(), tmp_path)
    path = Path(snapshot.test.path)
    path.write_bytes(path.read_bytes().replace(b"prompt 1", b"prompt X", 1))
    assert not verify(snapshot)
    path.unlink()
    assert not verify(snapshot)


def test_a_sample_is_shown_and_a_conversation_chosen_by_seed(tmp_path: Path) -> None:
    snapshot = prepare_data(choice(), tmp_path)
    frame = sample_frame(snapshot, 3)
    assert list(frame["prompt"]) == ["prompt 0", "prompt 1", "prompt 2"]
    talks = [pick_conversation(snapshot, seed) for seed in range(20)]
    assert talks == [pick_conversation(snapshot, seed) for seed in range(20)]
    assert len({talk[0]["content"] for talk in talks}) > 5
    assert all(talk[-1]["role"] == "assistant" for talk in talks)


@pytest.mark.parametrize(
    ("wanted", "kind", "told"),
    [
        (choice("acme/none"), NotFound, r"acme/none is not on the hub"),
        (choice("a b"), DataError, r"not a name of a dataset"),
        (choice(revision="v9"), NotFound, r"no revision v9"),
        (choice(subset="big"), DataError, r"no subset big.*default"),
        (choice(train_split="train"), DataError, r"no split train\. It has train_sft, test_sft"),
        (
            choice("acme/texts", train_split="train", test_split="train", sample_split="train"),
            DataError,
            r"no column `messages`; it has text",
        ),
        (choice("acme/tiny"), DataError, r"train_sft of acme/tiny has 9 usable rows of 9"),
    ],
    ids=["dataset", "name", "revision", "subset", "split", "column", "rows"],
)
def test_bad_choices_are_told_with_what_there_is(
    tmp_path: Path, wanted: DatasetChoice, kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind, match=told):
        prepare_data(wanted, tmp_path)


def test_a_hub_that_does_not_answer_is_worth_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(Exception, match="refused") as caught:
        prepare_data(choice(), tmp_path)
    assert is_transient(caught.value)


TEXTS = st.one_of(st.none(), st.integers(), st.text(max_size=5))
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", None]), "content": TEXTS}
    ),
    max_size=4,
)


@given(st.one_of(st.none(), st.text(), MESSAGES))
def test_a_row_for_training_is_a_real_exchange_or_has_one_reason(messages: Any) -> None:
    reason = why_unusable(messages, for_training=True)
    if reason is None:
        assert len(messages) > 1
        assert all(isinstance(m["role"], str) and isinstance(m["content"], str) for m in messages)
        assert any(m["role"] == "assistant" and m["content"].strip() for m in messages)
    else:
        assert reason in (rows.EMPTY, rows.SINGLE, rows.MALFORMED, rows.NO_ASSISTANT)


def test_a_conversation_to_send_needs_only_a_user() -> None:
    assert why_unusable([{"role": "user", "content": "hi"}], for_training=False) is None
    assert why_unusable([{"role": "assistant", "content": "hi"}], for_training=False)


@pytest.mark.usefixtures("prefect_server")
def test_a_second_run_downloads_nothing_and_mends_what_is_broken(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect import flow

    @flow
    def fetch(wanted: DatasetChoice) -> DataSnapshot:
        return download_data(wanted, tmp_path)

    first = fetch(choice())
    written = os.stat(first.train.path).st_mtime_ns
    hub.asked.clear()
    assert fetch(choice()) == first
    assert hub.asked == ["/api/datasets/acme/talks"]
    assert os.stat(first.train.path).st_mtime_ns == written

    Path(first.train.path).write_text("spoilt")
    assert fetch(choice()) == first
    assert verify(first)

    # A pinned commit needs no network at all.
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    pinned = choice(revision=first.revision)
    assert fetch(pinned) == first
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    with pytest.raises(DataError, match="no split nowhere"):
        fetch(choice(test_split="nowhere"))


def test_of_several_that_want_the_same_at_once_one_fetches_it(tmp_path: Path, hub: Hub) -> None:
    alone = prepare_data(choice(), tmp_path / "alone")
    fetched = sum(path.endswith(".parquet") for path in hub.asked)
    hub.forget()
    hub.pause = 0.02
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: prepare_data(choice(), tmp_path / "shared"), range(8)))
    assert {each.fingerprint for each in made} == {alone.fingerprint}
    assert all(verify(each) for each in made)
    assert sum(path.endswith(".parquet") for path in hub.asked) <= fetched + 6
