"""Errors of the disk that holds the state folder, as a client and a person read them."""

import errno
import sqlite3

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST})
_OF_SQLITE = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
)
_BROKEN = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
CODE = "InsufficientStorage"
STATUS = 507


class NotKept(Exception):
    """What was written is not on the disk, and is undone."""


def storage_problem(error: BaseException) -> str | None:
    """What to say of an error that is the disk's; None of any other."""
    if isinstance(error, NotKept):
        return str(error)
    if isinstance(error, OSError) and error.errno in _FULL:
        return _sentence(str(error.strerror))
    if isinstance(error, sqlite3.OperationalError) and _is_of_disk(error):
        return _sentence(str(error))
    return None


def is_of_state(error: OSError | sqlite3.Error) -> bool:
    """Whether a folder that is full, none, broken, or may not be written to, is the reason."""
    if isinstance(error, OSError):
        return error.errno in _FULL | _FORBIDDEN
    return _is_of_disk(error) or _code(error) in _BROKEN


def _is_of_disk(error: sqlite3.Error) -> bool:
    return _code(error) in _OF_SQLITE


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _sentence(reason: str) -> str:
    return (
        f"The local Azure ML cannot write to its state folder ({reason}); nothing was changed. "
        "Make room there, and send the request again."
    )
