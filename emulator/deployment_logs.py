"""The log files of online deployments."""

from pathlib import Path

from emulator.http import timestamp

_LONGEST_TAIL = 1 << 20
"""Bytes: no more of a log than its end is read."""


def storage_log(log: Path) -> Path:
    """What was put in place before a deployment's process began, beside the log of that."""
    return log.with_suffix(".storage.log")


def note(log: Path, text: str) -> None:
    """Append a line of the emulator's own."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(f"{timestamp()} {text}\n")


def tail(log: Path, count: int) -> str:
    """The last lines of a log; nothing when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _LONGEST_TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return "\n".join(lines[-count:]) if count > 0 else ""
