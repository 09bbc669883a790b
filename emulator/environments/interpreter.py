"""What an environment comes to: a Python, or the reason why there is none."""

import sys
from dataclasses import dataclass
from pathlib import Path

FAILURE = "ImageBuildFailure"
"""The code of an environment that cannot be built."""


@dataclass(frozen=True)
class Interpreter:
    """The Python of an environment."""

    python: Path
    own: bool
    """Whether it is the Python that runs the emulator, with all of its packages."""
    notes: tuple[str, ...] = ()
    """Sentences for a person who reads the log: what was built, what differs from the cloud."""
    beneath: Path | None = None
    """The scripts of the environment that this one is a layer over."""

    @property
    def scripts(self) -> Path:
        """The folder of `python`, `pip` and the scripts of installed packages."""
        return self.python.parent

    @property
    def folders(self) -> tuple[Path, ...]:
        """What stands first in PATH."""
        return (self.scripts, self.beneath) if self.beneath else (self.scripts,)


class EnvironmentFailed(Exception):
    """An environment that cannot be had. The message holds what pip said, where it was asked."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def own_python(*notes: str) -> Interpreter:
    return Interpreter(Path(sys.executable), True, notes)
