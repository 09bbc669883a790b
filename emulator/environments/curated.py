"""The curated environments of the registry `azureml`: known by name, described by family."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from emulator.environments import own_torch

_FILE = Path(__file__).with_name("families.yaml")
PREFIX = "AzureML-"
CREATED = "2025-06-01T00:00:00+00:00"


@dataclass(frozen=True)
class Curated:
    """One environment that the service provides."""

    name: str
    version: str
    image: str
    packages: tuple[str, ...]
    own: bool
    """Whether the emulator's own Python stands in for it."""

    @property
    def description(self) -> str:
        return f"Curated environment. Packages: {', '.join(self.packages)}."

    @property
    def conda(self) -> str:
        """Its packages as a conda file."""
        return yaml.safe_dump({"name": self.name, "dependencies": [{"pip": list(self.packages)}]})


def find(name: str, version: str | None = None) -> Curated | None:
    """An environment by name; its newest version, unless another number is asked for."""
    if version is not None and version != "latest" and not version.isdigit():
        return None
    for family in _families():
        if match := re.fullmatch(family["pattern"], name, re.IGNORECASE):
            packages = tuple(text.format(**match.groupdict()) for text in family["packages"])
            newest = str(family["version"])
            found = newest if version in (None, "latest") else str(version)
            image = f"{family['image'].format(name=name.removeprefix(PREFIX).lower())}:{found}"
            own = family.get("own") == "torch" and own_torch.is_there()
            return Curated(name, found, image, packages, own)
    return None


def listed(prefix: str = "") -> Iterator[Curated]:
    """The environments that lists show."""
    for family in _families():
        for name in family["names"]:
            if found := find(prefix + name):
                yield found


@cache
def _families() -> list[dict[str, Any]]:
    families: list[dict[str, Any]] = yaml.safe_load(_FILE.read_text())
    return families
