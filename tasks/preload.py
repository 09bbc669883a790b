"""Importing what every run needs, while something else is waited for."""

import importlib
import threading

_NEEDED = ("azure.ai.ml", "azure.ai.ml.entities", "azure.identity")
"""They take seconds to import, and the first thing that a run does is to sign in."""


def import_meanwhile() -> threading.Thread:
    """Import them in a thread of their own, for use where Prefect's server is about to start."""
    thread = threading.Thread(target=_import_all, name="imports", daemon=True)
    thread.start()
    return thread


def _import_all() -> None:
    for name in _NEEDED:
        try:
            importlib.import_module(name)
        except ImportError:
            return  # told by whoever needs it
