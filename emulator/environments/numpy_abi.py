"""Which compiled packages do not load beside numpy 2, although they do not say so."""

import re
from collections.abc import Iterable

from emulator.environments.requirement import numbers

_FIRST_FOR_NUMPY_2 = {
    "bottleneck": (1, 4),
    "contourpy": (1, 2, 1),
    "h5py": (3, 11),
    "matplotlib": (3, 8, 4),
    "numba": (0, 60),
    "numexpr": (2, 10),
    "onnxruntime": (1, 19),
    "opencv-python": (4, 10, 0, 84),
    "opencv-python-headless": (4, 10, 0, 84),
    "pandas": (2, 2, 2),
    "pyarrow": (16,),
    "pywavelets": (1, 6),
    "scikit-image": (0, 24),
    "scikit-learn": (1, 4, 2),
    "scipy": (1, 13),
    "shap": (0, 46),
    "statsmodels": (0, 14, 2),
    "tables": (3, 10),
}


def needs_numpy_1(resolved: Iterable[str]) -> str | None:
    """The first package of a resolution (`name==version` lines) that its numpy is too new for."""
    versions = dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", "\n".join(resolved), re.MULTILINE))
    if numbers(versions.get("numpy", "0")) < (2,):
        return None
    for name, first in _FIRST_FOR_NUMPY_2.items():
        if name in versions and numbers(versions[name]) < first:
            return f"{name} {versions[name]}"
    return None
