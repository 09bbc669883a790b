"""Packages that install on this Python in a version that does not run on it, and do not say so.

Older conda files get such versions, which were written for the Python that they ask for.
"""

import sys
from collections.abc import Sequence

from emulator.environments.requirement import numbers, versions

_FIRST_THAT_RUNS = {
    # Make code objects as an earlier Python's, some as soon as they are imported.
    "cloudpickle": ((3, 11), (2, 1), "2.2.1"),
    "dill": ((3, 11), (0, 3, 6), "0.3.6"),
    "joblib": ((3, 11), (0, 14), "1.2.0"),
    # Imports inspect.formatargspec, which Python 3.11 no longer has.
    "wrapt": ((3, 11), (1, 14), "1.16.0"),
}
"""name -> (from this Python on, versions before this do not run, the version instead)."""


def with_versions_that_run(
    resolved: Sequence[str], python: tuple[int, ...] = sys.version_info[:2]
) -> tuple[list[str], list[str]]:
    """A resolution (`name==version` lines) as it can run, and what a person should know of it."""
    lines, notes, chosen = list(resolved), [], versions(resolved)
    for name, (since, first, instead) in _FIRST_THAT_RUNS.items():
        if name in chosen and python >= since and numbers(chosen[name]) < first:
            lines = [line for line in lines if name not in versions([line])]
            lines.append(f"{name}=={instead}")
            notes.append(f"{name} {chosen[name]} does not run on this Python: {instead} is used.")
    return lines, notes
