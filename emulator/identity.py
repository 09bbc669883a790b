"""Microsoft Entra ID as far as a client secret needs it, and the check of its tokens."""

import uuid
from urllib.parse import parse_qs

import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.clock import CLOCK
from emulator.config import Config
from emulator.faults import CURRENT
from emulator.http import AzureError, Router, emulator_of

LIFETIME_SECONDS = 3599
_MOST_VERIFIED = 1000
"""Tokens whose signature is not computed again at every request."""

MANAGEMENT = ("https://management.azure.com", "https://management.core.windows.net")
MACHINE_LEARNING = ("https://ml.azure.com",)
STORAGE = ("https://storage.azure.com",)
VAULT = ("https://vault.azure.net",)
RESOURCES = MANAGEMENT + MACHINE_LEARNING + STORAGE + VAULT
"""All that there are tokens for."""


class Tokens:
    """Issues access tokens and checks them."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._verified: dict[tuple[str, tuple[str, ...]], int] = {}

    @property
    def owner(self) -> str:
        """The object id of who the emulator's own client secret stands for."""
        return _object_id(self._config.client_id)

    def issue(
        self,
        audience: str,
        client_id: str,
        lifetime: int = LIFETIME_SECONDS,
        principal: str | None = None,
    ) -> str:
        """A token of a client; `principal` is its object id where that is not made from it."""
        now = int(CLOCK.time())
        tenant = self._config.tenant
        claims = {
            "aud": audience,
            "iss": f"https://sts.windows.net/{tenant}/",
            "tid": tenant,
            "appid": client_id,
            "oid": principal or _object_id(client_id),
            "iat": now,
            "nbf": now,
            "exp": now + lifetime,
        }
        return jwt.encode(claims, self._config.signing_key, algorithm="HS256")

    def check(self, request: Request, *audiences: str) -> None:
        """Refuse a request without a valid bearer token for one of the audiences."""
        self.check_at(CLOCK.time(), request, *audiences)

    def check_at(self, now: float, request: Request, *audiences: str) -> None:
        """The same at a time in seconds since the epoch."""
        audiences = audiences or MANAGEMENT + MACHINE_LEARNING
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise refused("AuthenticationFailed", "Authentication failed: no bearer token.")
        expiry = self._verified.get((token, audiences))
        if expiry is None:
            expiry = self._expiry(token, audiences)
            if len(self._verified) >= _MOST_VERIFIED:
                self._verified.clear()
            self._verified[token, audiences] = expiry
        if expiry <= now:
            raise refused("ExpiredAuthenticationToken", "The access token expiry has passed.")

    def caller(self, request: Request) -> str:
        """The object id of who sent a request that was checked."""
        token = request.headers.get("authorization", "").partition(" ")[2]
        return str(jwt.decode(token, options={"verify_signature": False})["oid"])

    def _expiry(self, token: str, audiences: tuple[str, ...]) -> int:
        """When a token ends, in seconds since the epoch; raises for one that does not do."""
        try:
            claims = jwt.decode(
                token,
                self._config.signing_key,
                algorithms=["HS256"],
                audience=[a + slash for a in audiences for slash in ("", "/")],
                # By the emulator's clock, in `check_at`.
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
            return int(claims["exp"])
        except jwt.InvalidAudienceError as error:
            raise refused(
                "InvalidAuthenticationTokenAudience",
                "The access token has been obtained for the wrong audience. The allowed "
                f"audiences are {', '.join(audiences)}.",
            ) from error
        except (jwt.PyJWTError, KeyError, ValueError) as error:
            raise refused("InvalidAuthenticationToken", "The access token is invalid.") from error


def _object_id(client_id: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, client_id))


def refused(code: str, message: str) -> AzureError:
    """The answer to a token that does not do."""
    return AzureError(
        401,
        code,
        message,
        {"WWW-Authenticate": f'Bearer error="invalid_token", error_description="{message}"'},
    )


