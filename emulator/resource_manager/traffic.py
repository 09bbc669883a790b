"""The shares of an endpoint's requests that its deployments answer, or get a copy of."""

from collections.abc import Mapping
from typing import Any

from emulator.http import AzureError

MOST_MIRRORED = 50
"""Percent of the live requests that may be copied."""


def checked_traffic(deployments: Mapping[str, str], traffic: Mapping[str, Any]) -> dict[str, int]:
    """The live shares in percent, under the deployments' own names; AzureError 400 for bad ones.

    `deployments`: the endpoint's deployments by their name in lower case, as the SDK sends it.
    """
    shares = _named(deployments, traffic, "Traffic")
    given = list(shares.values())
    if any(type(s) is not int or not 0 <= s <= 100 for s in given) or sum(given) not in (0, 100):
        raise AzureError(
            400,
            "BadRequest",
            f"Traffic must be whole percentages that add up to 100 or to 0, not {dict(traffic)}.",
        )
    return shares


def checked_mirror(
    deployments: Mapping[str, str], traffic: Mapping[str, int], mirror: Mapping[str, Any]
) -> dict[str, int]:
    """The copied share of the one deployment that has one; AzureError 400 for anything else."""
    shares = _named(deployments, mirror, "Mirrored traffic")
    given = [share for share in shares.values() if share]
    if any(type(s) is not int or not 0 <= s <= MOST_MIRRORED for s in given) or len(given) > 1:
        raise AzureError(
            400,
            "BadRequest",
            f"Traffic can be mirrored to one deployment, 0 to {MOST_MIRRORED} whole percent, not "
            f"{dict(mirror)}.",
        )
    if both := [name for name, share in shares.items() if share and traffic.get(name)]:
        raise AzureError(
            400,
            "BadRequest",
            f"The deployment {both[0]} gets live traffic: none can be mirrored to it as well.",
        )
    return {name: share for name, share in shares.items() if share}


def _named(deployments: Mapping[str, str], given: Mapping[str, Any], what: str) -> dict[str, Any]:
    unknown = [name for name in given if name.lower() not in deployments]
    if unknown:
        raise AzureError(
            400,
            "BadRequest",
            f"{what} cannot go to {', '.join(unknown)}: the endpoint has no such deployment. "
            f"Its deployments: {', '.join(sorted(deployments.values())) or 'none'}.",
        )
    return {deployments[name.lower()]: share for name, share in given.items()}
