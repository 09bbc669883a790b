"""The secrets of key vaults, at the vaults' own addresses."""

import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.authorization import allows
from emulator.clock import CLOCK
from emulator.http import AzureError, Router, emulator_of, json_body
from emulator.identity import VAULT
from emulator.resource_manager.key_vaults import SECRETS, vault_named
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

DOMAIN = ".vault.azure.net"
_RETENTION_SECONDS = 90 * 24 * 3600
_ATTRIBUTES = ("enabled", "exp", "nbf")

Secret = dict[str, Any]
"""`versions`: the values, the newest last; `deleted`: when that was, or None."""


class VaultError(AzureError):
    """An error of a vault, in the shape of that service."""

    def response(self, location: str = "eastus") -> JSONResponse:
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.inner:
            error["innererror"] = {"code": self.inner[0]}
        return JSONResponse({"error": error}, self.status, self.headers)


def vault_router() -> Router:
    router = Router("key vault")
    one = "/secrets/{secret}"
    _add(router, "Secrets_Set", "PUT", one, "set", _set)
    _add(router, "Secrets_Get", "GET", one, "get", _get)
    _add(router, "Secrets_ListVersions", "GET", one + "/versions", "list", _list_versions)
    _add(router, "Secrets_Get", "GET", one + "/{version}", "get", _get)
    _add(router, "Secrets_Update", "PATCH", one, "set", _update)
    _add(router, "Secrets_Update", "PATCH", one + "/{version}", "set", _update)
    _add(router, "Secrets_List", "GET", "/secrets", "list", _list)
    _add(router, "Secrets_Delete", "DELETE", one, "delete", _delete)
    gone = "/deletedsecrets/{secret}"
    _add(router, "DeletedSecrets_List", "GET", "/deletedsecrets", "list", _list_deleted)
    _add(router, "DeletedSecrets_Get", "GET", gone, "get", _get_deleted)
    _add(router, "DeletedSecrets_Recover", "POST", gone + "/recover", "recover", _recover)
    _add(router, "DeletedSecrets_Purge", "DELETE", gone, "purge", _purge)
    return router


class _Call:
    """A request that was let in: its vault, and the vault's secrets."""

    def __init__(self, request: Request, vault: Resource) -> None:
        self.request = request
        self.vault = vault
        self.name: str = request.path_params.get("secret", "")
        self._secrets = emulator_of(request).store.document(SECRETS)

    @property
    def address(self) -> str:
        return f"https://{self.vault['name'].lower()}{DOMAIN}"

    def secrets(self, deleted: bool) -> list[tuple[str, Secret]]:
        prefix = f"{self.vault['name'].lower()}/"
        return [
            (secret["name"], secret)
            for key, secret in self._secrets.items()
            if key.startswith(prefix) and bool(secret["deleted"]) == deleted
        ]

    def find(self, deleted: bool = False) -> Secret | None:
        secret: Secret | None = self._secrets.get(self._key)
        return secret if secret and bool(secret["deleted"]) == deleted else None

    def found(self, deleted: bool = False) -> Secret:
        secret = self.find(deleted)
        if secret is None:
            raise VaultError(
                404,
                "SecretNotFound",
                f"A secret with (name/id) {self.name} was not found in this key vault. If you "
                "recently deleted this secret you may be able to recover it using the correct "
                "recovery command.",
            )
        return secret

    def version(self) -> dict[str, Any]:
        """The version that is asked for, or the newest."""
        wanted = self.request.path_params.get("version")
        version: dict[str, Any]
        for version in reversed(self.found()["versions"]):
            if wanted in (None, version["version"]):
                return version
        raise VaultError(
            404,
            "SecretNotFound",
            f"A secret with (name/id) {self.name}/{wanted} was not found in this key vault.",
        )

    def put(self, secret: Secret) -> None:
        self._secrets.put(self._key, secret)

    def forget(self) -> None:
        self._secrets.delete(self._key)

    @property
    def _key(self) -> str:
        return f"{self.vault['name']}/{self.name}".lower()


def _add(
    router: Router,
    operation: str,
    method: str,
    path: str,
    permission: str,
    work: Callable[[_Call], Awaitable[Response]],
) -> None:
    async def handle(request: Request) -> Response:
        emulator = emulator_of(request)
        name = (request.url.hostname or "").removesuffix(DOMAIN)
        vault = vault_named(emulator, name)
        if vault is None:
            raise VaultError(404, "VaultNotFound", f"There is no key vault named {name}.")
        _authorize(emulator, request, vault, permission)
        return await work(_Call(request, vault))

    router.operation(operation, method, path)(handle)


