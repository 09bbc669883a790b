"""A conda file read as what pip can install of it."""

import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from emulator.environments.interpreter import FAILURE, EnvironmentFailed
from emulator.environments.requirement import normal

_PYPI_NAMES = {
    "dask-core": "dask",
    "keras-gpu": "keras",
    "lightgbm-cpu": "lightgbm",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "opencv": "opencv-python-headless",
    "py-lightgbm": "lightgbm",
    "py-opencv": "opencv-python-headless",
    "py-xgboost": "xgboost",
    "py-xgboost-cpu": "xgboost",
    "py-xgboost-gpu": "xgboost",
    "pyspark-base": "pyspark",
    "pytables": "tables",
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "pytorch-gpu": "torch",
    "ruamel-yaml": "ruamel.yaml",
    "seaborn-base": "seaborn",
    "tensorflow-base": "tensorflow",
    "xgboost-cpu": "xgboost",
}
_SYSTEM = re.compile(
    r"_.*|lib(?!rosa$|sass$|clang$|cst$|tmux$).*|(gcc|gxx|gfortran|clang|cuda|mkl|blas|openblas|binutils)"
    r"([-_].*)?|cudatoolkit.*|cudnn|nccl|pytorch-(cuda|mutex)|(c|cxx|fortran)-compiler|compilers"
    r"|openmpi|mpich|mpi|openssl|ca-certificates|zlib|bzip2|xz|zstd|sqlite|readline|tk|ncurses"
    r"|ffmpeg|git|git-lfs|cmake|make|curl|wget|nodejs|openjdk|unixodbc|jpeg|libpng|glib|freetype"
    r"|nomkl|conda|mamba|tini|unzip|zip|tar|sysroot.*|ld-impl.*|vs20.*|r|r-.*|rapids|cpuonly"
)
_OPTIONS = ("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--pre", "--no-index")
_CONDA = re.compile(r"^(?:\S+::)?([A-Za-z0-9_.-]+?)\s*(?:\[.*\]|((?:[=<>!~].*|\s+[\d*].*))?)$")


@dataclass(frozen=True)
class CondaFile:
    """What pip is asked for, and what a person should know of the rest."""

    requirements: tuple[str, ...]
    options: tuple[str, ...]
    """Options that stand among pip's lines: indexes, mostly."""
    notes: tuple[str, ...]
    python: str | None = None
    """The version that it asks for, to two places."""


def read(text: str) -> CondaFile:
    """Parse a conda file. Raises EnvironmentFailed when it is none."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise EnvironmentFailed(FAILURE, f"The conda file is not YAML: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("dependencies") or [], list):
        raise EnvironmentFailed(
            FAILURE, "The conda file must be a mapping with a list of `dependencies`."
        )
    requirements: list[str] = []
    options: list[str] = []
    notes: list[str] = []
    skipped: list[str] = []
    python = None
    for entry in content.get("dependencies") or []:
        if isinstance(entry, dict):
            for line in _pip_lines(entry):
                (options.extend if line.startswith("-") else requirements.extend)(_pip(line))
        elif match := re.match(r"\s*(?:\S+::)?python(?![\w.-])(.*)", str(entry)):
            python = _python(match[1], notes)
        elif found := _conda(str(entry), skipped):
            requirements.append(found)
    if skipped:
        notes.append(f"Left out, because they are no packages of PyPI: {', '.join(skipped)}.")
    return CondaFile(tuple(requirements), tuple(options), tuple(notes), python)


def _pip_lines(entry: dict[str, Any]) -> Iterator[str]:
    for line in entry.get("pip") or []:
        text = re.sub(r"(^|\s)#.*$", "", str(line)).strip()
        if text:
            yield text


def _pip(line: str) -> list[str]:
    """A line of the pip section as arguments."""
    if not line.startswith("-"):
        return [line]
    words = line.replace("=", " ", 1).split() if line.startswith("--") else line.split()
    if words[0] == "--trusted-host":
        return ["--allow-insecure-host", *words[1:]]
    if words[0] == "--pre":
        return ["--prerelease=allow"]
    if words[0] not in _OPTIONS:
        raise EnvironmentFailed(
            FAILURE,
            f"The pip section of the conda file has the line `{line}`. An environment has only the "
            "conda file: name the packages themselves.",
        )
    return words


def _conda(entry: str, skipped: list[str]) -> str | None:
    """A conda dependency as pip's requirement; None for one that pip cannot or need not install."""
    match = _CONDA.match(entry.strip())
    if match is None:
        raise EnvironmentFailed(FAILURE, f"`{entry}` in the conda file is no dependency.")
    name, version = normal(match[1]), (match[2] or "").strip()
    if name == "pip":
        return None
    if _SYSTEM.fullmatch(name if not match[1].startswith("_") else match[1]):
        skipped.append(name)
        return None
    return _PYPI_NAMES.get(name, name) + _versions(version)


def _python(versions: str, notes: list[str]) -> str | None:
    """The Python that is asked for, to two places, said where it is not the one that is here."""
    found = re.match(r"\s*(?:==?|<=|~=)?\s*(\d+\.\d+)", versions)
    here = platform.python_version()
    if found and not here.startswith(f"{found[1]}."):
        notes.append(f"Python {here} runs it; the conda file asks for Python {found[1]}.")
    return found[1] if found else None


def _versions(text: str) -> str:
    """Versions as pip writes them: conda's `=1.2` means all of 1.2, and a build may follow."""
    found = []
    for part in text.replace(" ", ",").split(","):
        part = part.split("|")[0].strip()
        if not part or part == "*":
            continue
        match = re.match(r"^(==|>=|<=|!=|~=|<|>|=)?([^=]+)(?:=.*)?$", part)
        if match is None:
            continue
        operator, version = match[1] or "==", match[2]
        if operator == "=":
            version = version if version.endswith("*") else f"{version}.*"
            operator = "=="
        if version.endswith("*") and not version.endswith(".*"):
            version = version.rstrip("*") + ".*"
        found.append(f"{operator}{version}")
    return ",".join(found)
