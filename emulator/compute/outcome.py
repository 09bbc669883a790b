"""How a step ended, told in the service's words."""

import shlex
from pathlib import Path

from emulator.compute.plan import Command
from emulator.compute.process import Exit
from emulator.environments.interpreter import FAILURE, EnvironmentFailed

MOST_ERROR_CHARACTERS = 2000


class StepError(Exception):
    """Why a step failed, as its job's error says it."""

    def __init__(self, message: str, code: str = "UserError") -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def environment_error(failure: EnvironmentFailed) -> StepError:
    """A job whose environment cannot be had; the service calls every environment an image."""
    if failure.code != FAILURE:
        return StepError(failure.message, failure.code)
    return StepError(
        "Image build failed. For more details, check log file "
        f"azureml-logs/20_image_build_log.txt. Error: {failure.message}"
    )


class StepTimeout(Exception):
    """The step ran longer than it may."""


def judge(exit_: Exit, command: Command, log: Path) -> None:
    """Raise for an end that is not success, in the service's words."""
    if exit_.timed_out:
        limit = command.timeout
        raise StepTimeout(
            f"The job was canceled because it ran longer than its limit of {limit:g} seconds "
            "(limits.timeout)."
        )
    if exit_.code == 0:
        return
    raise StepError(
        f"Execution failed. User process '{_program(command.text)}' exited with status "
        f"code {exit_.code}. Please check log file 'user_logs/std_log.txt' for error details. "
        f"Error: {last_words(log)}"
    )


def _program(command: str) -> str:
    try:
        return Path(shlex.split(command, comments=False)[0]).name
    except (ValueError, IndexError):
        return "bash"


def last_words(log: Path) -> str:
    """The end of a log that says why: from its last traceback on, or its last lines."""
    with log.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 8 * MOST_ERROR_CHARACTERS))
        text = file.read().decode("utf-8", "replace").rstrip()
    traceback = text.rfind("Traceback (most recent call last)")
    words = text[traceback:] if traceback >= 0 else "\n".join(text.splitlines()[-10:])
    return words[-MOST_ERROR_CHARACTERS:]
