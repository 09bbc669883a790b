"""Rows of data files, whatever their format."""

import csv
import json
import sys
from pathlib import Path
from typing import Any


class UserError(Exception):
    """Something that the person who submitted the job can put right."""


def table_files(table: Path) -> list[Path]:
    """The files that an MLTable names: `file` and `pattern` paths within its own folder."""
    import yaml

    paths = yaml.safe_load((table / "MLTable").read_text()).get("paths") or []
    patterns = [path.get("file") or path.get("pattern") or "" for path in paths]
    files = [file for pattern in patterns if pattern for file in sorted(table.glob(pattern))]
    if not files:
        raise UserError(f"The MLTable in {table} names no file that is in its folder.")
    return files


def read_rows(file: Path) -> list[Any]:
    """All rows of a jsonl, json, csv, tsv or parquet file; a blank line is an empty row."""
    kind = file.suffix.lower()
    if kind == ".parquet":
        from pyarrow.parquet import read_table

        table: list[Any] = read_table(file).to_pylist()
        return table
    text = file.read_text(encoding="utf-8")
    if kind in (".csv", ".tsv"):
        csv.field_size_limit(sys.maxsize)
        return list(csv.DictReader(text.splitlines(True), delimiter=",\t"[kind == ".tsv"]))
    if kind == ".json" and text.lstrip().startswith("["):
        return list(json.loads(text))
    if kind not in (".json", ".jsonl"):
        raise UserError(f"{file.name}: use jsonl, json, csv, tsv or parquet.")
    rows = []
    for number, line in enumerate(text.split("\n")[: None if text[-1:] != "\n" else -1], 1):
        try:
            rows.append(json.loads(line) if line.strip() else None)
        except ValueError as error:
            raise UserError(f"{file.name}, line {number} is not JSON: {error}") from error
    return rows
