"""The files of the models that registry folders hold, as blobs that clients can download."""

import asyncio
import hashlib
import os
import shutil
from pathlib import Path

from emulator.blob_store import BlobStore
from emulator.registry import NAME, Asset
from emulator.resource_manager.asset_kinds import MODELS, Kind
from emulator.resource_manager.places import Place
from emulator.store import Resource

_CONTAINER = "azureml-registry"


async def with_files(
    place: Place, kind: Kind, name: str, versions: list[Resource]
) -> list[Resource]:
    """The versions of a model with addresses of blobs in place of those of folders."""
    if place.registry != NAME or kind is not MODELS:
        return versions
    registry = place.emulator.registry
    held = {asset.version: asset for asset in registry.versions(MODELS.collection, name)}
    for version in versions:
        asset = held.get(version["name"])
        if asset is not None and version["properties"]["modelUri"] == asset.id:
            folder = registry.model_folder(name, asset.version)
            blobs = place.emulator.blobs
            version["properties"]["modelUri"] = await asyncio.to_thread(
                _publish, blobs, asset, folder
            )
    return versions


def _publish(blobs: BlobStore, asset: Asset, folder: Path) -> str:
    """Make sure that a folder's files are blobs; gives the address of their prefix.

    What was changed in the folder since is published below another prefix.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    state = [(str(f.relative_to(folder)), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    digest = hashlib.sha256(repr(state).encode()).hexdigest()[:16]
    prefix = f"{asset.name}/{asset.version}/{digest}/{folder.name}"
    target = blobs.path(_CONTAINER, prefix)
    if not target.is_dir():
        blobs.create_container(_CONTAINER)
        new = blobs.new_file()
        for file in files:
            _link(file.resolve(), new / file.relative_to(folder))
        new.mkdir(exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(new, target)
        except OSError:  # another request was first
            shutil.rmtree(new)
    return blobs.url(_CONTAINER, prefix)


def _link(file: Path, target: Path) -> None:
    """The same file at a second place, or a copy where the file system has no such thing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)
