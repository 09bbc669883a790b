"""The signatures of Azure Storage, computed here: shared keys, service SAS, account SAS."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import quote, unquote

from emulator.clock import CLOCK

SAS_VERSION = "2021-12-02"
_PERMISSION_ORDER = "racwdxltmeopi"
_SIGNED_HEADERS = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)


def sign(key: str, text: str) -> str:
    """HMAC-SHA256 of a text under a base64 key, in base64."""
    digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def service_sas(
    account: str,
    key: str,
    container: str,
    blob: str | None,
    permissions: str,
    *,
    hours: float,
) -> str:
    """The query string of a service SAS for a container, or for one blob, from now on."""
    query = _validity(hours) | {
        "sr": "b" if blob else "c",
        "sp": "".join(p for p in _PERMISSION_ORDER if p in permissions),
    }
    query["sig"] = sign(key, service_sas_text(account, container, blob, query))
    return _joined(query)


def account_sas(account: str, key: str, permissions: str, *, hours: float) -> str:
    """The query string of an account SAS for all blobs and containers, from now on."""
    query = _validity(hours) | {"ss": "b", "srt": "sco", "sp": permissions, "spr": "https"}
    query["sig"] = sign(key, account_sas_text(account, query))
    return _joined(query)


def _validity(hours: float) -> dict[str, str]:
    now = CLOCK.now()
    return {
        "sv": SAS_VERSION,
        # Clients whose clock is a little behind are welcome too.
        "st": _instant(now - timedelta(minutes=15)),
        "se": _instant(now + timedelta(hours=hours)),
    }


def _joined(query: Mapping[str, str]) -> str:
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())


def service_sas_text(
    account: str, container: str, blob: str | None, query: Mapping[str, str]
) -> str:
    """What the signature of a service SAS covers (versions from 2018-11-09)."""
    resource = f"/blob/{account}/{container}" + (f"/{blob}" if query.get("sr") == "b" else "")
    fields = [query.get(name, "") for name in ("sp", "st", "se")]
    fields += [resource, query.get("si", ""), query.get("sip", ""), query.get("spr", "")]
    fields += [query.get("sv", ""), query.get("sr", ""), ""]
    if query.get("sv", "") >= "2020-12-06":
        fields.append(query.get("ses", ""))
    fields += [query.get(name, "") for name in ("rscc", "rscd", "rsce", "rscl", "rsct")]
    return "\n".join(fields)


def account_sas_text(account: str, query: Mapping[str, str]) -> str:
    """What the signature of an account SAS covers."""
    names = ["sp", "ss", "srt", "st", "se", "sip", "spr", "sv"]
    if query.get("sv", "") >= "2020-12-06":
        names.append("ses")
    return "\n".join([account, *(query.get(name, "") for name in names), ""])


def shared_key_texts(
    account: str, method: str, raw_path: str, raw_query: str, headers: Mapping[str, str]
) -> set[str]:
    """What the signature of a shared-key request may cover.

    The service sorts the x-ms- headers by its own collation, in which hyphens hardly count;
    its documentation says plain order. Both are accepted: they differ in few requests.
    """
    given = {name.lower(): value.strip() for name, value in headers.items()}
    if given.get("content-length") == "0":
        given["content-length"] = ""
    if "x-ms-date" in given:
        given["date"] = ""
    parts: dict[str, list[str]] = {}
    for pair in raw_query.split("&") if raw_query else []:
        name, _, value = pair.partition("=")
        parts.setdefault(unquote(name).lower(), []).append(unquote(value))
    query = "".join(f"\n{name}:{','.join(sorted(parts[name]))}" for name in sorted(parts))
    resource = f"/{account}{raw_path}{query}"
    names = [name for name in given if name.startswith("x-ms-")]
    orders = (sorted(names), sorted(names, key=_collation))
    return {
        "\n".join(
            [
                method,
                *(given.get(name, "") for name in _SIGNED_HEADERS),
                *(f"{name}:{given[name]}" for name in order),
                resource,
            ]
        )
        for order in orders
    }


def _collation(name: str) -> str:
    return name.replace("-", "").replace("_", "\x01")


def _instant(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