def _authorize(emulator: "Emulator", request: Request, vault: Resource, permission: str) -> None:
    try:
        emulator.tokens.check(request, *VAULT)
    except AzureError as error:
        tenant = emulator.config.tenant
        challenge = (
            f'Bearer authorization="https://login.microsoftonline.com/{tenant}", '
            f'resource="{VAULT[0]}"'
        )
        text = f"AKV10000: {error.message}"
        raise VaultError(401, "Unauthorized", text, {"WWW-Authenticate": challenge}) from error
    caller, properties = emulator.tokens.caller(request), vault["properties"]
    if properties["enableRbacAuthorization"] or caller == emulator.tokens.owner:
        allowed = allows(emulator, caller, vault["id"], f"{vault['type']}/secrets/{permission}")
    else:
        allowed = any(
            policy["objectId"] == caller
            and {permission, "all"} & set(policy["permissions"].get("secrets", ()))
            for policy in properties["accessPolicies"]
        )
    if not allowed:
        raise VaultError(
            403,
            "Forbidden",
            f"The user, group or application 'oid={caller}' does not have secrets {permission} "
            f"permission on key vault '{vault['name']};location={vault['location']}'.",
            inner=("AccessDenied",),
        )


async def _set(call: _Call) -> Response:
    body = await json_body(call.request)
    if not isinstance(body.get("value"), str):
        raise VaultError(400, "BadParameter", "Property  has invalid value: value must be text.")
    if call.find(deleted=True):
        raise VaultError(
            409,
            "Conflict",
            f"Secret {call.name} is currently in a deleted but recoverable state, and its name "
            "cannot be reused; in this state, the secret can only be recovered or purged.",
            inner=("ObjectIsDeletedButRecoverable",),
        )
    now = int(CLOCK.time())
    version = {
        "version": uuid.uuid4().hex,
        "value": body["value"],
        "contentType": body.get("contentType"),
        "tags": body.get("tags"),
        "attributes": {"enabled": True, **_attributes(body), "created": now, "updated": now},
    }
    secret = call.find() or {"name": call.name, "versions": [], "deleted": None}
    secret["versions"].append(version)
    call.put(secret)
    return JSONResponse(_bundle(call, call.name, version))


async def _get(call: _Call) -> Response:
    version = call.version()
    if not version["attributes"]["enabled"]:
        raise VaultError(
            403,
            "Forbidden",
            "Operation get is not allowed on a disabled secret.",
            inner=("SecretDisabled",),
        )
    return JSONResponse(_bundle(call, call.name, version))


async def _update(call: _Call) -> Response:
    body, wanted, secret = await json_body(call.request), call.version(), call.found()
    for version in secret["versions"]:
        if version["version"] == wanted["version"]:
            for key in ("contentType", "tags"):
                if body.get(key) is not None:
                    version[key] = body[key]
            version["attributes"] |= {**_attributes(body), "updated": int(CLOCK.time())}
            wanted = version
    call.put(secret)
    return JSONResponse(_item(call, call.name, wanted, versioned=True))


async def _list(call: _Call) -> Response:
    found = [_item(call, name, s["versions"][-1]) for name, s in call.secrets(deleted=False)]
    return JSONResponse({"value": found, "nextLink": None})


async def _list_versions(call: _Call) -> Response:
    secret = call.find() or {"versions": []}
    found = [_item(call, call.name, v, versioned=True) for v in secret["versions"]]
    return JSONResponse({"value": found, "nextLink": None})


async def _delete(call: _Call) -> Response:
    secret = call.found()
    secret["deleted"] = int(CLOCK.time())
    call.put(secret)
    return JSONResponse(_deleted(call, call.name, secret))


async def _list_deleted(call: _Call) -> Response:
    found = [_deleted(call, name, secret) for name, secret in call.secrets(deleted=True)]
    return JSONResponse({"value": found, "nextLink": None})


async def _get_deleted(call: _Call) -> Response:
    return JSONResponse(_deleted(call, call.name, call.found(deleted=True)))


async def _recover(call: _Call) -> Response:
    secret = call.found(deleted=True)
    secret["deleted"] = None
    call.put(secret)
    return JSONResponse(_item(call, call.name, secret["versions"][-1], versioned=True))


async def _purge(call: _Call) -> Response:
    call.found(deleted=True)
    call.forget()
    return Response(status_code=204)


def _attributes(body: dict[str, Any]) -> dict[str, Any]:
    given = body.get("attributes")
    given = given if isinstance(given, dict) else {}
    return {key: given[key] for key in _ATTRIBUTES if given.get(key) is not None}


def _item(call: _Call, name: str, version: dict[str, Any], versioned: bool = False) -> Resource:
    """A secret without its value."""
    shown = {key: version[key] for key in ("contentType", "tags") if version[key] is not None}
    attributes = {"recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90}
    return {
        "id": f"{call.address}/secrets/{name}" + (f"/{version['version']}" if versioned else ""),
        "attributes": {**version["attributes"], **attributes},
        **shown,
    }


def _bundle(call: _Call, name: str, version: dict[str, Any]) -> Resource:
    return {"value": version["value"], **_item(call, name, version, versioned=True)}


def _deleted(call: _Call, name: str, secret: Secret) -> Resource:
    return {
        "recoveryId": f"{call.address}/deletedsecrets/{name}",
        "deletedDate": secret["deleted"],
        "scheduledPurgeDate": secret["deleted"] + _RETENTION_SECONDS,
        **_item(call, name, secret["versions"][-1], versioned=True),
    }
