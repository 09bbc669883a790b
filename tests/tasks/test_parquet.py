"""Parquet files of the hub: just what is wanted of them, exactly, over bad connections too."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks import hub as tasks_hub
from tasks.config import DatasetChoice
from tasks.data import prepare_data
from tasks.hub import resolve_revision
from tasks.remote_file import BLOCK, Fetcher
from tasks.rows import line_of
from tests.tasks.hub_support import Hub, running_hub, talk

MESSAGE = pa.struct([("content", pa.string()), ("role", pa.string())])
SPLITS = ("train_sft", "test_sft", "test_gen")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with running_hub(tmp_path_factory.mktemp("hub")) as running:
        running.add_tables(
            "acme/large",
            {split: [_incompressible(split, 0), _incompressible(split, 1)] for split in SPLITS},
            row_group_size=400,
        )
        yield running


@pytest.fixture(autouse=True)
def use_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    hub.forget()


def _incompressible(split: str, shard: int) -> pa.Table:
    """About 2 MB that no compression makes smaller, half of them not worth writing."""
    chance = random.Random(f"{split} {shard}")
    talks = [
        [
            {"role": "user", "content": f"{shard}/{n}"},
            {"role": "assistant", "content": chance.randbytes(500).hex()},
        ]
        for n in range(1000)
    ]
    pictures = [chance.randbytes(1000) for _ in talks]
    return pa.table({"messages": pa.array(talks, pa.list_(MESSAGE)), "picture": pa.array(pictures)})


def choice(name: str, percent: float = 100, **values: Any) -> DatasetChoice:
    return DatasetChoice(**{"name": name, "percent": percent, **values})


def in_parts(wanted: DatasetChoice, folder: Path) -> dict[str, Any] | None:
    revision = resolve_revision(wanted)
    return tasks_hub._in_parts(wanted, revision, list(SPLITS), folder)


def lines(splits: dict[str, Any], count: int | None = None) -> dict[str, list[bytes]]:
    """What would be written of each split, in full or of its first `count` rows."""
    written = {}
    with Fetcher() as fetcher:
        wanted = {k: v.num_rows if count is None else count for k, v in splits.items()}
        for split, rows in splits.items():
            rows.plan(wanted[split], fetcher)
        fetcher.start()
        for split, rows in splits.items():
            written[split] = [line_of(r) for rows in rows.batches(wanted[split]) for r in rows]
    return written


TEXT = st.one_of(st.none(), st.text(max_size=8))
TALKS = st.one_of(
    st.none(),
    st.lists(st.fixed_dictionaries({"content": TEXT, "role": TEXT}), max_size=3),
)
ROW = st.fixed_dictionaries(
    {
        "id": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
        "score": st.one_of(st.none(), st.floats()),
        "messages": TALKS,
        "good": st.one_of(st.none(), st.booleans()),
        "word": TEXT,
    }
)
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("score", pa.float64()),
        ("messages", pa.list_(MESSAGE)),
        ("good", pa.bool_()),
        ("word", pa.string()),
    ]
)
_numbers = iter(range(1000))


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    shards=st.lists(st.lists(ROW, max_size=12), min_size=1, max_size=3),
    group=st.integers(1, 5),
    compression=st.sampled_from(["snappy", "zstd", "none"]),
    dictionary=st.booleans(),
    version=st.sampled_from(["1.0", "2.0"]),
)
def test_rows_are_those_of_the_files_in_their_order(
    hub: Hub, tmp_path: Path, shards: list[Any], group: int, **options: Any
) -> None:
    name = f"acme/made-{next(_numbers)}"
    tables = [pa.Table.from_pylist(shard, SCHEMA) for shard in shards]
    hub.add_tables(
        name,
        dict.fromkeys(SPLITS, tables),
        row_group_size=group,
        compression=options["compression"],
        use_dictionary=options["dictionary"],
        data_page_version=options["version"],
    )
    rows = pa.concat_tables(tables).to_pylist()
    wanted = [line_of(row) for row in rows]
    for count in {0, 1, len(wanted) // 2, len(wanted)} & set(range(len(wanted) + 1)):
        splits = in_parts(choice(name), tmp_path / f"{name}-{count}")
        assert splits is not None
        assert lines(splits, count) == dict.fromkeys(SPLITS, wanted[:count])


def test_rows_are_those_that_datasets_gives(hub: Hub, tmp_path: Path) -> None:
    shard = pa.table(
        {
            "prompt": pa.array(["Grüße", None, "你好 \u2028", ""], pa.large_string()),
            "messages": pa.array([talk(1), None, [], talk(2, 4)], pa.list_(MESSAGE)),
            "picture": pa.array([b"\x00"] * 4),
            "small": pa.array([1, -1, None, 127], pa.int8()),
            "share": pa.array([0.1, float("nan"), None, 1e-9], pa.float32()),
            "at": pa.array([0, 1, None, 3], pa.timestamp("us")),
            "words": pa.array([["a"], [], None, ["b"]]),
        }
    )
    hub.add_tables("acme/rich", {split: [shard, shard] for split in SPLITS}, row_group_size=3)
    wanted = choice("acme/rich")
    parts = in_parts(wanted, tmp_path)
    assert parts is not None
    whole = tasks_hub._as_a_whole(wanted, resolve_revision(wanted), list(SPLITS))
    found = lines(parts)
    assert found == lines(whole)
    first = json.loads(found["train_sft"][0])
    assert list(first) == ["prompt", "messages", "small", "share", "at"]


def _class_label() -> pa.Table:
    features = {"info": {"features": {"kind": {"names": ["a", "b"], "_type": "ClassLabel"}}}}
    table = pa.table({"messages": pa.array([talk(1)] * 20, pa.list_(MESSAGE)), "kind": [0, 1] * 10})
    return table.replace_schema_metadata({"huggingface": json.dumps(features)})


def _categories() -> pa.Table:
    words = pa.array(["a", "b"] * 10).dictionary_encode()
    return pa.table({"messages": pa.array([talk(1)] * 20, pa.list_(MESSAGE)), "word": words})


def _plain() -> pa.Table:
    return pa.table({"messages": pa.array([talk(1)] * 20, pa.list_(MESSAGE)), "n": [1] * 20})


_OTHER_TYPE = """dataset_info:
  features:
  - name: messages
    list:
    - name: content
      dtype: string
    - name: role
      dtype: string
  - name: n
    dtype: string
