"""What the errors of services and SDKs mean: for a person, and for another try."""

import errno
import os
import re
from typing import Any

from tasks.errors import (
    ErrorKind,
    JobFailed,
    NotFound,
    PermissionProblem,
    QuotaExceeded,
    UserError,
)
from tasks.scrubbing import scrub

_LONGEST_TEXT = 600
WHILE = "While: "  # begins a note on an error: what was being done when it came
_QUOTA = re.compile(
    r"quota|not ?enough ?cores|corecount|ClusterCoreQuotaReached|OutOfCapacity|SkuNotAvailable"
    r"|AllocationFailed",
    re.IGNORECASE,
)


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error of azure-core, requests, httpx or MLflow carries."""
    for source in (error, getattr(error, "response", None)):
        status = getattr(source, "status_code", None)
        if isinstance(status, int):
            return status
    get_status = getattr(error, "get_http_status_code", None)  # MlflowException
    if callable(get_status):
        status = get_status()
        return status if isinstance(status, int) else None
    return None


def azure_code_and_text(error: BaseException) -> tuple[str, str]:
    """Azure's error code ("" when there is none) and its text on one line, secrets removed."""
    body: Any = getattr(error, "error", None)
    code = str(getattr(body, "code", None) or "")
    text = str(getattr(body, "message", None) or getattr(error, "message", None) or error)
    text = text.split("\nCode:")[0].split("\nTo mitigate this issue")[0]
    if code and text.startswith(f"({code})"):
        text = text[len(code) + 2 :]
    text = " ".join(scrub(text).split())
    if len(text) > _LONGEST_TEXT:
        text = text[:_LONGEST_TEXT].rstrip() + " ..."
    return code, text


def _noted(error: BaseException) -> str | None:
    notes = (note for note in getattr(error, "__notes__", ()) if note.startswith(WHILE))
    return next((note.removeprefix(WHILE) for note in notes), None)


def explain(error: BaseException, doing: str) -> UserError | None:
    """The error of a service or its SDK as one that says what was being done and what to do next.

    `doing` completes "... failed", for example "Looking up model Phi-4"; what was noted on the
    error itself is more precise and goes before it. A UserError comes back as it is; None means
    that the error is not of a known service: a bug, to be shown with its trace.
    """
    if isinstance(error, UserError):
        return error
    doing = _noted(error) or doing
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        return UserError(
            f"{doing} failed: {error.filename or 'the disk'}: {os.strerror(error.errno)}.",
            "Free some space there or correct its permissions, or set FINETUNE_HOME to another "
            "folder.",
        )
    kinds = _kinds(error)
    if not kinds & _SERVICE_ERRORS:
        return None
    code, text = azure_code_and_text(error)
    status = status_of(error)
    # What an operation failed with comes in an answer that itself is a 200.
    answer = (
        " ".join(filter(None, [str(status) if status and status >= 400 else "", code]))
        or type(error).__name__
    )
    message = f"{doing} failed: {answer}: {text}" + ("" if text.endswith((".", "!", "?")) else ".")
    if "azure.ai.ml.exceptions.JobException" in kinds:
        return JobFailed(f"{doing} failed: {text}", "Open the job in the studio for its logs.")
    if is_transient(error):
        return UserError(
            message,
            "The service did not answer properly; check the network and Azure's status, then run "
            "again: work that is done already is adopted.",
            ErrorKind.TRANSIENT,
        )
    if _QUOTA.search(f"{code} {text}"):
        return QuotaExceeded(
            message,
            "Ask for more quota of this VM family in the Azure portal (Quotas, Machine Learning), "
            "or choose a smaller size or another region.",
        )
    if "RESOURCE NOT FOUND" in str(getattr(error, "error_type", "")).replace("_", " ").upper():
        kinds.add(_SDK_MISSING)
    unreadable = "azure.core.exceptions.DecodeError" in kinds
    failed_later = status is not None and status < 400 and not _BAD_INPUT.search(code)
    if unreadable or failed_later:
        return UserError(
            message,
            "The service failed, not what it was asked for: look at Azure's status and run again; "
            "work that is done already is adopted.",
            ErrorKind.SERVICE,
        )
    return _by_status(status, kinds, message)


