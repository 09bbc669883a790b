"""Plain authenticated HTTP to a workspace, for what the SDK does not show."""

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import httpx

from tests.contract.target import Target

API_VERSION = "2024-10-01-preview"
MANAGEMENT = "https://management.azure.com"
_Found = TypeVar("_Found")


class Service:
    """Requests with a token; the answers are given as they come, errors too."""

    def __init__(self, target: Target) -> None:
        self.target = target

    @functools.cached_property
    def _http(self) -> httpx.Client:
        return httpx.Client(timeout=120)

    @functools.cached_property
    def _credential(self) -> Any:
        from azure.identity import DefaultAzureCredential

        return DefaultAzureCredential()

    def send(
        self,
        method: str,
        path: str = "",
        body: Any = None,
        *,
        version: str | None = API_VERSION,
        **parameters: str,
    ) -> httpx.Response:
        """A request below the workspace, or to a full address."""
        if not path.startswith("https://"):
            path = f"{MANAGEMENT}{self.target.path}{path}"
        if version and "api-version=" not in path:
            parameters["api-version"] = version
        token = self._credential.get_token(f"{MANAGEMENT}/.default").token
        return self._http.request(
            method,
            path,
            json=body,
            params=parameters or None,
            headers={"Authorization": f"Bearer {token}"},
        )

    def data_plane(self, service: str) -> str:
        """The address of a service of the workspace's data plane (history, ...)."""
        return f"{self._addresses[service]}/{service}/v1.0{self.target.path}"

    def tracking(self) -> str:
        """The address of the workspace's MLflow tracking calls."""
        return f"{self._addresses['api']}/mlflow/v2.0{self.target.path}/api/2.0/mlflow"

    @functools.cached_property
    def _addresses(self) -> dict[str, str]:
        address = self.send("GET").json()["properties"]["discoveryUrl"]
        found: dict[str, str] = self.send("GET", address, version=None).json()
        return found

    def pages(self, path: str, **parameters: str) -> Iterator[dict[str, Any]]:
        """The items of a list, page after page."""
        answer = self.send("GET", path, **parameters)
        while True:
            answer.raise_for_status()
            page = answer.json()
            yield from page["value"]
            following = page.get("nextLink")
            if not following:
                return
            answer = self.send("GET", following)

    def finish(self, answer: httpx.Response, seconds: float = 1200) -> dict[str, Any]:
        """Wait for the end of the operation that an answer began; gives the last status."""
        address = answer.headers["azure-asyncoperation"]

        def ended() -> dict[str, Any] | None:
            status: dict[str, Any] = self.send("GET", address).json()
            return status if status["status"] in ("Succeeded", "Failed", "Canceled") else None

        return until(ended, seconds)


def inner_codes(answer: httpx.Response) -> list[str]:
    """The codes below an error's own, from the widest to the narrowest."""
    facts = {fact["type"]: fact["info"] for fact in answer.json()["error"]["additionalInfo"]}
    inner = facts.get("InnerError", {}).get("value")
    codes = []
    while inner:
        codes.append(inner["code"])
        inner = inner["innerError"]
    return codes


def until(attempt: Callable[[], _Found | None], seconds: float) -> _Found:
    """Try again, ever more slowly, until there is something; TimeoutError when there is not."""
    deadline = time.monotonic() + seconds
    pause = 0.05
    while True:
        found = attempt()
        if found is not None:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s")
        time.sleep(pause)
        pause = min(pause * 1.5, 10)
