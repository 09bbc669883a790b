"""What a session of the contract tests creates: its names, its tag, its requests."""

import logging
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

TAG = "contract-tests"
_LOGGER = "azure.core.pipeline.policies.http_logging_policy"
_PUT = re.compile(r"Request URL: 'https://[^/']+(?P<path>/[^?']*)[^\n]*\nRequest method: 'PUT'")
_VERSION = re.compile(r"/(?:codes|components|environments|data|models)/[^/]+/versions/[^/]+")


@dataclass
class Created:
    """Names that no one else has: each begins with the session's prefix.

    Versions of assets that get names of their own are known by the requests that made them.
    """

    prefix: str = field(default_factory=lambda: f"ct{secrets.token_hex(4)}")
    versions: set[str] = field(default_factory=set)
    """Paths below the workspace."""
    files: set[str] = field(default_factory=set)
    """Addresses of files that nothing refers to any more."""
    _count: int = 0

    @property
    def tags(self) -> dict[str, str]:
        return {TAG: self.prefix}

    def name(self, what: str, separator: str = "-") -> str:
        """A new name of at most 24 characters, which is what every kind of resource allows."""
        self._count += 1
        name = f"{self.prefix}{separator}{what}{self._count}"
        assert re.fullmatch(r"[a-z][a-z0-9_-]{2,23}", name), name
        return name

    def is_ours(self, name: str) -> bool:
        return name.startswith(self.prefix)

    @contextmanager
    def watching(self, workspace: str) -> Iterator[None]:
        """Note what the SDK puts below a workspace (its path), by the SDK's own log."""
        handler = _Handler(self, workspace.lower())
        logger = logging.getLogger(_LOGGER)
        level, propagate = logger.level, logger.propagate
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


class _Handler(logging.Handler):
    def __init__(self, created: Created, workspace: str) -> None:
        super().__init__()
        self._created = created
        self._workspace = workspace

    def emit(self, record: logging.LogRecord) -> None:
        put = _PUT.search(record.getMessage())
        if put and put["path"].lower().startswith(self._workspace):
            path = put["path"][len(self._workspace) :]
            if _VERSION.fullmatch(path):
                self._created.versions.add(path)
