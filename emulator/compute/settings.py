"""How the settings of jobs are written: flags, and references to what has a name."""

from collections.abc import Mapping
from typing import Any


def settings(properties: Mapping[str, Any]) -> dict[str, Any]:
    return dict(properties.get("settings") or {})


def flag(value: Any, default: bool) -> bool:
    return default if value is None else str(value).lower() == "true"


def short_name(reference: Any) -> str | None:
    """The last part of an ARM id or of `azureml:name`."""
    if not reference:
        return None
    return str(reference).rstrip("/").rpartition("/")[2].removeprefix("azureml:")


def compute_name(reference: str) -> str:
    return short_name(reference) or "serverless"
