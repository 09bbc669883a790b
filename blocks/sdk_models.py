"""Makes the SDK's model classes ready for threads.

A class of the SDK's REST models fills in the types of its fields when its first object is made,
without a lock. Where two threads do so at once, one of them may read an answer whose nested
objects are plain dicts, and fails on `'dict' object has no attribute ...`.
"""

import sys
import threading
from collections.abc import Iterator
from typing import Any

_MODEL_BASE = "._utils.model_base"
_PACKAGES = ("azure.ai.ml.", "azure.mgmt.")
_lock = threading.Lock()
_ready: set[type] = set()


def complete_sdk_models() -> None:
    """Complete every model class that is loaded by now. Call it before a client is shared.

    It takes some 80 ms the first time. Safe to call from several threads at once.
    """
    with _lock:
        for model in list(_models()):
            if model not in _ready:
                _complete(model)
                _ready.add(model)


def _models() -> Iterator[type]:
    for name, module in list(sys.modules.items()):
        if name.startswith(_PACKAGES) and name.endswith(_MODEL_BASE):
            base: Any = getattr(module, "Model", None)
            if isinstance(base, type):
                yield from _below(base)


def _below(base: Any) -> Iterator[type]:
    for model in base.__subclasses__():
        yield model
        yield from _below(model)


def _complete(model: Any) -> None:
    model.__new__(model)
