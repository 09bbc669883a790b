"""One requirement of a package, and what is left of it when its pins cannot be met."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

_NAME = re.compile(
    r"^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(\[[^\]]*\])?\s*([^;]*)(?:;(.*))?$"
)
_SPECIFIER = re.compile(r"^(===|==|~=|!=|<=|>=|<|>)\s*([A-Za-z0-9.*+!_-]+)$")
_UPPER = frozenset({"<", "<="})
_EXACT = frozenset({"==", "===", "~="})


def normal(name: str) -> str:
    """A package's name as indexes compare it: lower case, one dash between words."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True)
class Requirement:
    """A requirement by name. `specifiers` are pairs of an operator and a version."""

    name: str
    extras: str = ""
    specifiers: tuple[tuple[str, str], ...] = ()
    marker: str = ""

    def __str__(self) -> str:
        versions = ",".join(f"{operator}{version}" for operator, version in self.specifiers)
        marker = f" ; {self.marker}" if self.marker else ""
        return f"{self.name}{self.extras}{versions}{marker}"

    def allows(self, version: str) -> bool:
        """Whether a version meets it, by its numbers: good enough to tell people."""
        return all(_meets(version, operator, bound) for operator, bound in self.specifiers)

    @property
    def pinned(self) -> bool:
        """Whether it excludes versions that a release of today may have."""
        return any(operator in _EXACT | _UPPER for operator, _ in self.specifiers)

    @property
    def exact(self) -> bool:
        """Whether it names one version."""
        return len(self.specifiers) == 1 and self.specifiers[0][0] == "=="

    def relaxed(self) -> "Requirement":
        """Without upper bounds, and with exact versions as lower bounds."""
        kept = [
            (">=", _lowest(version)) if operator in _EXACT else (operator, version)
            for operator, version in self.specifiers
            if operator not in _UPPER
        ]
        return replace(self, specifiers=tuple(kept))

    def at(self, version: str) -> "Requirement":
        return replace(self, specifiers=(("==", version),))


def parse(text: str) -> Requirement | None:
    """A requirement line; None for one that is not by name (a URL, a path, a pip option)."""
    if "://" in text or text.startswith(("-", ".", "/")):
        return None
    match = _NAME.match(text.strip())
    if match is None:
        return None
    name, extras, versions, marker = match.groups()
    specifiers = []
    for part in versions.strip().strip("()").split(","):
        if not part.strip():
            continue
        specifier = _SPECIFIER.match(part.strip())
        if specifier is None:
            return None
        specifiers.append((specifier[1], specifier[2]))
    return Requirement(
        name, (extras or "").replace(" ", ""), tuple(specifiers), (marker or "").strip()
    )


def _lowest(version: str) -> str:
    """The version that a pin begins at: without `.*`, and without a builder's own suffix."""
    return version.removesuffix(".*").partition("+")[0]


def replaced(wanted: Iterable[str], resolved: Iterable[str]) -> list[str]:
    """A sentence for each requirement that a resolution (`name==version` lines) does not meet."""
    chosen = versions(resolved)
    sentences = []
    for line in wanted:
        found = parse(line)
        version = chosen.get(normal(found.name)) if found else None
        if found and version and not found.allows(version):
            sentences.append(f"{line} cannot be had for this Python: {version} is used.")
    return sentences


def versions(resolved: Iterable[str]) -> dict[str, str]:
    """name -> version of lines `name==version`."""
    return {
        normal(found.name): found.specifiers[0][1]
        for line in resolved
        if (found := parse(line)) and found.exact
    }


def numbers(version: str) -> tuple[int, ...]:
    """The numbers of a release: `1.5.0rc1` gives (1, 5, 0)."""
    release = re.match(r"[\d.]*\d", version)
    return tuple(int(n) for n in release[0].split(".")) if release else ()


def _meets(version: str, operator: str, bound: str) -> bool:
    have, limit = numbers(version), numbers(bound)
    size = max(len(have), len(limit))
    full, full_limit = (n + (0,) * (size - len(n)) for n in (have, limit))
    if operator in {"==", "!="} and bound.endswith(".*"):
        return (have[: len(limit)] == limit) == (operator == "==")
    if operator == "~=":
        return full >= full_limit and have[: len(limit) - 1] == limit[:-1]
    return {
        "===": full == full_limit,
        "==": full == full_limit,
        "!=": full != full_limit,
        "<": full < full_limit,
        "<=": full <= full_limit,
        ">": full > full_limit,
        ">=": full >= full_limit,
    }[operator]
