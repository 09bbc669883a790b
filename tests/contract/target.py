"""A workspace that the contract tests use."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

_NAMED = ("AZUREML_SUBSCRIPTION_ID", "AZUREML_RESOURCE_GROUP", "AZUREML_WORKSPACE_NAME")
_LEADING = ("AZURE", "IDENTITY_", "MSI_")
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY")


@dataclass(frozen=True)
class Target:
    """A workspace, and the environment variables that lead a client to it."""

    subscription: str
    resource_group: str
    workspace: str
    environment: Mapping[str, str] = field(repr=False)

    @property
    def path(self) -> str:
        """The workspace's resource id."""
        return (
            f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{self.workspace}"
        )


def real_target(environment: Mapping[str, str]) -> Target:
    """The workspace that the user's environment names; the session ends when it names none."""
    missing = [name for name in _NAMED if not environment.get(name)]
    if missing:
        pytest.exit(
            f"{' and '.join(missing)} must name the workspace to verify against.", returncode=2
        )
    leading = {
        name: value
        for name, value in environment.items()
        if name.startswith(_LEADING) or name.upper() in _PROXIES
    }
    subscription, resource_group, workspace = (environment[name] for name in _NAMED)
    return Target(subscription, resource_group, workspace, environment=leading)
