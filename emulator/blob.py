"""The Azure Blob service: the operations that Azure ML's clients use, on a BlobStore."""

import contextlib
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple
from urllib.parse import unquote
from xml.sax.saxutils import escape

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Scope

from emulator import blob_reads, blob_writes
from emulator.blob_access import authorize
from emulator.blob_call import Call
from emulator.blob_store import BlobError
from emulator.http import emulator_of, request_id, timestamp

DEFAULT_VERSION = "2021-12-02"

_UNSUPPORTED_HEADERS = (
    "x-ms-copy-source",
    "x-ms-encryption-key",
    "x-ms-encryption-scope",
    "x-ms-if-tags",
    "x-ms-range-get-content-md5",
    "x-ms-range-get-content-crc64",
    "x-ms-content-crc64",
    "x-ms-structured-body",
    "x-ms-tags",
)
_UNSUPPORTED_QUERY = ("snapshot", "versionid", "deletetype")


class Operation(NamedTuple):
    """One operation: its name in the service's specification, and what a SAS must allow."""

    name: str
    permissions: str
    handler: Callable[[Call], Awaitable[Response]]


_Key = tuple[bool, str, str, str]

# Of a container (False) or a blob (True): by method, restype and comp.
_OPERATIONS: dict[_Key, Operation] = {
    (False, "PUT", "container", ""): Operation(
        "Container_Create", "cw", blob_writes.create_container
    ),
    (False, "DELETE", "container", ""): Operation(
        "Container_Delete", "d", blob_writes.delete_container
    ),
    (False, "GET", "container", ""): Operation(
        "Container_GetProperties", "r", blob_reads.container_properties
    ),
    (False, "HEAD", "container", ""): Operation(
        "Container_GetProperties", "r", blob_reads.container_properties
    ),
    (False, "GET", "container", "list"): Operation(
        "Container_ListBlobs", "l", blob_reads.list_blobs
    ),
    (True, "PUT", "", ""): Operation("BlockBlob_Upload", "w", blob_writes.put_blob),
    (True, "PUT", "", "block"): Operation("BlockBlob_StageBlock", "cw", blob_writes.put_block),
    (True, "PUT", "", "blocklist"): Operation(
        "BlockBlob_CommitBlockList", "w", blob_writes.put_block_list
    ),
    (True, "PUT", "", "metadata"): Operation("Blob_SetMetadata", "w", blob_writes.set_metadata),
    (True, "DELETE", "", ""): Operation("Blob_Delete", "d", blob_writes.delete_blob),
    (True, "GET", "", ""): Operation("Blob_Download", "r", blob_reads.get_blob),
    (True, "HEAD", "", ""): Operation("Blob_GetProperties", "r", blob_reads.blob_properties),
}
_CREATING = ("BlockBlob_Upload", "BlockBlob_CommitBlockList")


async def handle(request: Request) -> Response:
    """Answer a request to `{account}.blob.core.windows.net`; errors in the service's XML."""
    try:
        response = await _answer(request)
    except BlobError as error:
        # A client that still sends would see a broken connection instead of the answer.
        with contextlib.suppress(RuntimeError, ClientDisconnect):
            async for _ in request.stream():
                pass
        response = error_response(request, error)
    response.headers["x-ms-request-id"] = request_id()
    response.headers["x-ms-version"] = request.headers.get("x-ms-version", DEFAULT_VERSION)
    if client_id := request.headers.get("x-ms-client-request-id"):
        response.headers["x-ms-client-request-id"] = client_id
    return response


