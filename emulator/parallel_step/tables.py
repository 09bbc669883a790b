"""Reading a table by its MLTable file, as a pandas DataFrame."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from emulator.parallel_step.batches import MLTABLE, BatchError, files_of

_FIELD = re.compile(r"\{([^{}:]+)(?::[^{}]*)?\}")


def read_description(place: Path) -> list[dict[str, Any]]:
    """The transformations of a table, which the emulator has written beside its files as JSON."""
    file = place / MLTABLE
    if not file.is_file():
        raise BatchError(f"The input has no {MLTABLE} file. A table, and partitions, need one.")
    content = json.loads(file.read_text(encoding="utf-8"))
    return [item if isinstance(item, dict) else {item: None} for item in content]


def read_table(place: Path) -> Any:
    """The rows of all files of a table, its transformations applied in their order."""
    try:
        import pandas
    except ImportError as error:
        raise BatchError(
            "The input is a table, and the step's environment has no pandas. Add mltable or "
            "pandas to its conda file."
        ) from error
    description = read_description(place)
    parts = []
    for file in files_of(place):
        part = _read_file(pandas, description, file)
        name = file.relative_to(place).as_posix()
        for key, value in path_columns(description, name).items():
            part[key] = value
        if _reader(description)[1].get("include_path_column"):
            part.insert(0, "Path", str(file))
        parts.append(part)
    table = pandas.concat(parts, ignore_index=True) if parts else pandas.DataFrame()
    for item in description:
        for kind, setting in item.items():
            table = _transformed(table, kind, setting)
    return table.reset_index(drop=True)


def path_columns(description: list[dict[str, Any]], name: str) -> dict[str, str]:
    """The columns that a file's path (within the table) holds by the table's partition format."""
    for item in description:
        setting = item.get("extract_columns_from_partition_format")
        if setting:
            text = setting["partition_format"] if isinstance(setting, dict) else str(setting)
            return _matched(text.lstrip("./"), name)
    return {}


def _matched(text: str, name: str) -> dict[str, str]:
    pattern, place = "", 0
    fields: list[str] = []
    for match in _FIELD.finditer(text):
        pattern += re.escape(text[place : match.start()]) + "([^/]*?)"
        fields.append(match[1])
        place = match.end()
    pattern += re.escape(text[place:])
    found = re.search(f"(?:^|/){pattern}$", name)
    return {field: found[place + 1] for place, field in enumerate(fields)} if found else {}


def _reader(description: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    for item in description:
        for kind, setting in item.items():
            if kind in ("read_delimited", "read_parquet", "read_json_lines"):
                return kind, setting if isinstance(setting, dict) else {}
    raise BatchError(
        f"The {MLTABLE} file of the input has none of the transformations read_delimited, "
        "read_parquet and read_json_lines; mode direct needs one. Use eval_mount for files."
    )


def _read_file(pandas: Any, description: list[dict[str, Any]], file: Path) -> Any:
    kind, setting = _reader(description)
    if kind == "read_parquet":
        return pandas.read_parquet(file)
    if kind == "read_json_lines":
        return pandas.read_json(file, lines=True)
    header = str(setting.get("header", "all_files_same_headers"))
    names = {"no_header": None, "False": None}
    encodings = {"utf8": "utf-8", "utf8bom": "utf-8-sig", "iso88591": "iso-8859-1"}
    table = pandas.read_csv(
        file,
        sep=setting.get("delimiter", ","),
        header=names.get(header, 0),
        encoding=encodings.get(setting.get("encoding", "utf8"), setting.get("encoding", "utf-8")),
        keep_default_na=not setting.get("empty_as_string", False),
    )
    if header in names:
        table.columns = [f"Column{number + 1}" for number in range(len(table.columns))]
    return table


def _transformed(table: Any, kind: str, setting: Any) -> Any:
    if kind in _ON_FILES:
        return table
    if kind == "drop_columns":
        return table.drop(columns=_names(setting), errors="ignore")
    if kind == "keep_columns":
        return table[_names(setting)]
    if kind == "take":
        return table.head(int(setting["count"] if isinstance(setting, dict) else setting))
    if kind == "skip":
        return table.iloc[int(setting["count"] if isinstance(setting, dict) else setting) :]
    if kind == "convert_column_types":
        for item in setting:
            for name in _names(item["columns"]):
                table[name] = _converted(table[name], item["column_type"])
        return table
    raise BatchError(f"The local Azure ML does not read tables with the transformation {kind}.")


_ON_FILES = (
    "read_delimited",
    "read_parquet",
    "read_json_lines",
    "extract_columns_from_partition_format",
)


def _names(setting: Any) -> list[str]:
    return [setting] if isinstance(setting, str) else [str(name) for name in setting]


def _converted(column: Any, kind: Any) -> Any:
    import pandas

    name = kind if isinstance(kind, str) else next(iter(kind))
    if name == "datetime":
        return pandas.to_datetime(column)
    types = {"int": "int64", "float": "float64", "string": "str", "boolean": "bool"}
    if name not in types:
        raise BatchError(f"The local Azure ML does not convert columns of tables to {name}.")
    return column.astype(types[name])
