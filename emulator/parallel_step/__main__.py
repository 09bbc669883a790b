"""Starts the driver from its folder, in a Python that does not have the emulator.

The folder is made the package that it is, and nothing is put on the path: the emulator's modules
would hide others of the same name.
"""

import importlib
import sys
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path


def load(name: str, folder: Path) -> None:
    """Make a folder a package under a name, without running its `__init__.py`."""
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    sys.modules[name] = module_from_spec(spec)


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    del sys.path[0]
    load("emulator", here.parent)
    load("emulator.parallel_step", here)
    sys.exit(importlib.import_module("emulator.parallel_step.driver").main())
