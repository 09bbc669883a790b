"""Modules that a package has renamed since the version that a conda file pins.

Where no version near the pin runs on this Python, a later one stands for it. Models that were
pickled with the old one name its modules, and scripts import them; they find those of today.
"""

from collections.abc import Sequence
from pathlib import Path

from emulator.environments.requirement import normal, numbers, parse, versions

_PACKAGE, _RENAMED = "scikit-learn", (0, 24)
"""scikit-learn has had its modules by both names until then."""

_FINDER = '''"""Old names of scikit-learn's modules, for what was written or pickled before 0.24."""

import importlib
import importlib.abc
import importlib.util
import sys

OTHERS = {
    "sklearn.cluster.k_means_": "sklearn.cluster._kmeans",
    "sklearn.ensemble.gradient_boosting": "sklearn.ensemble._gb",
    "sklearn.externals.joblib": "joblib",
    "sklearn.tree.tree": "sklearn.tree._classes",
}


class OldNames(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name.startswith("sklearn.") and name.count(".") == 2 and new_name(name):
            return importlib.util.spec_from_loader(name, self)
        return None

    def create_module(self, spec):
        module = importlib.import_module(new_name(spec.name))
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module):
        # The import system has just given the module the old name's spec.
        module.__spec__ = module.__spec__.loader_state


def new_name(name):
    parent, _, module = name.rpartition(".")
    if module.startswith("_"):
        return None
    found = OTHERS.get(name) or parent + "._" + module.strip("_")
    try:
        return found if importlib.util.find_spec(found) else None
    except ImportError:
        return None


sys.meta_path.append(OldNames())
'''


def keep_old_names(site: Path, wanted: Sequence[str], resolved: Sequence[str]) -> list[str]:
    """Lets old names be found in a `site-packages`, if there is need; gives what to say of it."""
    have = versions(resolved).get(_PACKAGE)
    asked = [found for line in wanted if (found := parse(line)) and normal(found.name) == _PACKAGE]
    if have is None or numbers(have) < _RENAMED:
        return []
    if not any(numbers(found.specifiers[0][1]) < _RENAMED for found in asked if found.pinned):
        return []
    (site / "_old_names.py").write_text(_FINDER)
    (site / "old_names.pth").write_text("import _old_names\n")
    return [f"{_PACKAGE}'s modules are found by their names of before {_text(_RENAMED)} too."]


def _text(version: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in version)
