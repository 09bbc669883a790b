"""Old names of scikit-learn: modules of before 0.24, attributes of before 1.1.

Copied into an environment, whose Python runs it at its start: nothing of the emulator is imported.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from typing import Any

OTHERS = {
    "sklearn.cluster.k_means_": "sklearn.cluster._kmeans",
    "sklearn.ensemble.gradient_boosting": "sklearn.ensemble._gb",
    "sklearn.externals.joblib": "joblib",
    "sklearn.tree.tree": "sklearn.tree._classes",
}
ATTRIBUTES = {"drop_idx_": "_drop_idx_after_grouping", "loss_": "_loss"}
NEW: dict[str, dict[str, Any]] = {"OneHotEncoder": {"_infrequent_enabled": False}}


class OldStates(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "sklearn.base":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None:
            loader: Any = spec.loader
            execute = loader.exec_module

            def exec_module(module: Any) -> None:
                execute(module)
                take_old_states(module.BaseEstimator)

            loader.exec_module = exec_module
        return spec


def take_old_states(estimator: Any) -> None:
    usual = estimator.__setstate__

    def __setstate__(self: Any, state: dict[str, Any]) -> None:
        renamed = {ATTRIBUTES[key]: state[key] for key in ATTRIBUTES if key in state}
        usual(self, NEW.get(type(self).__name__, {}) | renamed | state)

    estimator.__setstate__ = __setstate__


class OldNames(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.startswith("sklearn.") and name.count(".") == 2 and new_name(name):
            return importlib.util.spec_from_loader(name, self)
        return None

    def create_module(self, spec: Any) -> Any:
        module = importlib.import_module(new_name(spec.name) or spec.name)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: Any) -> None:
        # The import system has just given the module the old name's spec.
        module.__spec__ = module.__spec__.loader_state


def new_name(name: str) -> str | None:
    parent, _, module = name.rpartition(".")
    if module.startswith("_"):
        return None
    found = OTHERS.get(name) or parent + "._" + module.strip("_")
    try:
        return found if importlib.util.find_spec(found) else None
    except ImportError:
        return None


def install() -> None:
    sys.meta_path.insert(0, OldStates())
    sys.meta_path.append(OldNames())
