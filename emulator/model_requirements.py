"""What an MLflow model asks of its environment, and whether the emulator's own Python has it."""

from importlib import metadata
from pathlib import Path

import yaml

_FILES = ("conda.yaml", "conda.yml")


def conda_of(model: Path) -> str | None:
    """The text of a model's conda file; None where it brings none."""
    for name in _FILES:
        if (model / name).is_file():
            return (model / name).read_text(encoding="utf-8")
    return None


def unmet(model: Path) -> list[str]:
    """The requirements of a model that the emulator's own Python does not meet.

    A model without a list of them asks for nothing. What is not understood counts as unmet.
    """
    lines = (line.partition("#")[0].strip() for line in _listed(model))
    return [line for line in lines if line and not _met(line)]


def _listed(model: Path) -> list[str]:
    """The lines of requirements.txt, or else what the conda file has pip install."""
    file = model / "requirements.txt"
    if file.is_file():
        return file.read_text("utf-8").splitlines()
    conda = yaml.safe_load(conda_of(model) or "") or {}
    dependencies = conda.get("dependencies") if isinstance(conda, dict) else None
    parts = [part for part in dependencies or [] if isinstance(part, dict)]
    return [str(line) for part in parts for line in part.get("pip") or []]


def _met(line: str) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate():
            return True
        version = metadata.version(requirement.name)
    except (InvalidRequirement, metadata.PackageNotFoundError):
        return False
    return requirement.specifier.contains(version, prereleases=True)
