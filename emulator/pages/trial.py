"""A request to an endpoint from its page: it takes the way of every client's request.

It goes through the proxy, over TLS, to the scoring host: so the event log has it, faults meet it,
and a mirrored deployment gets its copy.
"""

import ssl
import time
from typing import TYPE_CHECKING, Any

import httpx

from emulator.identity import MACHINE_LEARNING
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

_SECONDS = 200.0
"""A little more than the longest time-out of a request that a deployment may have."""
_DEPLOYMENT = "azureml-model-deployment"


class Trial:
    """Sends requests to the endpoints of one emulator."""

    def __init__(self, emulator: "Emulator") -> None:
        self._emulator = emulator

    async def send(self, endpoint: Resource, deployment: str | None, body: str) -> dict[str, Any]:
        """Status, text, deployment and milliseconds of the answer; status 0 without an answer."""
        headers = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self._credential(endpoint)}",
        }
        if deployment:
            headers[_DEPLOYMENT] = deployment
        config = self._emulator.config
        trust = ssl.create_default_context(cafile=str(config.ca_bundle))
        began = time.monotonic()
        try:
            async with httpx.AsyncClient(
                proxy=config.proxy_url, verify=trust, trust_env=False, timeout=_SECONDS
            ) as client:
                got = await client.post(
                    endpoint["properties"]["scoringUri"], content=body.encode(), headers=headers
                )
            answer = {
                "status": got.status_code,
                "text": got.text,
                "deployment": got.headers.get(_DEPLOYMENT),
            }
        except httpx.HTTPError as error:
            text = f"The connection broke: {error!r}"
            answer = {"status": 0, "text": text, "deployment": None}
        answer["milliseconds"] = round((time.monotonic() - began) * 1000)
        return answer

    def _credential(self, endpoint: Resource) -> str:
        emulator = self._emulator
        if endpoint["properties"]["authMode"] != "Key":
            return emulator.tokens.issue(MACHINE_LEARNING[0], emulator.config.client_id)
        keys = emulator.store.document("endpoint keys").get(endpoint["id"].lower()) or {}
        return str(keys.get("primaryKey", ""))
