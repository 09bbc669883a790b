"""Keeping secrets out of everything that a person or a file is shown."""

import os
import re

# Each pattern keeps what says WHICH secret stood there and drops the secret.
_SECRETS = [
    re.compile(r"((?:[?&]|\b)sig=)[^&\s\"'<>]+", re.IGNORECASE),
    re.compile(r"(\bBearer\s+)[\w.~+/=-]+", re.IGNORECASE),
    re.compile(r"(\bSharedKey(?:Lite)?\s+\w+:)[\w+/=]+", re.IGNORECASE),
    re.compile(
        r"(\b(?:client[_-]?secret|client[_-]?assertion|account[_-]?key|access[_-]?token"
        r"|refresh[_-]?token|shared[_-]?access[_-]?key|primary[_-]?key|secondary[_-]?key"
        r"|sas[_-]?token|password|pwd)[\"']?\s*[=:]\s*[\"']?)[^\s\"',;&}]+",
        re.IGNORECASE,
    ),
    re.compile(r"()\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"),
    re.compile(r"()\bhf_[A-Za-z0-9]{16,}"),
]
_SECRET_VARIABLES = ("AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "HF_TOKEN")


def scrub(text: str) -> str:
    """`text` without tokens, signatures, keys and the secrets of this process's environment."""
    for name in _SECRET_VARIABLES:
        secret = os.environ.get(name, "")
        if len(secret) >= 6:
            text = text.replace(secret, "***")
    for pattern in _SECRETS:
        text = pattern.sub(r"\1***", text)
    return text
