"""The Blob service's operations that change something."""

import asyncio
import base64
import binascii
import hashlib
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path

from starlette.responses import Response

from emulator.blob_blocks import Place, join
from emulator.blob_call import CONTENT_HEADERS, Call, http_date
from emulator.blob_store import Blob, BlobError

_HELD = 4 << 20
_MOST_CHUNKS = 512
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
        digest = await _receive(call, Place(file, 0))
        call.check_write()
        blob = call.store.commit(
            call.container, call.name, file, _headers(call, digest), call.metadata()
        )
    finally:
        file.unlink(missing_ok=True)
    call.store.blocks.drop(call.key)
    return _written(blob, digest)


async def put_block(call: Call) -> Response:
    """Put Block: a part of a blob, kept until a block list names it."""
    block = _block_id(call.query.get("blockid", ""))
    told = call.request.headers.get("content-length", "")
    length = int(told) if told.isdigit() else None
    file = call.store.new_file()
    try:
        # As the service since 2019: an MD5 is told to who sent one.
        claimed = "content-md5" in call.request.headers
        with call.store.blocks.writing(call.key, block, length, file) as place:
            digest = await _receive(call, place, with_md5=claimed)
    finally:
        file.unlink(missing_ok=True)
    md5 = {"content-md5": _base64(digest)} if digest else {}
    return Response(status_code=201, headers=md5 | _ENCRYPTED)


async def put_block_list(call: Call) -> Response:
    """Put Block List: the blocks, in this order, are the blob."""
    blocks = _block_list(await _body(call))
    if file := call.store.blocks.whole(call.key, blocks):
        # Nothing is awaited from here on: no other request comes between.
        return _commit_blocks(call, file)
    joined = call.store.new_file()
    try:
        await _join(call, blocks, joined)
        return _commit_blocks(call, joined)
    finally:
        joined.unlink(missing_ok=True)


def _commit_blocks(call: Call, file: Path) -> Response:
    call.check_write()
    blob = call.store.commit(call.container, call.name, file, _headers(call, None), call.metadata())
    call.store.blocks.drop(call.key)
    return _written(blob, None)


async def _join(call: Call, blocks: list[bytes], joined: Path) -> None:
    parts = [call.store.blocks.part(call.key, block) for block in blocks]
    missing = [block for block, part in zip(blocks, parts, strict=True) if part is None]
    if missing:
        raise BlobError(
            400,
            "InvalidBlockList",
            f"The specified block list is invalid: {len(missing)} of its {len(blocks)} blocks "
            f"were not uploaded, the first is {_base64(missing[0])}. The local store does not "
            "keep the blocks of a committed blob.",
        )
    try:
        await asyncio.to_thread(join, [part for part in parts if part], joined)
    except FileNotFoundError as error:
        raise BlobError(
            400,
            "InvalidBlockList",
            "The specified block list is invalid: another upload of the same blob was committed "
            "meanwhile, which takes its blocks along. Upload the blocks again.",
        ) from error


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


async def _receive(call: Call, place: Place, with_md5: bool = True) -> bytes:
    """Write the request's body there, some of it at a time; gives its MD5, or nothing."""
    digest = hashlib.md5(usedforsecurity=False) if with_md5 else None
    chunks: list[bytes] = []
    held = 0
    # A place in a file that is there is written to; the rest of that file stays as it is.
    with place.file.open("r+b" if place.file.exists() else "wb") as target:
        target.seek(place.offset)

        def flush(chunks: list[bytes]) -> None:
            if digest:
                for chunk in chunks:
                    digest.update(chunk)
            target.writelines(chunks)

        async for chunk in call.request.stream():
            chunks.append(chunk)
            held += len(chunk)
            if held >= _HELD or len(chunks) >= _MOST_CHUNKS:
                await asyncio.to_thread(flush, chunks)
                chunks, held = [], 0
        await asyncio.to_thread(flush, chunks)
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