"""


@pytest.mark.parametrize(
    ("name", "shards", "card"),
    [
        ("categories", [_categories()], ""),
        ("other-type", [_plain()], _OTHER_TYPE),
        ("other-columns", [_plain()], _OTHER_TYPE.replace("name: n\n", "name: m\n")),
        ("unequal", [_plain(), _plain().set_column(1, "n", pa.array(["1"] * 20))], ""),
    ],
)
def test_what_datasets_would_convert_is_left_to_it(
    hub: Hub, tmp_path: Path, name: str, shards: list[pa.Table], card: str
) -> None:
    hub.add_tables(f"acme/{name}", dict.fromkeys(SPLITS, shards), card)
    assert in_parts(choice(f"acme/{name}"), tmp_path) is None


def test_a_labelled_column_is_not_worth_writing(hub: Hub, tmp_path: Path) -> None:
    hub.add_tables("acme/labelled", {split: [_class_label()] for split in SPLITS})
    splits = in_parts(choice("acme/labelled"), tmp_path)
    assert splits is not None
    assert list(json.loads(lines(splits)["train_sft"][0])) == ["messages"]


def test_a_small_share_costs_a_small_share(hub: Hub, tmp_path: Path) -> None:
    home = hub.folder / "datasets" / "acme" / "large" / "data"
    size = sum(file.stat().st_size for file in home.iterdir())
    snapshot = prepare_data(choice("acme/large", percent=5), tmp_path)
    assert snapshot.train.rows == 100
    # Of each split the ends of two files, and the beginning of the first.
    assert hub.sent <= 3 * 5 * BLOCK < size / 2
    few = Path(snapshot.train.path).read_bytes()
    hub.forget()
    whole = prepare_data(choice("acme/large"), tmp_path)
    assert Path(whole.train.path).read_bytes().startswith(few)
    # The pictures are no column that is written.
    assert hub.sent < 0.8 * size
    assert not list(tmp_path.rglob("*.data"))


def test_lost_connections_cost_what_was_lost(hub: Hub, tmp_path: Path) -> None:
    calm = prepare_data(choice("acme/large"), tmp_path / "calm")
    needed = hub.sent
    hub.forget()
    hub.lose_after = [0, 300_000, 10, 700_000, 400_000, 1]
    rough = prepare_data(choice("acme/large"), tmp_path / "rough")
    assert not hub.lose_after
    assert rough.fingerprint == calm.fingerprint
    assert hub.sent <= needed + 6 * 2 * BLOCK


def test_a_server_that_ignores_ranges_is_understood(hub: Hub, tmp_path: Path) -> None:
    hub.whole = True
    found = prepare_data(choice("acme/large", percent=5), tmp_path / "whole")
    hub.forget()
    assert found.fingerprint == prepare_data(choice("acme/large", 5), tmp_path / "o").fingerprint


@pytest.mark.parametrize(("status", "told"), [(403, "may not read|refused|403"), (404, "404|not")])
def test_a_refused_part_ends_the_download_at_once(
    hub: Hub, tmp_path: Path, status: int, told: str
) -> None:
    hub.statuses = [status] * 50
    began = time.monotonic()
    with pytest.raises(Exception, match=told):
        prepare_data(choice("acme/large"), tmp_path)
    assert time.monotonic() - began < 5
    assert len(hub.statuses) > 40


def test_a_busy_hub_is_asked_again(hub: Hub, tmp_path: Path) -> None:
    hub.statuses = [503, 429]
    assert prepare_data(choice("acme/large", percent=5), tmp_path).train.rows == 100


_PREPARE = """
import sys
from pathlib import Path
from tasks.config import DatasetChoice
from tasks.data import prepare_data
print(prepare_data(DatasetChoice(name="acme/large", percent=100), Path(sys.argv[1])).fingerprint)
"""


def test_a_killed_download_goes_on_where_it_was(hub: Hub, tmp_path: Path) -> None:
    calm = prepare_data(choice("acme/large"), tmp_path / "calm")
    needed = hub.sent
    hub.forget()
    hub.pause = 0.05
    first = subprocess.Popen([sys.executable, "-c", _PREPARE, str(tmp_path / "killed")])
    until = time.monotonic() + 60
    while hub.sent < needed / 2 and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert list((tmp_path / "killed").rglob("*.map"))
    hub.forget()
    second = subprocess.run(
        [sys.executable, "-c", _PREPARE, str(tmp_path / "killed")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert second.stdout.strip() == calm.fingerprint
    # Each of the four connections had begun at most one piece.
    assert hub.sent < 0.75 * needed
