"""Plain requests to the resource manager, where the tests have no SDK for a service."""

from functools import cache
from typing import Any

import requests
from azure.identity import DefaultAzureCredential

MANAGEMENT = "https://management.azure.com"


def ask(method: str, path: str, body: dict[str, Any] | None = None) -> requests.Response:
    return requests.request(
        method,
        MANAGEMENT + path,
        json=body,
        headers={"Authorization": f"Bearer {token(MANAGEMENT)}"},
        timeout=10,
    )


@cache
def token(audience: str) -> str:
    return DefaultAzureCredential().get_token(f"{audience}/.default").token
