"""A model's files where a script expects them. Runs in the Python of any environment."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def link(source: Path, target: Path) -> None:
    """Real folders with links to files: what walks through a model's folder finds them.

    Hard links: MLflow refuses a file whose path, once resolved, leads out of the model's folder.
    """
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link_file)
    else:
        _link_file(source, target)


def _link_file(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # the file lies on another disk
        shutil.copy2(source, target)
