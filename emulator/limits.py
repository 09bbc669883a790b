"""How much a request may bring where its whole body is held in memory."""

from starlette.types import Message, Receive, Scope

from emulator.http import AzureError

MOST_BYTES = 64 << 20
"""Of a body, for every service but the blob store, which writes to the disk as it reads."""


def limited(scope: Scope, receive: Receive) -> Receive:
    """The same messages; AzureError 413 once the body is longer than it may be."""
    told = next((v for k, v in scope["headers"] if k == b"content-length"), b"0")
    if told.isdigit() and int(told) > MOST_BYTES:
        raise _too_large()
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MOST_BYTES:
            raise _too_large()
        return message

    return counted


def _too_large() -> AzureError:
    return AzureError(
        413,
        "RequestEntityTooLarge",
        f"The request's body is longer than {MOST_BYTES >> 20} MB, the most that the local Azure "
        "ML reads. Upload data to the blob store instead.",
        {"Connection": "close"},
    )
