"""Who may do what with blobs: shared keys, shared access signatures, bearer tokens."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from ipaddress import ip_address

from starlette.requests import Request

from emulator.authorization import allows
from emulator.blob_signatures import (
    account_sas_text,
    same,
    service_sas_text,
    shared_key_texts,
    sign,
)
from emulator.blob_store import BlobError, BlobStore
from emulator.clock import CLOCK
from emulator.http import AzureError, emulator_of
from emulator.identity import STORAGE

_OLDEST_SAS = "2018-11-09"
_CLOCK_SKEW = timedelta(minutes=15)
_FAILED = (
    "Server failed to authenticate the request. Make sure the value of Authorization header is "
    "formed correctly including the signature."
)


def authorize(
    request: Request,
    store: BlobStore,
    container: str,
    name: str,
    query: Mapping[str, str],
    permissions: str,
    action: str,
) -> None:
    """Refuse a request that no valid signature or token allows.

    `permissions`: any one of these letters of a SAS is enough. `action`: what a role of who has a
    token must allow. An empty `name` means the container itself.
    """
    authorization = request.headers.get("authorization", "")
    scheme = authorization.partition(" ")[0].lower()
    if scheme == "sharedkey":
        _check_shared_key(request, store, authorization)
    elif scheme == "bearer":
        _check_token(request)
        _check_role(request, store, container, action)
    elif "sig" in query:
        _check_sas(request, store, container, name, query, permissions)
    else:
        raise BlobError(
            401,
            "NoAuthenticationInformation",
            "Server failed to authenticate the request. Please refer to the information in the "
            "www-authenticate header.",
            headers=_challenge(request),
        )


def _challenge(request: Request) -> dict[str, str]:
    tenant = emulator_of(request).config.tenant
    return {
        "WWW-Authenticate": "Bearer authorization_uri=https://login.microsoftonline.com/"
        f"{tenant}/oauth2/authorize resource_id=https://storage.azure.com"
    }


def _check_token(request: Request) -> None:
    try:
        emulator_of(request).tokens.check(request, *STORAGE)
    except AzureError as error:
        raise BlobError(
            401, "InvalidAuthenticationInfo", error.message, headers=_challenge(request)
        ) from error


def _check_role(request: Request, store: BlobStore, container: str, action: str) -> None:
    emulator = emulator_of(request)
    caller = emulator.tokens.caller(request)
    path = f"{emulator.accounts.path(store.account)}/blobServices/default/containers/{container}"
    if not allows(emulator, caller, path, action):
        raise BlobError(
            403,
            "AuthorizationPermissionMismatch",
            "This request is not authorized to perform this operation using this permission.",
        )


def _check_shared_key(request: Request, store: BlobStore, authorization: str) -> None:
    account, _, signature = authorization.partition(" ")[2].partition(":")
    if account != store.account:
        raise _failed(f"The account name '{account}' is not this account's.")
    _check_date(request)
    texts = shared_key_texts(
        store.account,
        request.method,
        request.scope["raw_path"].decode(),
        request.scope["query_string"].decode(),
        request.headers,
    )
    if not any(same(signature, sign(key, text)) for key in store.keys for text in texts):
        raise _failed(
            f"The MAC signature found in the HTTP request '{signature}' is not the same as any "
            "computed signature."
        )


def _check_date(request: Request) -> None:
    text = request.headers.get("x-ms-date") or request.headers.get("date") or ""
    try:
        date = parsedate_to_datetime(text)
    except ValueError as error:
        raise _failed("Neither x-ms-date nor Date is a valid date.") from error
    # The machine's time, not the emulator's: a client's clock does not turn with ours.
    if date.tzinfo is None or abs(datetime.now(UTC) - date) > _CLOCK_SKEW:
        raise _failed("Request date header too old: " + text)


def _check_sas(
    request: Request,
    store: BlobStore,
    container: str,
    name: str,
    query: Mapping[str, str],
    permissions: str,
) -> None:
    if query.get("sv", "") < _OLDEST_SAS:
        raise _failed(f"sv must be {_OLDEST_SAS} or later.")
    if "skoid" in query:
        raise BlobError(
            501, "NotImplemented", "The local store does not support user delegation SAS."
        )
    if "sr" in query:
        _check_service_sas(store, container, name, query)
    elif "srt" in query:
        _check_account_sas(store, name, query)
    else:
        raise _failed("sr is mandatory. Cannot be empty")
    _check_conditions(request, query)
    if not set(permissions) & set(query.get("sp", "")):
        raise BlobError(
            403,
            "AuthorizationPermissionMismatch",
            "This request is not authorized to perform this operation using this permission.",
        )


def _check_service_sas(
    store: BlobStore, container: str, name: str, query: Mapping[str, str]
) -> None:
    kind = query["sr"]
    if kind not in ("b", "c"):
        raise BlobError(501, "NotImplemented", f"The local store does not support sr={kind}.")
    _check_signature(store, service_sas_text(store.account, container, name, query), query)
    listing = query.get("comp") == "list" and query.get("restype") == "container"
    if not name and not (kind == "c" and listing):
        raise BlobError(
            403,
            "AuthorizationFailure",
            "This request is not authorized to perform this operation.",
        )


def _check_account_sas(store: BlobStore, name: str, query: Mapping[str, str]) -> None:
    _check_signature(store, account_sas_text(store.account, query), query)
    if "b" not in query.get("ss", ""):
        raise BlobError(
            403,
            "AuthorizationServiceMismatch",
            "This request is not authorized to perform this operation using this service.",
        )
    if ("o" if name else "c") not in query["srt"]:
        raise BlobError(
            403,
            "AuthorizationResourceTypeMismatch",
            "This request is not authorized to perform this operation using this resource type.",
        )


def _check_signature(store: BlobStore, text: str, query: Mapping[str, str]) -> None:
    if "si" in query:
        raise _failed("The container has no stored access policies.")
    if not any(same(query["sig"], sign(key, text)) for key in store.keys):
        raise _failed(f"Signature did not match. String to sign used was {text}")


def _check_conditions(request: Request, query: Mapping[str, str]) -> None:
    now = CLOCK.now()
    start, expiry = _instant(query, "st"), _instant(query, "se")
    if expiry is None or now >= expiry or (start is not None and now < start):
        raise _failed(
            "Signature not valid in the specified time frame: "
            f"Start [{query.get('st', '')}] - Expiry [{query.get('se', '')}] - "
            f"Current [{now:%a, %d %b %Y %H:%M:%S} GMT]"
        )
    if query.get("spr") == "https" and request.url.scheme != "https":
        raise BlobError(
            403,
            "AuthorizationProtocolMismatch",
            "This request is not authorized to perform this operation using this protocol.",
        )
    if "sip" in query and not _within(request, query["sip"]):
        raise BlobError(
            403,
            "AuthorizationSourceIPMismatch",
            "This request is not authorized to perform this operation using this source IP.",
        )


def _instant(query: Mapping[str, str], name: str) -> datetime | None:
    if not (text := query.get(name)):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise _failed(f"{name} is not a valid time: {text}") from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _within(request: Request, addresses: str) -> bool:
    first, _, last = addresses.partition("-")
    try:
        client = ip_address(request.client.host if request.client else "")
        return int(ip_address(first)) <= int(client) <= int(ip_address(last or first))
    except ValueError:
        return False


def _failed(detail: str) -> BlobError:
    return BlobError(403, "AuthenticationFailed", _FAILED, detail)