def _by_status(status: int | None, kinds: set[str], message: str) -> UserError:
    if status == 403:
        return PermissionProblem(
            message,
            "Give the identity the role AzureML Data Scientist on the workspace (and AzureML "
            "Registry User on a private registry).",
        )
    if status == 401 or "azure.core.exceptions.ClientAuthenticationError" in kinds:
        return PermissionProblem(
            message,
            "Check the credential of the workspace block: tenant, client id and secret, or sign in "
            "with `az login`.",
        )
    if status == 404 or kinds & {"azure.core.exceptions.ResourceNotFoundError", _SDK_MISSING}:
        return NotFound(
            message, "Check the name, and the subscription, resource group and workspace."
        )
    if status == 409:
        return UserError(
            message,
            "Another operation on it is under way: wait until it has ended and run again.",
            ErrorKind.TRANSIENT,
        )
    if status == 501:
        return UserError(message, "The service does not support this.", ErrorKind.SERVICE)
    return UserError(message, "Correct what the message names and run again.")


_BAD_INPUT = re.compile(r"bad|invalid|user|validation|notfound|unsupported", re.IGNORECASE)
"""Codes of an operation that was accepted and failed, by the fault of who asked for it."""
_DISK_ERRORS = {
    errno.EACCES,
    errno.EDQUOT,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
_SERVICE_ERRORS = {
    "azure.core.exceptions.AzureError",
    "azure.ai.ml.exceptions.MlException",
    "mlflow.exceptions.MlflowException",
    "requests.exceptions.RequestException",
    "httpx.HTTPError",
    "urllib3.exceptions.HTTPError",
    "builtins.ConnectionError",
    "builtins.TimeoutError",
}
# The SDK answers a missing asset with a ValidationException when the latest version was asked for.
_SDK_MISSING = "azure.ai.ml.exceptions.ValidationException: resource not found"
# Two runs that upload the same content at once: the next try finds it there.
_UPLOADED_MEANWHILE = "BlobAlreadyExists"
_LASTING = {  # kinds of connection errors that the next try meets again
    "requests.exceptions.SSLError",
    "requests.exceptions.MissingSchema",
    "requests.exceptions.InvalidURL",
    "ssl.SSLCertVerificationError",
    "httpx.UnsupportedProtocol",
    "huggingface_hub.errors.OfflineModeIsEnabled",
    "datasets.exceptions.DatasetNotFoundError",
}
_CONNECTION_ERRORS = {
    "azure.core.exceptions.ServiceRequestError",
    "azure.core.exceptions.ServiceResponseError",
    "azure.core.exceptions.IncompleteReadError",
    "requests.exceptions.ConnectionError",
    "requests.exceptions.Timeout",
    "requests.exceptions.ChunkedEncodingError",
    "httpx.TransportError",
    "urllib3.exceptions.ProtocolError",
    "urllib3.exceptions.TimeoutError",
    "builtins.ConnectionError",
    "builtins.TimeoutError",
    "socket.gaierror",
}
# DefaultAzureCredential keeps only the text of what each credential met.
_SIGN_IN_CUT_OFF = re.compile(
    r"Authentication failed: .*(Failed to establish a new connection|Unable to connect to proxy"
    r"|Failed to resolve|timed out|Connection (?:aborted|reset|refused))"
)


def _kinds(error: BaseException) -> set[str]:
    """Full names of the error's classes: tells kinds apart without importing their packages."""
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    # httpx2, requests_* and httpx's private modules export the same classes under other names.
    return names | {re.sub(r"^httpx2?(\.\w+)*\.", "httpx.", name) for name in names}


def is_transient(error: BaseException | None) -> bool:
    """Whether the same call may succeed a little later: 408, 429, 5xx, connections, time-outs.

    Looks through the causes of an error that has no HTTP status of its own: a sign-in that failed
    because the network was down is transient, one with a wrong secret is not.
    """
    for _ in range(5):
        if error is None or isinstance(error, UserError):
            return False
        status = status_of(error)
        if status == 409 and getattr(error, "error_code", None) == _UPLOADED_MEANWHILE:
            return True
        if status is not None:
            return status in (408, 429) or (500 <= status <= 599 and status != 501)
        kinds = _kinds(error)
        if kinds & _LASTING or "certificate verify failed" in str(error).lower():
            return False
        if kinds & _CONNECTION_ERRORS or _SIGN_IN_CUT_OFF.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def retry_on_transient(task: Any, task_run: Any, state: Any) -> bool:
    """Prefect's `retry_condition_fn`: retry only what `is_transient`. Never raises itself."""
    try:
        state.result()
    except Exception as error:  # whatever the task raised
        return is_transient(error)
    return False
