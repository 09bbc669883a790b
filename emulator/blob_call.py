"""One authorized call of the Blob service, and the conditions that it may carry."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from starlette.requests import Request

from emulator.blob_store import Blob, BlobError, BlobStore

CONTENT_HEADERS = (
    "content-type",
    "content-md5",
    "content-encoding",
    "content-language",
    "content-disposition",
    "cache-control",
)


@dataclass(frozen=True)
class Call:
    """A request that was authorized, with the names in its path and its query."""

    request: Request
    store: BlobStore
    container: str
    name: str
    query: dict[str, str]

    @property
    def key(self) -> str:
        """The blob's name in its account."""
        return f"{self.container}/{self.name}"

    def blob(self) -> Blob:
        """The blob that the call is about; 404 when there is none."""
        blob = self.store.get(self.container, self.name)
        if blob is None:
            raise BlobError(404, "BlobNotFound", "The specified blob does not exist.")
        return blob

    def metadata(self) -> dict[str, str]:
        """The x-ms-meta-* headers, without the prefix."""
        metadata = {
            name.removeprefix("x-ms-meta-"): value
            for name, value in self.request.headers.items()
            if name.startswith("x-ms-meta-")
        }
        for name in metadata:
            if not re.fullmatch(r"[a-z_][a-z0-9_]*", name):
                raise BlobError(
                    400,
                    "InvalidMetadata",
                    f"The metadata name '{name}' is invalid: letters, digits and '_', beginning "
                    "with no digit.",
                )
        return metadata

    def check_write(self) -> None:
        """Refuse a write whose conditions the present blob does not meet."""
        blob = self.store.get(self.container, self.name)
        headers = self.request.headers
        if blob and headers.get("if-none-match") == "*":
            raise BlobError(409, "BlobAlreadyExists", "The specified blob already exists.")
        if not self._met(blob):
            raise _condition_not_met(412)

    def check_read(self, blob: Blob) -> None:
        """Refuse a read whose conditions are not met: 412, or 304 when the client is up to date."""
        headers = self.request.headers
        if headers.get("if-none-match") == "*":
            raise BlobError(
                400,
                "UnsatisfiableCondition",
                "The request includes an unsatisfiable condition for this operation.",
            )
        if "if-match" in headers or "if-unmodified-since" in headers:
            if not self._met(blob):
                raise _condition_not_met(412)
        elif not self._met(blob):
            raise _condition_not_met(304)

    def _met(self, blob: Blob | None) -> bool:
        headers = self.request.headers
        match = headers.get("if-match")
        if match and (blob is None or match not in ("*", blob.etag)):
            return False
        match = headers.get("if-none-match")
        if match and blob and match in ("*", blob.etag):
            return False
        since = _date(headers.get("if-modified-since"))
        if since and blob and blob.modified.replace(microsecond=0) <= since:
            return False
        until = _date(headers.get("if-unmodified-since"))
        return not (until and blob and blob.modified.replace(microsecond=0) > until)


def describe(blob: Blob) -> dict[str, str]:
    """The headers that every answer about a blob carries."""
    return {
        "etag": blob.etag,
        "last-modified": http_date(blob.modified),
        "x-ms-creation-time": http_date(blob.created),
        "x-ms-blob-type": "BlockBlob",
        "x-ms-lease-status": "unlocked",
        "x-ms-lease-state": "available",
        "x-ms-server-encrypted": "true",
        "x-ms-access-tier": "Hot",
        "x-ms-access-tier-inferred": "true",
        "accept-ranges": "bytes",
        **blob.headers,
        **{f"x-ms-meta-{name}": value for name, value in blob.metadata.items()},
    }


def http_date(time: datetime) -> str:
    return format_datetime(time.astimezone(UTC), usegmt=True)


def _date(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        return parsedate_to_datetime(text)
    except ValueError as error:
        raise BlobError(
            400, "InvalidHeaderValue", f"'{text}' in one of the headers is not a date."
        ) from error


def _condition_not_met(status: int) -> BlobError:
    return BlobError(
        status,
        "ConditionNotMet",
        "The condition specified using HTTP conditional header(s) is not met.",
    )
