"""Which Parquet files the splits of a dataset are, by the hub's own description of it.

This reads the plain form that datasets get when they are pushed to the hub: the card names a file
pattern for each split. Everything else is None here, and `datasets` works it out.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_PLAIN_CONFIG = {"config_name", "data_files", "default"}
_PLAIN_PATTERN = re.compile(r"[\w./*-]+")
_PLAIN_FEATURE = {"name", "dtype"}


@dataclass(frozen=True)
class Listing:
    """The files of each split, in order, and the columns as the card declares them."""

    files: dict[str, list[str]]
    columns: dict[str, Any] | None
    """Name -> type: a word for a plain one, anything else for others. None: not declared."""


def listing(
    card: Mapping[str, Any] | None, paths: Iterable[str], subset: str | None
) -> Listing | None:
    """The splits of a subset by the card's data (the head of its README) and the files' paths."""
    config = _config((card or {}).get("configs"), subset)
    if config is None or set(config) - _PLAIN_CONFIG:
        return None
    files: dict[str, list[str]] = {}
    for entry in config.get("data_files") or []:
        if not isinstance(entry, dict) or set(entry) != {"split", "path"}:
            return None
        patterns = [entry["path"]] if isinstance(entry["path"], str) else list(entry["path"])
        matching = [path for pattern in patterns for path in _matching(pattern, paths)]
        if not matching or not all(path.endswith(".parquet") for path in matching):
            return None
        files[str(entry["split"])] = matching
    if not files:
        return None
    declared = _config((card or {}).get("dataset_info"), str(config.get("config_name", "default")))
    features = (declared or {}).get("features")
    return Listing(files, _columns(features) if isinstance(features, list) else None)


def _config(configs: Any, subset: str | None) -> dict[str, Any] | None:
    """The entry of the subset, or the one that is meant without a name."""
    entries = [configs] if isinstance(configs, dict) else configs
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        return None
    named = {str(each.get("config_name", "default")): each for each in entries}
    if subset is not None:
        return named.get(subset)
    chosen = [each for each in entries if each.get("default")] or entries
    return chosen[0] if len(chosen) == 1 else named.get("default")


def _matching(pattern: Any, paths: Iterable[str]) -> list[str]:
    """The paths that a pattern means, `*` standing for anything but a slash, in their order."""
    plain = isinstance(pattern, str) and _PLAIN_PATTERN.fullmatch(pattern) and "**" not in pattern
    if not plain or pattern.startswith((".", "/")):
        return []
    wanted = re.compile("[^/]*".join(map(re.escape, pattern.split("*"))))
    hidden = re.compile(r"(^|/)[._]")
    return sorted(path for path in paths if wanted.fullmatch(path) and not hidden.search(path))


def _columns(features: list[Any]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for feature in features:
        if not isinstance(feature, dict) or "name" not in feature:
            return {}
        is_plain = set(feature) == _PLAIN_FEATURE and isinstance(feature["dtype"], str)
        columns[str(feature["name"])] = feature["dtype"] if is_plain else feature
    return columns
