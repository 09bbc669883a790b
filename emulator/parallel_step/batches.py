"""Cutting the input of a parallel step into mini-batches: of files, or of a table's rows."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TABLE_BYTES = 1 << 20
"""The size of a mini-batch of rows where none is given; of files it is ten."""

FILES = 10
MLTABLE = "MLTable"


class BatchError(Exception):
    """An input that cannot be cut; the message says why."""


@dataclass
class Batch:
    """One call of run(): file paths, or the file that its pickled table is in."""

    index: int
    size: int
    """How many items: files or rows."""
    files: list[str] = field(default_factory=list)
    table: str | None = None
    partition: dict[str, Any] = field(default_factory=dict)
    first: int = 0
    """The place of its first row in the whole table."""


def cut(own: argparse.Namespace, scratch: Path) -> list[Batch]:
    """All mini-batches of the input. Raises BatchError for one that cannot be read."""
    place = Path(own.input)
    if own.tabular:
        return _rows(own, place, scratch)
    if own.partition_keys:
        return _folders(place, own.partition_keys)
    files = files_of(place)
    size = own.mini_batch_size or FILES
    groups = [files[start : start + size] for start in range(0, len(files), size)]
    return [
        Batch(index, len(group), [str(file) for file in group])
        for index, group in enumerate(groups)
    ]


def files_of(place: Path) -> list[Path]:
    """The files of an input; a table's own description is none of them."""
    if place.is_file():
        return [place]
    found = (path for path in sorted(place.rglob("*")) if path.is_file())
    return [path for path in found if path.name != MLTABLE]


def _folders(place: Path, keys: list[str]) -> list[Batch]:
    from emulator.parallel_step.tables import path_columns, read_description

    description = read_description(place)
    groups: dict[tuple[str, ...], list[str]] = {}
    for file in files_of(place):
        columns = path_columns(description, file.relative_to(place).as_posix())
        if missing := [key for key in keys if key not in columns]:
            raise BatchError(
                f"The input cannot be partitioned by {missing[0]}: the path of "
                f"{file.relative_to(place)} has no such part. Give the MLTable file an "
                "extract_columns_from_partition_format transformation that names it."
            )
        groups.setdefault(tuple(str(columns[key]) for key in keys), []).append(str(file))
    return [
        Batch(index, len(files), files, partition=_named(keys, values))
        for index, (values, files) in enumerate(sorted(groups.items()))
    ]


def _rows(own: argparse.Namespace, place: Path, scratch: Path) -> list[Batch]:
    from emulator.parallel_step.tables import read_table

    table = read_table(place)
    parts: list[tuple[dict[str, Any], Any]]
    if own.partition_keys:
        if missing := [key for key in own.partition_keys if key not in table.columns]:
            raise BatchError(
                f"The table has no column {missing[0]} to be partitioned by. Its columns: "
                f"{', '.join(map(str, table.columns))}."
            )
        parts = []
        for value, group in table.groupby(own.partition_keys, sort=True):
            values = value if isinstance(value, tuple) else (value,)
            parts.append((_named(own.partition_keys, map(_plain, values)), group))
    else:
        width = max(1, sum(file.stat().st_size for file in files_of(place)) // max(1, len(table)))
        step = max(1, (own.mini_batch_size or TABLE_BYTES) // width)
        parts = [({}, table.iloc[start : start + step]) for start in range(0, len(table), step)]
    return [_kept(index, values, rows, scratch) for index, (values, rows) in enumerate(parts)]


def _kept(index: int, values: dict[str, Any], rows: Any, scratch: Path) -> Batch:
    path = scratch / f"{index}.table"
    first = int(rows.index[0]) if len(rows) else 0
    rows.reset_index(drop=True).to_pickle(str(path))
    return Batch(index, len(rows), table=str(path), partition=values, first=first)


def _named(keys: Iterable[str], values: Iterable[Any]) -> dict[str, Any]:
    return dict(zip(keys, values))  # noqa: B905 (Python 3.8 has no strict)


def _plain(value: Any) -> Any:
    """A numpy scalar as Python's own, which JSON can hold."""
    plain = value.item() if hasattr(value, "item") else value
    return plain if isinstance(plain, (str, int, float, bool)) else str(plain)
