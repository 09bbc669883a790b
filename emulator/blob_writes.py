"""The Blob service's operations that change something."""

import asyncio
import base64
import binascii
import hashlib
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path

from starlette.responses import Response

from emulator.blob_call import CONTENT_HEADERS, Call, http_date
from emulator.blob_store import Blob, BlobError

_BUFFER = 4 << 20
_LONGEST_BLOCK_LIST = 8 << 20


async def create_container(call: Call) -> Response:
    if not call.store.create_container(call.container):
        raise BlobError(409, "ContainerAlreadyExists", "The specified container already exists.")
    modified = datetime.fromtimestamp(call.store.path(call.container).stat().st_mtime, UTC)
    return Response(
        status_code=201, headers={"etag": '"0x1"', "last-modified": http_date(modified)}
    )


async def delete_container(call: Call) -> Response:
    await asyncio.to_thread(call.store.delete_container, call.container)
    return Response(status_code=202)


async def put_blob(call: Call) -> Response:
    """Put Blob: the body is the blob."""
    kind = call.request.headers.get("x-ms-blob-type")
    if kind != "BlockBlob":
        raise BlobError(
            501,
            "NotImplemented",
            f"The local Azure ML's Blob service keeps block blobs only, not {kind}.",
        )
    file = call.store.new_file()
    try:
        digest = await _receive(call, file)
        call.check_write()
        blob = call.store.commit(
            call.container, call.name, file, _headers(call, digest), call.metadata()
        )
    finally:
        file.unlink(missing_ok=True)
    call.store.drop_blocks(call.container, call.name)
    return _written(blob, digest)


async def put_block(call: Call) -> Response:
    """Put Block: a part of a blob, kept until a block list names it."""
    target = call.store.block_file(
        call.container, call.name, _block_id(call.query.get("blockid", ""))
    )
    file = call.store.new_file()
    try:
        # As the service since 2019: an MD5 is told to who sent one.
        claimed = "content-md5" in call.request.headers
        digest = await _receive(call, file, with_md5=claimed)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)
    finally:
        file.unlink(missing_ok=True)
    md5 = {"content-md5": _base64(digest)} if digest else {}
    return Response(status_code=201, headers=md5 | _ENCRYPTED)


async def put_block_list(call: Call) -> Response:
    """Put Block List: the blocks, in this order, are the blob."""
    blocks = _block_list(await _body(call))
    missing = [
        block
        for block in blocks
        if not call.store.block_file(call.container, call.name, block).is_file()
    ]
    if missing:
        raise BlobError(
            400,
            "InvalidBlockList",
            f"The specified block list is invalid: {len(missing)} of its {len(blocks)} blocks "
            f"were not uploaded, the first is {_base64(missing[0])}. The local store does not "
            "keep the blocks of a committed blob.",
        )
    file = await asyncio.to_thread(call.store.join_blocks, call.container, call.name, blocks)
    try:
        call.check_write()
        blob = call.store.commit(
            call.container, call.name, file, _headers(call, None), call.metadata()
        )
    finally:
        file.unlink(missing_ok=True)
    call.store.drop_blocks(call.container, call.name)
    return _written(blob, None)


async def set_metadata(call: Call) -> Response:
    blob = call.blob()
    call.check_write()
    blob = call.store.set_metadata(call.container, blob, call.metadata())
    headers = {"etag": blob.etag, "last-modified": http_date(blob.modified)}
    return Response(status_code=200, headers=headers | _ENCRYPTED)


async def delete_blob(call: Call) -> Response:
    call.blob()
    call.check_write()
    call.store.delete(call.container, call.name)
    return Response(status_code=202, headers={"x-ms-delete-type-permanent": "true"})


_ENCRYPTED = {"x-ms-request-server-encrypted": "true"}


async def _receive(call: Call, file: Path, with_md5: bool = True) -> bytes:
    """Write the request's body to a file, a buffer at a time; gives its MD5, or nothing."""
    digest = hashlib.md5(usedforsecurity=False) if with_md5 else None
    buffer = bytearray()
    with file.open("wb") as target:

        def flush(content: bytes) -> None:
            if digest:
                digest.update(content)
            target.write(content)

        async for chunk in call.request.stream():
            buffer += chunk
            if len(buffer) >= _BUFFER:
                await asyncio.to_thread(flush, bytes(buffer))
                buffer.clear()
        await asyncio.to_thread(flush, bytes(buffer))
    if digest is None:
        return b""
    claimed = call.request.headers.get("content-md5")
    if claimed and claimed != _base64(digest.digest()):
        raise BlobError(
            400,
            "Md5Mismatch",
            "The MD5 value specified in the request did not match with the MD5 value calculated "
            "by the server.",
        )
    return digest.digest()


async def _body(call: Call) -> bytes:
    body = bytearray()
    async for chunk in call.request.stream():
        body += chunk
        if len(body) > _LONGEST_BLOCK_LIST:
            raise BlobError(413, "RequestBodyTooLarge", "The block list is too long.")
    return bytes(body)


def _headers(call: Call, digest: bytes | None) -> dict[str, str]:
    """The content headers that the blob keeps: what the client says of it, and its MD5."""
    given = call.request.headers
    kept = {}
    for name in CONTENT_HEADERS:
        # x-ms-blob-* describe the blob; the plain ones may describe the request's body.
        value = given.get(f"x-ms-blob-{name}")
        if value is None and digest is not None and name != "content-md5":
            value = given.get(name)
        if value:
            kept[name] = value
    kept.setdefault("content-type", "application/octet-stream")
    if digest is not None:
        kept.setdefault("content-md5", _base64(digest))
    return kept


def _written(blob: Blob, digest: bytes | None) -> Response:
    headers = {"etag": blob.etag, "last-modified": http_date(blob.modified), **_ENCRYPTED}
    if digest is not None:
        headers["content-md5"] = _base64(digest)
    return Response(status_code=201, headers=headers)


def _block_list(body: bytes) -> list[bytes]:
    # Expat refuses entity bombs only in newer builds; a block list needs no document type.
    if b"<!" in body:
        raise _bad_xml("a document type is not allowed")
    try:
        root = ET.fromstring(body)
    except ET.ParseError as error:
        raise _bad_xml(str(error)) from error
    if any(item.tag not in ("Latest", "Uncommitted", "Committed") for item in root):
        raise _bad_xml("only Latest, Uncommitted and Committed are allowed")
    return [_block_id((item.text or "").strip()) for item in root]


def _bad_xml(reason: str) -> BlobError:
    return BlobError(400, "InvalidXmlDocument", f"XML specified is not valid: {reason}.")


def _block_id(text: str) -> bytes:
    try:
        block = base64.b64decode(text, validate=True)
    except binascii.Error:
        block = b""
    if not 0 < len(block) <= 64:
        raise BlobError(
            400,
            "InvalidQueryParameterValue",
            f"The block ID '{text[:100]}' must be the base64 of 1 to 64 bytes.",
        )
    return block


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
