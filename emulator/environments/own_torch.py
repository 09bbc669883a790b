"""The torch of the Python that runs the emulator, lent to environments: it is never downloaded.

On PyPI its wheels bring gigabytes for graphics cards, and jobs here run on the processor.
"""

import importlib.util
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

_GRAPHICS = re.compile(r"triton|nvidia-.*|cuda-.*")


@cache
def version() -> str | None:
    """Without a builder's suffix (`+cpu`); None where there is no torch."""
    try:
        return distribution("torch").version.partition("+")[0]
    except PackageNotFoundError:
        return None


def is_there() -> bool:
    return importlib.util.find_spec("torch") is not None


def is_for_graphics(package: str) -> bool:
    """Whether a package is of use with a graphics card only. They are gigabytes."""
    return _GRAPHICS.fullmatch(package) is not None


def link(site: Path, python: Path) -> None:
    """Show torch, without the packages beside it, in another site-packages; and its scripts."""
    torch = distribution("torch")
    names = {file.parts[0] for file in torch.files or ()}
    own = Path(str(torch.locate_file("")))
    for name in names - {"..", "__pycache__"}:
        (site / name).symlink_to(own / name)
    for script in torch.entry_points.select(group="console_scripts"):
        path = python.with_name(script.name)
        path.write_text(
            f"#!{python}\nimport sys\nfrom {script.module} import {script.attr}\n"
            f"sys.exit({script.attr}())\n"
        )
        path.chmod(0o755)
