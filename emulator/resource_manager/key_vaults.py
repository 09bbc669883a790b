"""Key vaults as resources: made, with their access policies, listed, deleted."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator import authorization
from emulator.http import ResourceManagerError, Router, emulator_of, json_body
from emulator.resource_manager import dependents
from emulator.resource_manager.places import workspace_paths
from emulator.resource_manager.resources import listing, properties_of
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

TYPE = "Microsoft.KeyVault/vaults"
SECRETS = "key vault secrets"
"""The document that holds the secrets of all vaults, by the vault's name and theirs."""
_SUBSCRIPTION = f"/subscriptions/{{subscription}}/providers/{TYPE}"
_COLLECTION = f"/subscriptions/{{subscription}}/resourceGroups/{{resource_group}}/providers/{TYPE}"
_VAULT = _COLLECTION + "/{vault}"
_NAME = re.compile(r"[A-Za-z](?!.*--)[A-Za-z0-9-]{1,22}[A-Za-z0-9]")
_NAMES = "key vaults"


def register(router: Router) -> None:
    router.operation("Vaults_CreateOrUpdate", "PUT", _VAULT)(_put)
    router.operation("Vaults_Update", "PATCH", _VAULT)(_patch)
    router.operation("Vaults_Delete", "DELETE", _VAULT)(_delete)
    router.operation("Vaults_ListByResourceGroup", "GET", _COLLECTION)(_list)
    router.operation("Vaults_ListBySubscription", "GET", _SUBSCRIPTION)(_list)
    policies = _VAULT + "/accessPolicies/{operation}"
    router.operation("Vaults_UpdateAccessPolicy", "PUT", policies)(_put_policies)

    @router.operation("Vaults_Get", "GET", _VAULT)
    async def get_vault(request: Request) -> Response:
        return JSONResponse(_found(request, _path(request)))


def vault_named(emulator: "Emulator", name: str) -> Resource | None:
    """The vault that answers to this name: one that a client made, or a workspace names."""
    path = emulator.store.document(_NAMES).get(name.lower())
    if path:
        return emulator.store.get(path)
    return next((v for v in _of_workspaces(emulator) if v["name"].lower() == name.lower()), None)


async def _put(request: Request) -> Response:
    emulator, path, body = emulator_of(request), _path(request), await json_body(request)
    name = path.rpartition("/")[2]
    if not _NAME.fullmatch(name):
        raise ResourceManagerError(
            400,
            "VaultNameNotValid",
            f"The vault name '{name}' is invalid. A vault's name must be between 3-24 "
            "alphanumeric characters. The name must begin with a letter, end with a letter or "
            "digit, and not contain consecutive hyphens.",
        )
    taken = vault_named(emulator, name)
    if taken and taken["id"].lower() != path.lower():
        raise ResourceManagerError(
            409, "VaultAlreadyExists", f"The vault name '{name}' is already in use."
        )
    old = emulator.store.get(path)
    resource = _described(emulator, path, body, properties_of(body))
    emulator.store.put(path, resource)
    emulator.store.document(_NAMES).put(name.lower(), path)
    dependents.restore(emulator, path)
    return JSONResponse(resource, 200 if old else 201)


async def _patch(request: Request) -> Response:
    emulator, path, body = emulator_of(request), _path(request), await json_body(request)
    old = _found(request, path)
    properties = {**old["properties"], **properties_of(body)}
    resource = _described(emulator, old["id"], {**old, **body}, properties)
    emulator.store.put(path, resource)
    return JSONResponse(resource)


async def _delete(request: Request) -> Response:
    emulator, path = emulator_of(request), _path(request)
    if not dependents.exists(emulator, path):
        return Response(status_code=204)
    name = path.rpartition("/")[2].lower()
    secrets = emulator.store.document(SECRETS)
    for key, _ in secrets.items():
        if key.startswith(f"{name}/"):
            secrets.delete(key)
    emulator.store.delete(path)
    emulator.store.document(_NAMES).delete(name)
    authorization.forget_scope(emulator, path)
    dependents.forget(emulator, path)
    return Response(status_code=200)


async def _list(request: Request) -> Response:
    emulator = emulator_of(request)
    made = [emulator.store.get(path) for _, path in emulator.store.document(_NAMES).items()]
    scope = request.url.path.lower().rpartition("/providers/")[0]
    every = {each["id"].lower(): each for each in (*_of_workspaces(emulator), *made) if each}
    return listing(request, [v for id_, v in every.items() if authorization.within(id_, scope)])


