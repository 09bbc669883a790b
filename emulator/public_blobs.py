"""Blobs of other storage accounts, read over https from what the emulator holds of them."""

import asyncio

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from emulator import blob
from emulator.http import AzureError, emulator_of
from emulator.web import held_path


async def handle(request: Request) -> Response:
    """Answer with the file that is held for an address; else as for an unknown account."""
    config = emulator_of(request).config
    if request.method in ("GET", "HEAD") and request.url.hostname != config.blob_host:
        address = f"https://{request.url.hostname}{request.url.path}"
        try:
            file = await asyncio.to_thread(held_path, config, address)
        except AzureError:
            return await blob.handle(request)
        if file.is_file():
            return FileResponse(file, headers={"x-ms-blob-type": "BlockBlob"})
    return await blob.handle(request)