async def _answer(request: Request) -> Response:
    emulator = emulator_of(request)
    store = emulator.blobs
    host = (request.url.hostname or "").lower()
    account, _, suffix = host.partition(".")
    if suffix == "blob.core.windows.net" and account != store.account:
        other = emulator.accounts.blobs(account)
        if other is None:
            raise BlobError(
                404, "ResourceNotFound", f"The storage account {account} does not exist."
            )
        store = other
    query = _query(request.scope)
    container, name, key = _target(request.scope, query)
    operation = _OPERATIONS.get(key)
    if operation is None or not container:
        raise _not_supported(
            f"{request.method} {request.url.path} with restype='{key[2]}', comp='{key[3]}'"
        )
    store.path(container, name)
    permissions = operation.permissions
    if operation.name in _CREATING and store.get(container, name) is None:
        permissions += "c"
    action = _action(operation.name, bool(name))
    authorize(request, store, container, name, query, permissions, action)
    _check_supported(request, operation.name, query)
    if operation.name != "Container_Create" and not store.has_container(container):
        raise BlobError(404, "ContainerNotFound", "The specified container does not exist.")
    return await operation.handler(Call(request, store, container, name, query))


def _action(operation: str, of_blob: bool) -> str:
    """What the role of who has a token must allow for an operation."""
    containers = "Microsoft.Storage/storageAccounts/blobServices/containers"
    # What a container holds are blobs, also when they are listed.
    kind = f"{containers}/blobs" if of_blob or operation == "Container_ListBlobs" else containers
    if operation.endswith("_Delete"):
        return f"{kind}/delete"
    read = operation.endswith(("_GetProperties", "_ListBlobs", "_Download"))
    return f"{kind}/read" if read else f"{kind}/write"


def operations() -> Mapping[tuple[bool, str, str, str], Operation]:
    """All operations, by: of a blob (else of a container), method, restype, comp."""
    return _OPERATIONS


def operation_name(scope: Scope) -> str | None:
    """The name of the operation that a request asks for."""
    operation = _OPERATIONS.get(_target(scope, _query(scope))[2])
    return operation.name if operation else None


def _target(scope: Scope, query: dict[str, str]) -> tuple[str, str, _Key]:
    """Container, blob (or nothing), and the key of the operation."""
    container, _, name = unquote(scope["raw_path"].decode("latin-1"))[1:].partition("/")
    key = (bool(name), scope["method"], query.get("restype", ""), query.get("comp", ""))
    return container, name, key


def _query(scope: Scope) -> dict[str, str]:
    pairs = (p.partition("=") for p in scope["query_string"].decode("latin-1").split("&") if p)
    return {unquote(name).lower(): unquote(value) for name, _, value in pairs}


def _check_supported(request: Request, operation: str, query: Iterable[str]) -> None:
    headers = [name for name in _UNSUPPORTED_HEADERS if name in request.headers]
    parameters = [name for name in _UNSUPPORTED_QUERY if name in query]
    if headers or parameters:
        raise _not_supported(f"{operation} with {', '.join(headers + parameters)}")
    if "x-ms-lease-id" in request.headers:
        raise BlobError(
            412,
            "LeaseNotPresentWithBlobOperation",
            "There is currently no lease on the blob: the local store has no leases.",
        )


def _not_supported(what: str) -> BlobError:
    return BlobError(
        501, "NotImplemented", f"The local Azure ML's Blob service does not emulate {what}."
    )


def error_response(request: Request, error: BlobError) -> Response:
    """An error as the service tells it: XML, its code in a header too."""
    # XML has no place for most control characters, and names may hold them.
    message = escape(re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "?", error.message))
    detail = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "?", error.detail)
    more = f"<AuthenticationErrorDetail>{escape(detail)}</AuthenticationErrorDetail>"
    body = (
        '<?xml version="1.0" encoding="utf-8"?>'
        f"<Error><Code>{error.code}</Code><Message>{message}\nTime:{timestamp()}</Message>"
        f"{more if detail else ''}</Error>"
    )
    headers = {"x-ms-error-code": error.code, **error.headers}
    if request.method == "HEAD" or error.status == 304:
        return Response(status_code=error.status, headers=headers)
    return Response(body, error.status, headers, media_type="application/xml")
