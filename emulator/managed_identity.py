"""Where code finds a token of the managed identity that it runs with, as on the service's nodes.

MSI_ENDPOINT is the address, on this machine; MSI_SECRET says whose identities it opens.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.clock import CLOCK
from emulator.identity import LIFETIME_SECONDS, RESOURCES

if TYPE_CHECKING:
    from emulator.config import Config
    from emulator.core import Emulator

PATH = "/msi/token"
_AUDIENCE = "urn:azureml-emulator:managed-identity"


def variables(config: "Config", path: str) -> dict[str, str]:
    """What leads a process to the identities of a resource."""
    claims = {"aud": _AUDIENCE, "sub": path}
    return {
        "MSI_ENDPOINT": config.proxy_url + PATH,
        "MSI_SECRET": jwt.encode(claims, config.signing_key, algorithm="HS256"),
    }


def token(emulator: "Emulator", request: Request) -> Response:
    """A token for `resource`, of the system-assigned identity or of the one with `clientid`."""
    try:
        secret = jwt.decode(
            request.headers.get("secret", ""),
            emulator.config.signing_key,
            algorithms=["HS256"],
            audience=_AUDIENCE,
        )
    except jwt.PyJWTError:
        return _refused(401, "The header 'secret' is not the value of MSI_SECRET.")
    audience = request.query_params.get("resource", "").removesuffix("/.default").rstrip("/")
    if audience not in RESOURCES:
        return _refused(400, f"There is no resource {audience or '(none was named)'} here.")
    client = request.query_params.get("clientid") or request.query_params.get("client_id")
    resource = emulator.store.get(str(secret["sub"])) or {}
    ids = _ids(resource.get("identity") or {}, client)
    if ids is None:
        return _refused(
            400,
            f"No managed identity was found for {'client ID ' + client if client else 'this '}"
            f"{'' if client else 'resource: it has no system-assigned one; name a client ID'}.",
        )
    principal, client = ids
    ends = int(CLOCK.time()) + LIFETIME_SECONDS
    return JSONResponse(
        {
            "access_token": emulator.tokens.issue(audience, client, principal=principal),
            "expires_on": str(ends),
            "resource": audience,
            "token_type": "Bearer",
            "client_id": client,
        }
    )


def _ids(identity: Mapping[str, Any], client: str | None) -> tuple[str, str] | None:
    """Object id and client id of one of a resource's identities; None when it has no such."""
    if client is None:
        principal = identity.get("principalId")
        return (principal, principal) if principal else None
    for user in (identity.get("userAssignedIdentities") or {}).values():
        if isinstance(user, dict) and user.get("clientId") == client:
            return user["principalId"], client
    return None


def _refused(status: int, message: str) -> Response:
    return JSONResponse({"statusCode": status, "message": message}, status)
