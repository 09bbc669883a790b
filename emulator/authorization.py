"""Roles of the resource manager: which there are, who has been given which, and what they allow."""

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emulator.http import timestamp
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers"
_SECRETS = "Microsoft.KeyVault/vaults/secrets"
_DOCUMENT = "role assignments"


@dataclass(frozen=True)
class Role:
    """A built-in role: its name and id, what it allows to do to resources, and to their data."""

    name: str
    guid: str
    actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()


ROLES = (
    Role("Owner", "8e3af657-a8ff-443c-a75c-2fe8c4bcb635", ("*",)),
    Role("Contributor", "b24988ac-6180-42a0-ab88-20f7382dd24c", ("*",)),
    Role("Reader", "acdd72a7-3385-48ef-bd42-f606fba81ae7", ("*/read",)),
    Role(
        "User Access Administrator",
        "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9",
        ("*/read", "Microsoft.Authorization/*"),
    ),
    Role("AcrPull", "7f951dda-4ed3-4680-a7ca-43fe172d538d"),
    Role("AcrPush", "8311e382-0749-4cb8-b61a-304f252e45ec"),
    Role("Managed Identity Operator", "f1a07417-d97a-45cb-824c-7a7467783830"),
    Role(
        "AzureML Data Scientist",
        "f6c7c914-8db3-469d-8ca1-694a8f32e121",
        ("Microsoft.MachineLearningServices/workspaces/*",),
    ),
    Role(
        "AzureML Compute Operator",
        "e503ece1-11d0-4e8e-8e2c-7a6c3bf38815",
        ("Microsoft.MachineLearningServices/workspaces/computes/*",),
    ),
    Role(
        "AzureML Metrics Writer (preview)",
        "635dd51f-9968-44d3-b7fb-6d9a6bd613ae",
        ("Microsoft.MachineLearningServices/workspaces/metrics/*/write",),
    ),
    Role(
        "Storage Account Contributor",
        "17d1049b-9a84-46fb-8f53-869881c3d3ab",
        ("Microsoft.Storage/storageAccounts/*",),
    ),
    Role(
        "Storage Blob Data Reader",
        "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
        (f"{_BLOBS}/read",),
        (f"{_BLOBS}/blobs/read",),
    ),
    Role(
        "Storage Blob Data Contributor",
        "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
        (f"{_BLOBS}/read", f"{_BLOBS}/write", f"{_BLOBS}/delete"),
        (f"{_BLOBS}/blobs/read", f"{_BLOBS}/blobs/write", f"{_BLOBS}/blobs/delete"),
    ),
    Role(
        "Storage Blob Data Owner",
        "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
        (f"{_BLOBS}/*",),
        (f"{_BLOBS}/blobs/*",),
    ),
    Role(
        "Key Vault Administrator",
        "00482a5a-887f-4fb3-b363-3b7fe8e74483",
        (),
        ("Microsoft.KeyVault/vaults/*",),
    ),
    Role("Key Vault Reader", "21090545-7ca7-4776-b22c-e363652d74d2", (), (f"{_SECRETS}/list",)),
    Role(
        "Key Vault Secrets Officer",
        "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
        (),
        (f"{_SECRETS}/*",),
    ),
    Role(
        "Key Vault Secrets User",
        "4633458b-17de-408a-b874-0445c86b69e6",
        (),
        (f"{_SECRETS}/get", f"{_SECRETS}/list"),
    ),
)


def role_of(definition: str) -> Role | None:
    """The role that the id of a definition names."""
    guid = definition.rstrip("/").rpartition("/")[2].lower()
    return next((role for role in ROLES if role.guid == guid), None)


def assignment_path(scope: str, name: str) -> str:
    return f"{scope.rstrip('/')}/providers/Microsoft.Authorization/roleAssignments/{name}"


def assign(
    emulator: "Emulator", scope: str, name: str, role: Role, principal: str, kind: str
) -> Resource:
    """Give a principal (an object id) a role at a scope (the path of a resource, or a group)."""
    path, now = assignment_path(scope, name), timestamp()
    subscription = emulator.config.subscription
    resource: Resource = {
        "id": path,
        "name": name,
        "type": "Microsoft.Authorization/roleAssignments",
        "properties": {
            "roleDefinitionId": f"/subscriptions/{subscription}/providers"
            f"/Microsoft.Authorization/roleDefinitions/{role.guid}",
            "principalId": principal,
            "principalType": kind,
            "scope": scope,
            "condition": None,
            "conditionVersion": None,
            "createdOn": now,
            "updatedOn": now,
            "createdBy": emulator.tokens.owner,
            "updatedBy": emulator.tokens.owner,
        },
    }
    emulator.store.document(_DOCUMENT).put(path.lower(), resource)
    return resource


def assign_of_service(emulator: "Emulator", scope: str, role: str, principal: str) -> None:
    """What the service gives to an identity by itself; once, however often it is said."""
    name = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{scope}/{role}/{principal}".lower()))
    known = next(each for each in ROLES if each.name == role)
    assign(emulator, scope, name, known, principal, "ServicePrincipal")


def assignments(emulator: "Emulator") -> Iterator[Resource]:
    for _, resource in emulator.store.document(_DOCUMENT).items():
        yield resource


def assignment(emulator: "Emulator", path: str) -> Resource | None:
    found: Resource | None = emulator.store.document(_DOCUMENT).get(path.lower())
    return found


def remove(emulator: "Emulator", path: str) -> None:
    emulator.store.document(_DOCUMENT).delete(path.lower())


def forget_scope(emulator: "Emulator", scope: str) -> None:
    """A resource is gone, and with it what was assigned for it."""
    for resource in assignments(emulator):
        if within(resource["properties"]["scope"], scope):
            remove(emulator, resource["id"])


def forget_principal(emulator: "Emulator", principal: str) -> None:
    """An identity is gone, and with it what it was given."""
    for resource in assignments(emulator):
        if resource["properties"]["principalId"] == principal:
            remove(emulator, resource["id"])


def within(path: str, scope: str) -> bool:
    """Whether a resource is what a scope names, or lies in it."""
    return f"{path.lower().rstrip('/')}/".startswith(f"{scope.lower().rstrip('/')}/")


def allows(emulator: "Emulator", principal: str, path: str, action: str) -> bool:
    """Whether a role lets a principal do this to the data of a resource.

    Who the emulator's own credentials stand for may do everything.
    """
    if principal == emulator.tokens.owner:
        return True
    for resource in assignments(emulator):
        given: dict[str, Any] = resource["properties"]
        role = role_of(given["roleDefinitionId"])
        if role is None or given["principalId"] != principal or not within(path, given["scope"]):
            continue
        # The actions on containers are no actions on data, but the blob service asks for them.
        if any(_matches(action, pattern) for pattern in (*role.data_actions, *_own(role))):
            return True
    return False


def _own(role: Role) -> tuple[str, ...]:
    return tuple(action for action in role.actions if action.startswith(_BLOBS))


def _matches(action: str, pattern: str) -> bool:
    regex = re.escape(pattern).replace(r"\*", ".*")
    return re.fullmatch(regex, action, re.IGNORECASE) is not None