async def _put_policies(request: Request) -> Response:
    """Add policies, remove those of some principals, or put others in the place of theirs."""
    emulator, path = emulator_of(request), _path(request).rpartition("/accessPolicies/")[0]
    vault, operation = _found(request, path), request.path_params["operation"].lower()
    given = _policies(properties_of(await json_body(request)))
    if operation not in ("add", "replace", "remove"):
        raise ResourceManagerError(
            400, "BadRequest", f"Access policies are added, replaced or removed, not {operation}."
        )
    changed = {policy["objectId"]: policy for policy in vault["properties"]["accessPolicies"]}
    for policy in given:
        if operation == "remove":
            changed.pop(policy["objectId"], None)
        elif operation == "add" and policy["objectId"] in changed:
            changed[policy["objectId"]] = _together(changed[policy["objectId"]], policy)
        else:
            changed[policy["objectId"]] = policy
    vault["properties"]["accessPolicies"] = list(changed.values())
    emulator.store.put(path, vault)
    return JSONResponse(
        {
            "id": f"{vault['id']}/accessPolicies/",
            "type": f"{TYPE}/accessPolicies",
            "location": vault["location"],
            "properties": {"accessPolicies": vault["properties"]["accessPolicies"]},
        }
    )


def _together(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    kinds = {**one["permissions"], **other["permissions"]}
    permissions = {
        kind: sorted({*one["permissions"].get(kind, ()), *other["permissions"].get(kind, ())})
        for kind in kinds
    }
    return {**other, "permissions": permissions}


def _described(
    emulator: "Emulator", path: str, body: dict[str, Any], properties: dict[str, Any]
) -> Resource:
    name = path.rpartition("/")[2]
    return {
        "id": path,
        "name": name,
        "type": TYPE,
        "location": body.get("location") or emulator.config.location,
        "tags": body.get("tags") or {},
        "properties": {
            "tenantId": emulator.config.tenant,
            "sku": {"family": "A", "name": "standard"},
            "enableSoftDelete": True,
            "softDeleteRetentionInDays": 90,
            "enableRbacAuthorization": False,
            "enabledForDeployment": False,
            "publicNetworkAccess": "Enabled",
            **properties,
            "accessPolicies": _policies(properties),
            "vaultUri": f"https://{name.lower()}.vault.azure.net/",
            "provisioningState": "Succeeded",
        },
    }


def _policies(properties: dict[str, Any]) -> list[dict[str, Any]]:
    """The access policies of a body, in the one form that they are kept in."""
    given = properties.get("accessPolicies") or []
    if not isinstance(given, list):
        raise _bad_policy("they are a list")
    return [_policy(each) for each in given]


def _policy(given: Any) -> dict[str, Any]:
    permissions = given.get("permissions") if isinstance(given, dict) else None
    if not isinstance(permissions, dict) or not isinstance(given.get("objectId"), str):
        raise _bad_policy("each has an objectId and permissions")
    kept = {kind: _words(names) for kind, names in permissions.items() if names is not None}
    return {**given, "permissions": kept}


def _words(names: Any) -> list[str]:
    if isinstance(names, Iterable) and not isinstance(names, str | dict):
        return [str(name).lower() for name in names]
    raise _bad_policy("permissions are lists of names")


def _bad_policy(reason: str) -> ResourceManagerError:
    return ResourceManagerError(400, "BadRequest", f"The access policies are invalid: {reason}.")


def _of_workspaces(emulator: "Emulator") -> list[Resource]:
    """The vaults that workspaces name and that no client has made."""
    found = []
    for workspace in filter(None, map(emulator.store.get, workspace_paths(emulator))):
        path = workspace["properties"].get("keyVault")
        if path and dependents.exists(emulator, path) and emulator.store.get(path) is None:
            found.append(_described(emulator, path, {}, {}))
    return found


def _found(request: Request, path: str) -> Resource:
    emulator, name = emulator_of(request), path.rpartition("/")[2]
    if found := emulator.store.get(path):
        return found
    if dependents.exists(emulator, path):
        return _described(emulator, path, {}, {})
    raise ResourceManagerError(
        404,
        "ResourceNotFound",
        f"The Resource '{TYPE}/{name}' under resource group "
        f"'{request.path_params['resource_group']}' was not found. For more details please go to "
        "https://aka.ms/ARMResourceNotFoundFix",
    )


def _path(request: Request) -> str:
    return str(request.url.path).rstrip("/")
