"""A layer of its own for a command that installs packages: what is beneath stays as it is.

In the cloud every job has a fresh container. Here many share one Python, or one environment.
"""

import platform
import re
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

from emulator.environments.indexes import NETWORK, build_environment
from emulator.environments.interpreter import Interpreter

_TOOL = re.compile(r"\b(pip3?|pip3?\.\d+|uv|conda|mamba)\b")
_INSTALL = re.compile(r"\binstall\b")
_SCRIPT = re.compile(r"\S\.sh\b")
_START = """
import os, site, sys
site.addsitedir({lower!r})
if any(os.path.basename(word) in ("pip", "pip3") for word in sys.orig_argv[1:3]):
    # Packages do not come from the local Azure ML.
    for name in {names!r}:
        os.environ.pop(name, None)
    os.environ.update({usual!r})
"""
_PIP = "import sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n"


def installs(command: str) -> bool:
    """Whether a command may install packages. What a shell script does is not known."""
    if _SCRIPT.search(command):
        return True
    for part in re.split(r"[;&|\n]", command):
        tool = _TOOL.search(part)
        if tool and _INSTALL.search(part, tool.end()):
            return True
    return False


def layer(beneath: Interpreter, folder: Path) -> Interpreter:
    """A virtual environment that sees all packages of another, and takes new ones."""
    scripts = folder / "bin"
    library = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    site = folder / library
    scripts.mkdir(parents=True)
    site.mkdir(parents=True)
    base = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    (folder / "pyvenv.cfg").write_text(
        f"home = {base.parent}\ninclude-system-site-packages = false\n"
        f"version = {platform.python_version()}\n"
    )
    python = scripts / "python"
    python.symlink_to(base)
    (scripts / "python3").symlink_to("python")
    for name in ("pip", "pip3"):
        script = scripts / name
        script.write_text(f"#!{python}\n{_PIP}")
        script.chmod(0o755)
    lower = sysconfig.get_path("purelib") if beneath.own else beneath.scripts.parent / library
    surroundings = build_environment()
    usual = {name: surroundings[name] for name in NETWORK if name in surroundings}
    (site / "_beneath.py").write_text(_START.format(lower=str(lower), names=NETWORK, usual=usual))
    (site / "beneath.pth").write_text("import _beneath\n")
    note = "The command may install packages: it has a layer of its own over the environment."
    notes = (*beneath.notes, note)
    return replace(beneath, python=python, own=False, notes=notes, beneath=beneath.scripts)
