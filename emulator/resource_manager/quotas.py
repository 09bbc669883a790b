"""The quotas of the region by name, and what of each is in use."""

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from emulator.resource_manager.computes import quota, quota_names, quota_use

if TYPE_CHECKING:
    from emulator.core import Emulator


def matching_quotas(pattern: str) -> list[str]:
    """The quotas that a glob names, whatever its case."""
    return [name for name in quota_names() if fnmatchcase(name.lower(), pattern.lower())]


def quota_rows(emulator: "Emulator") -> list[dict[str, Any]]:
    """`family`, `limit` and `used` of each quota, in vCPUs."""
    return [
        {"family": name, "limit": quota(emulator, name), "used": used}
        for name, used in quota_use(emulator).items()
    ]
