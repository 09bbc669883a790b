"""What a package has renamed since the version that a conda file pins.

Where no version near the pin runs on this Python, a later one stands for it. Models that were
pickled with the old one name its modules, and scripts import them; they find those of today. What
estimators remember goes by the names of today too.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from emulator.environments.requirement import normal, numbers, parse, versions

_PACKAGE = "scikit-learn"
_MODULES_RENAMED, _ATTRIBUTES_RENAMED = (0, 24), (1, 1)
"""Until then it had its modules by both names; estimators of before lack what they need since."""

_FINDER = Path(__file__).with_name("old_sklearn.py")


def keep_old_names(site: Path, wanted: Sequence[str], resolved: Sequence[str]) -> list[str]:
    """Lets old names be found in a `site-packages`, if there is need; gives what to say of it."""
    have = numbers(versions(resolved).get(_PACKAGE, ""))
    asked = [found for line in wanted if (found := parse(line)) and normal(found.name) == _PACKAGE]
    pins = [numbers(found.specifiers[0][1]) for found in asked if found.pinned]
    if not any(
        pin < renamed <= have for pin in pins for renamed in (_MODULES_RENAMED, _ATTRIBUTES_RENAMED)
    ):
        return []
    shutil.copyfile(_FINDER, site / "_old_names.py")
    (site / "old_names.pth").write_text("import _old_names; _old_names.install()\n")
    return [f"What was made with an older {_PACKAGE} finds its modules by their old names."]
