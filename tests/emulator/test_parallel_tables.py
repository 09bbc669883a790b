"""How the driver of parallel steps reads tables, and cuts them into mini-batches."""

import argparse
import json
from pathlib import Path
from typing import Any

import pandas
import pytest

from emulator.parallel_step.batches import BatchError, cut
from emulator.parallel_step.tables import read_table

FRAME = pandas.DataFrame({"name": ["a", "b", "c", "d"], "amount": [1, 2, 3, 4]})


def table(folder: Path, *transformations: Any) -> Path:
    """A table's folder as a job has it: files, and the transformations as JSON."""
    kind = next(iter(transformations[0]))
    if kind == "read_parquet":
        FRAME.to_parquet(folder / "rows.parquet")
    elif kind == "read_json_lines":
        FRAME.to_json(folder / "rows.jsonl", orient="records", lines=True)
    else:
        FRAME.to_csv(folder / "rows.csv", index=False)
    (folder / "MLTable").write_text(json.dumps(transformations))
    return folder


@pytest.mark.parametrize("kind", ["read_delimited", "read_parquet", "read_json_lines"])
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, kind: str) -> None:
    assert read_table(table(tmp_path, {kind: {}})).equals(FRAME)


def test_transformations_are_applied_in_their_order(tmp_path: Path) -> None:
    types = [{"columns": "amount", "column_type": "float"}]
    found = read_table(
        table(
            tmp_path,
            {"read_delimited": {"delimiter": ",", "include_path_column": True}},
            {"skip": 1},
            {"take": 2},
            {"drop_columns": "Path"},
            {"convert_column_types": types},
        )
    )
    assert found.equals(pandas.DataFrame({"name": ["b", "c"], "amount": [2.0, 3.0]}))


def test_a_file_without_headers_names_its_columns_by_their_place(tmp_path: Path) -> None:
    found = read_table(table(tmp_path, {"read_delimited": {"header": "no_header"}}))
    assert list(found.columns) == ["Column1", "Column2"]
    assert len(found) == 5


@pytest.mark.parametrize(
    ("transformations", "said"),
    [
        ([{"read_csv": {}}], "read_delimited, read_parquet and read_json_lines"),
        ([{"read_delimited": {}}, {"filter": "col('amount') > 1"}], "the transformation filter"),
        (
            [
                {"read_delimited": {}},
                {"convert_column_types": [{"columns": "name", "column_type": "stream_info"}]},
            ],
            "does not convert columns of tables to stream_info",
        ),
    ],
)
def test_what_is_not_read_says_so(tmp_path: Path, transformations: list[Any], said: str) -> None:
    with pytest.raises(BatchError, match=said.replace("(", r"\(").replace(")", r"\)")):
        read_table(table(tmp_path, *transformations))


def own(place: Path, size: int | None, *keys: str) -> argparse.Namespace:
    return argparse.Namespace(
        input=str(place), tabular=True, mini_batch_size=size, partition_keys=list(keys)
    )


@pytest.mark.parametrize(("size", "sizes"), [(None, [4]), (14, [2, 2]), (1, [1, 1, 1, 1])])
def test_a_table_is_cut_by_its_size_in_bytes(
    tmp_path: Path, size: int | None, sizes: list[int]
) -> None:
    (folder := tmp_path / "table").mkdir()
    batches = cut(own(table(folder, {"read_delimited": {}}), size), tmp_path)
    assert [batch.size for batch in batches] == sizes
    assert [batch.first for batch in batches] == [sum(sizes[:n]) for n in range(len(sizes))]
    rows = pandas.concat([pandas.read_pickle(batch.table or "") for batch in batches])
    assert rows.reset_index(drop=True).equals(FRAME)


def test_a_table_is_cut_by_the_values_of_its_columns(tmp_path: Path) -> None:
    (folder := tmp_path / "table").mkdir()
    place = table(folder, {"read_delimited": {}})
    batches = cut(own(place, None, "amount", "name"), tmp_path)
    assert batches[0].partition == {"amount": 1, "name": "a"}
    assert len(batches) == 4
    with pytest.raises(BatchError, match="no column colour to be partitioned by"):
        cut(own(place, None, "colour"), tmp_path)