def identity_router() -> Router:
    router = Router("identity")

    @router.operation(
        "Identity_OpenIdConfiguration", "GET", "/{tenant}/v2.0/.well-known/openid-configuration"
    )
    async def openid_configuration(request: Request) -> Response:
        tenant = request.path_params["tenant"]
        base = f"https://login.microsoftonline.com/{tenant}"
        return JSONResponse(
            {
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                "issuer": f"{base}/v2.0",
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "response_types_supported": ["code", "id_token", "token"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "tenant_region_scope": "NA",
            }
        )

    @router.operation("Identity_InstanceDiscovery", "GET", "/common/discovery/instance")
    async def instance_discovery(request: Request) -> Response:
        host = "login.microsoftonline.com"
        tenant = emulator_of(request).config.tenant
        return JSONResponse(
            {
                "tenant_discovery_endpoint": f"https://{host}/{tenant}/v2.0/"
                ".well-known/openid-configuration",
                "api-version": "1.1",
                "metadata": [
                    {"preferred_network": host, "preferred_cache": host, "aliases": [host]}
                ],
            }
        )

    @router.operation("Identity_Token", "POST", "/{tenant}/oauth2/v2.0/token")
    async def token(request: Request) -> Response:
        form = await _form(request)
        return _token(request, form, form.get("scope", "").split(" ")[0].removesuffix("/.default"))

    @router.operation("Identity_Token", "POST", "/{tenant}/oauth2/token")
    async def token_of_version_1(request: Request) -> Response:
        form = await _form(request)
        return _token(request, form, form.get("resource", ""), version=1)

    return router


async def _form(request: Request) -> dict[str, str]:
    fields = parse_qs((await request.body()).decode(errors="replace"))
    return {name: values[0] for name, values in fields.items()}


def _token(request: Request, form: dict[str, str], audience: str, version: int = 2) -> Response:
    """A token for an audience to who knows the client's secret, as Entra ID's endpoint answers."""
    emulator = emulator_of(request)
    config = emulator.config
    if form.get("grant_type") != "client_credentials":
        return oauth_error(
            400,
            "unsupported_grant_type",
            70003,
            f"The local Azure ML supports client secrets only, not the grant type "
            f"'{form.get('grant_type')}'.",
        )
    if request.path_params["tenant"] != config.tenant:
        return oauth_error(
            400, "invalid_request", 90002, f"Tenant '{request.path_params['tenant']}' not found."
        )
    if form.get("client_id") != config.client_id:
        return oauth_error(
            400,
            "unauthorized_client",
            700016,
            f"Application with identifier '{form.get('client_id')}' was not found.",
        )
    if form.get("client_secret") != config.client_secret:
        return oauth_error(401, "invalid_client", 7000215, "Invalid client secret provided.")
    audience = audience.rstrip("/")
    if audience not in RESOURCES:
        return oauth_error(
            400,
            "invalid_resource",
            500011,
            f"The resource principal named {audience} was not found.",
        )
    lifetime = _lifetime()
    answer: dict[str, object] = {
        "token_type": "Bearer",
        "expires_in": lifetime,
        "ext_expires_in": lifetime,
        "access_token": emulator.tokens.issue(audience, config.client_id, lifetime),
    }
    if version == 1:  # numbers as text, and when it ends
        now = int(CLOCK.now().timestamp())
        answer |= {"expires_in": str(lifetime), "ext_expires_in": str(lifetime)}
        answer |= {"expires_on": str(now + lifetime), "not_before": str(now)}
        answer["resource"] = form["resource"]
    return JSONResponse(answer)


def _lifetime() -> int:
    """How many seconds a new token lives: as always, or as a fault has it."""
    fault = CURRENT.get()
    token = fault.rule.action.token if fault else None
    if isinstance(token, int):
        return token
    return LIFETIME_SECONDS if token is None else 0


def oauth_error(status: int, error: str, code: int, text: str) -> Response:
    """An error as Entra ID tells it."""
    return JSONResponse(
        {
            "error": error,
            "error_description": f"AADSTS{code}: {text}",
            "error_codes": [code],
            "correlation_id": str(uuid.uuid4()),
        },
        status,
    )
