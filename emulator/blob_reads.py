"""The Blob service's operations that only read."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import IO
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from starlette.responses import Response, StreamingResponse

from emulator.blob_call import Call, describe, http_date
from emulator.blob_store import Blob, BlobError
from emulator.http import is_count

_CHUNK = 1 << 20
_LONGEST_PAGE = 5000
_RANGE = re.compile(r"bytes=([0-9]{1,19})-([0-9]{0,19})")
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_OVERRIDES = {
    "rscc": "cache-control",
    "rscd": "content-disposition",
    "rsce": "content-encoding",
    "rscl": "content-language",
    "rsct": "content-type",
}
_PROPERTIES = {
    "content-type": "Content-Type",
    "content-encoding": "Content-Encoding",
    "content-language": "Content-Language",
    "content-md5": "Content-MD5",
    "cache-control": "Cache-Control",
    "content-disposition": "Content-Disposition",
}


async def container_properties(call: Call) -> Response:
    modified = datetime.fromtimestamp(call.store.path(call.container).stat().st_mtime, UTC)
    headers = {
        "etag": f'"0x{int(modified.timestamp() * 1e6):X}"',
        "last-modified": http_date(modified),
        "x-ms-lease-status": "unlocked",
        "x-ms-lease-state": "available",
        "x-ms-has-immutability-policy": "false",
        "x-ms-has-legal-hold": "false",
    }
    return Response(status_code=200, headers=headers)


async def blob_properties(call: Call) -> Response:
    blob = call.blob()
    call.check_read(blob)
    return Response(status_code=200, headers={**describe(blob), "content-length": str(blob.size)})


async def get_blob(call: Call) -> Response:
    """Get Blob, or the range of it that x-ms-range or Range asks for."""
    blob = call.blob()
    call.check_read(blob)
    headers = describe(blob)
    headers |= _overrides(call.query)
    asked = call.request.headers.get("x-ms-range") or call.request.headers.get("range", "")
    first, last, status = 0, blob.size - 1, 200
    if match := _RANGE.fullmatch(asked):
        first, status = int(match[1]), 206
        last = min(int(match[2] or last), blob.size - 1)
        if first >= blob.size or last < first:
            raise BlobError(
                416,
                "InvalidRange",
                "The range specified is invalid for the current size of the resource.",
                headers={"content-range": f"bytes */{blob.size}"},
            )
        headers["content-range"] = f"bytes {first}-{last}/{blob.size}"
        # The MD5 is the whole blob's; Content-MD5 would be the body's.
        if md5 := headers.pop("content-md5", None):
            headers["x-ms-blob-content-md5"] = md5
    length = last - first + 1
    headers["content-length"] = str(length)
    return StreamingResponse(_read(blob.file.open("rb"), first, length), status, headers)


def _overrides(query: Mapping[str, str]) -> dict[str, str]:
    """The headers that the query asks for in place of the blob's own."""
    found = {header: query[name] for name, header in _OVERRIDES.items() if name in query}
    for header, value in found.items():
        if not (value.isascii() and value.isprintable()):
            raise BlobError(
                400,
                "InvalidQueryParameterValue",
                "Value for one of the query parameters specified in the request URI is invalid: "
                f"{value!a} cannot be the header {header}.",
            )
    return found


async def _read(file: IO[bytes], first: int, length: int) -> AsyncIterator[bytes]:
    with file:
        file.seek(first)
        while length > 0:
            chunk = await asyncio.to_thread(file.read, min(_CHUNK, length))
            if not chunk:
                return
            length -= len(chunk)
            yield chunk


async def list_blobs(call: Call) -> Response:
    """List Blobs: a page, and the name at which the next one begins."""
    query = call.query
    include = [part for part in query.get("include", "").lower().split(",") if part]
    if query.get("delimiter", "/") != "/" or set(include) - {"metadata", "uncommittedblobs"}:
        raise BlobError(
            501,
            "NotImplemented",
            "The local Azure ML's Blob service lists with the delimiter '/' and include=metadata "
            f"only, not delimiter='{query.get('delimiter')}', include={query.get('include')}.",
        )
    limit = _page_size(query.get("maxresults"))
    prefix, marker = query.get("prefix", ""), query.get("marker", "")
    delimiter = query.get("delimiter", "")
    names = call.store.names(call.container, prefix, marker, delimiter)
    page = list(islice(names, limit + 1))
    following = page[limit] if len(page) > limit else ""
    items = "".join(_item(call, name, "metadata" in include) for name in page[:limit])
    body = (
        '<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint='
        f"{quoteattr(call.store.url(''))} ContainerName={quoteattr(call.container)}>"
        + _element("Prefix", prefix)
        + _element("Marker", marker)
        + _element("MaxResults", str(limit))
        + (_element("Delimiter", delimiter) if delimiter else "")
        + f"<Blobs>{items}</Blobs>"
        + _element("NextMarker", following)
        + "</EnumerationResults>"
    )
    return Response(body, media_type="application/xml")


def _page_size(text: str | None) -> int:
    if text is None:
        return _LONGEST_PAGE
    if not is_count(text) or int(text) == 0:
        raise BlobError(
            400, "OutOfRangeQueryParameterValue", f"maxresults must be 1 or more, not '{text}'."
        )
    return min(int(text), _LONGEST_PAGE)


def _item(call: Call, name: str, with_metadata: bool) -> str:
    if name.endswith("/"):
        return f"<BlobPrefix>{_name(name)}</BlobPrefix>"
    blob = call.store.get(call.container, name)
    # A job may have deleted the file since the folder was read.
    return _blob(blob, with_metadata) if blob else ""


def _blob(blob: Blob, with_metadata: bool) -> str:
    properties = {
        "Creation-Time": http_date(blob.created),
        "Last-Modified": http_date(blob.modified),
        "Etag": blob.etag.strip('"'),
        "Content-Length": str(blob.size),
        **{_PROPERTIES[name]: value for name, value in blob.headers.items()},
        "BlobType": "BlockBlob",
        "AccessTier": "Hot",
        "AccessTierInferred": "true",
        "LeaseStatus": "unlocked",
        "LeaseState": "available",
        "ServerEncrypted": "true",
    }
    listed = "".join(_element(name, value) for name, value in properties.items())
    metadata = "".join(_element(name, value) for name, value in blob.metadata.items())
    more = f"<Metadata>{metadata}</Metadata>" if with_metadata else ""
    return f"<Blob>{_name(blob.name)}<Properties>{listed}</Properties>{more}</Blob>"


def _name(name: str) -> str:
    if _NOT_XML.search(name):
        return f'<Name Encoded="true">{quote(name, errors="surrogateescape")}</Name>'
    return _element("Name", name)


def _element(tag: str, text: str) -> str:
    return f"<{tag}>{escape(text)}</{tag}>"
