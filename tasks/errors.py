"""Errors that a person can act on."""

from enum import StrEnum

from tasks.scrubbing import scrub


class ErrorKind(StrEnum):
    """What an error is about, and so who can mend it."""

    TRANSIENT = "transient"
    QUOTA = "quota"
    PERMISSION = "permission"
    BAD_INPUT = "bad input"
    OUT_OF_MEMORY = "out of memory"
    SERVICE = "service"


class UserError(Exception):
    """Something that a person caused or can mend.

    The text names the thing and the reason; `advice` is the next step. `str()` gives both.
    """

    kind = ErrorKind.BAD_INPUT
    """The class's own kind; an error that was explained from a service's answer has its own."""

    def __init__(self, message: str, advice: str = "", kind: ErrorKind | None = None) -> None:
        self.message = scrub(message)
        self.advice = scrub(advice)
        self.kind = kind or type(self).kind
        super().__init__(self.message, self.advice)

    def __str__(self) -> str:
        return f"{self.message} {self.advice}".strip()


class ModelRetired(UserError):
    """The registry no longer offers the model."""


class SizeNotAllowed(UserError):
    """A VM size that the model or the region does not take."""


class DataError(UserError):
    """A data set that is missing, unreadable or unfit for the job."""


class ParameterError(UserError):
    """Training parameters that the component would refuse."""


class NameInvalid(UserError):
    """A name that Azure would refuse."""


class NotFound(UserError):
    """Something that was named does not exist."""


class PermissionProblem(UserError):
    """Signing in failed, or the identity lacks a role."""

    kind = ErrorKind.PERMISSION


class QuotaExceeded(UserError):
    """The subscription or the region has too few cores."""

    kind = ErrorKind.QUOTA


class JobFailed(UserError):
    """The fine-tuning job ended without success."""


class DeploymentFailed(UserError):
    """The endpoint or its deployment was not created."""

    kind = ErrorKind.SERVICE


class EndpointError(UserError):
    """The deployed model did not answer properly."""

    kind = ErrorKind.SERVICE


class DeadlineExceeded(UserError):
    """External work took longer than its deadline."""

    kind = ErrorKind.SERVICE
