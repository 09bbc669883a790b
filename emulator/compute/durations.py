"""Time limits as Azure ML writes them: ISO 8601 durations, or seconds inside of nodes."""

import re
from typing import Any

_DURATION = re.compile(
    r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.IGNORECASE
)


def seconds(value: Any) -> float | None:
    """`PT1M30S`, `90` or `"90"` as seconds; None for no limit. Raises ValueError."""
    if value is None or value == "":
        return None
    text = str(value)
    if match := _DURATION.fullmatch(text):
        if not any(match.groups()):
            raise ValueError(f"{text!r} is not a duration; write PT30S or PT1H30M.")
        days, hours, minutes, rest = (float(part or 0) for part in match.groups())
        return days * 86400 + hours * 3600 + minutes * 60 + rest
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a duration; write PT30S or PT1H30M.") from None
