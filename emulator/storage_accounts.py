"""The storage accounts that clients make beside the emulator's own: each a blob store."""

import base64
import secrets
import shutil
from typing import TYPE_CHECKING, Any

from emulator.blob_store import BlobStore

if TYPE_CHECKING:
    from emulator.core import Emulator

_DOCUMENT = "storage accounts"


class StorageAccounts:
    """Blob stores by the names of their accounts, which are unique, as they are names of hosts."""

    def __init__(self, emulator: "Emulator") -> None:
        self._emulator = emulator
        self._known = emulator.store.document(_DOCUMENT)
        self._stores: dict[str, BlobStore] = {}
        self._root = emulator.config.state / "accounts"

    def create(self, name: str, path: str) -> None:
        """Make an account for the resource with this path."""
        self._known.put(name, {"path": path, "keys": [_new_key(), _new_key()]})

    def path(self, name: str) -> str | None:
        """The path of an account's resource; None where there is no such account."""
        if name == self._emulator.config.account:
            return self._emulator.config.storage_path
        known = self._known.get(name)
        return known["path"] if known else None

    def paths(self) -> list[str]:
        """The paths of the accounts that clients made."""
        return [known["path"] for _, known in self._known.items()]

    def keys(self, name: str) -> list[str]:
        """The base64 keys of an account."""
        if name == self._emulator.config.account:
            return [self._emulator.config.account_key]
        known: dict[str, Any] = self._known.get(name) or {"keys": []}
        return list(known["keys"])

    def renew_key(self, name: str, index: int) -> None:
        known: dict[str, Any] = self._known.get(name) or {}
        known["keys"][index] = _new_key()
        self._known.put(name, known)
        self._stores.pop(name, None)

    def blobs(self, name: str) -> BlobStore | None:
        """The blobs of an account; None where there is no such account."""
        if name == self._emulator.config.account:
            return self._emulator.blobs
        keys = self.keys(name)
        if not keys:
            return None
        if name not in self._stores:
            metadata = self._emulator.store.document(f"blobs of {name}")
            self._stores[name] = BlobStore(self._root / name, name, keys[0], metadata, keys[1:])
        return self._stores[name]

    def delete(self, name: str) -> None:
        """Forget an account and its blobs."""
        if store := self.blobs(name):
            store.clear()
        self._stores.pop(name, None)
        self._known.delete(name)
        shutil.rmtree(self._root / name, ignore_errors=True)

    def clear(self) -> None:
        """Forget all of them; what was said of them in the store is forgotten with that."""
        self._stores.clear()
        shutil.rmtree(self._root, ignore_errors=True)


def _new_key() -> str:
    return base64.b64encode(secrets.token_bytes(64)).decode()
