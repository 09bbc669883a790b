"""What a package has renamed since the version that a conda file pins.

Where no version near the pin runs on this Python, a later one stands for it. Models that were
pickled with the old one name its modules, and scripts import them; they find those of today. What
estimators remember goes by the names of today too.
"""

from collections.abc import Sequence
from pathlib import Path

from emulator.environments.requirement import normal, numbers, parse, versions

_PACKAGE = "scikit-learn"
_MODULES_RENAMED, _ATTRIBUTES_RENAMED = (0, 24), (1, 1)
"""Until then it had its modules by both names; estimators of before lack what they need since."""

_FINDER = '''"""Old names of scikit-learn: modules of before 0.24, attributes of before 1.1."""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys

OTHERS = {
    "sklearn.cluster.k_means_": "sklearn.cluster._kmeans",
    "sklearn.ensemble.gradient_boosting": "sklearn.ensemble._gb",
    "sklearn.externals.joblib": "joblib",
    "sklearn.tree.tree": "sklearn.tree._classes",
}
ATTRIBUTES = {"drop_idx_": "_drop_idx_after_grouping", "loss_": "_loss"}
NEW = {"OneHotEncoder": {"_infrequent_enabled": False}}


class OldStates(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "sklearn.base":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                take_old_states(module.BaseEstimator)

            spec.loader.exec_module = exec_module
        return spec


def take_old_states(estimator):
    usual = estimator.__setstate__

    def __setstate__(self, state):
        renamed = {ATTRIBUTES[key]: state[key] for key in ATTRIBUTES if key in state}
        usual(self, NEW.get(type(self).__name__, {}) | renamed | state)

    estimator.__setstate__ = __setstate__


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


sys.meta_path.insert(0, OldStates())
sys.meta_path.append(OldNames())
'''


def keep_old_names(site: Path, wanted: Sequence[str], resolved: Sequence[str]) -> list[str]:
    """Lets old names be found in a `site-packages`, if there is need; gives what to say of it."""
    have = numbers(versions(resolved).get(_PACKAGE, ""))
    asked = [found for line in wanted if (found := parse(line)) and normal(found.name) == _PACKAGE]
    pins = [numbers(found.specifiers[0][1]) for found in asked if found.pinned]
    if not any(
        pin < renamed <= have for pin in pins for renamed in (_MODULES_RENAMED, _ATTRIBUTES_RENAMED)
    ):
        return []
    (site / "_old_names.py").write_text(_FINDER)
    (site / "old_names.pth").write_text("import _old_names\n")
    return [f"What was made with an older {_PACKAGE} finds its modules by their old names."]
