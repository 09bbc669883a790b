"""Blobs of other storage accounts, read over https from what the emulator holds of them."""

import asyncio
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from emulator import blob
from emulator.compute.materials import tell
from emulator.http import AzureError, emulator_of
from emulator.web import held_path, synthetic_note

if TYPE_CHECKING:
    from emulator.core import Emulator


async def handle(request: Request) -> Response:
    """Answer with the file that is held for an address; else as for an unknown account."""
    config = emulator_of(request).config
    account = (request.url.hostname or "").partition(".")[0]
    known = emulator_of(request).accounts.path(account) is not None
    if request.method in ("GET", "HEAD") and not known:
        address = f"https://{request.url.hostname}{request.url.path}"
        try:
            file = await asyncio.to_thread(held_path, config, address)
        except AzureError:
            return await blob.handle(request)
        if file.is_file():
            note = synthetic_note(config, file)
            if note and request.method == "GET":
                await asyncio.to_thread(_tell_running, emulator_of(request), note)
            return FileResponse(file, headers={"x-ms-blob-type": "BlockBlob"})
        if request.method == "HEAD" and request.query_params.get("restype") == "container":
            # Readers look first whether a container is open to all.
            return _container(file)
    return await blob.handle(request)


def _container(folder: Path) -> Response:
    """The properties of a container of which something is held."""
    changed = folder.stat().st_mtime
    headers = {
        "last-modified": formatdate(changed, usegmt=True),
        "etag": f'"0x{int(changed * 1e7):X}"',
        "x-ms-blob-public-access": "container",
        "x-ms-lease-state": "available",
        "x-ms-lease-status": "unlocked",
    }
    return Response(headers=headers)


def _tell_running(emulator: "Emulator", note: str) -> None:
    """Who asks is not known, as public blobs need no token: each job that runs is told."""
    for name, _ in emulator.jobs.processes.items():
        tell(emulator, name, f"While this job ran, somebody read: {note}")
