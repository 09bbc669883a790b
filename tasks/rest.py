"""Requests that the SDK has no call for, or whose answers it reads too slowly."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.core import PipelineClient
    from azure.core.credentials import TokenCredential

MANAGEMENT = "https://management.azure.com"
_RETRIES = 2


def plain() -> "PipelineClient[Any, Any]":
    """A client for addresses that need no token or carry a signature."""
    from azure.core import PipelineClient
    from azure.core.pipeline.policies import RetryPolicy

    return PipelineClient("", policies=[RetryPolicy(retry_total=_RETRIES)])


def signed_in(credential: "TokenCredential") -> "PipelineClient[Any, Any]":
    """A client for Azure's management and for the workspaces' own services."""
    from azure.core import PipelineClient
    from azure.core.pipeline.policies import BearerTokenCredentialPolicy, RetryPolicy

    sign = BearerTokenCredentialPolicy(credential, f"{MANAGEMENT}/.default")
    return PipelineClient("", policies=[RetryPolicy(retry_total=_RETRIES), sign])


def get_json(client: "PipelineClient[Any, Any]", address: str) -> dict[str, Any]:
    """The JSON object at the address. Raises HttpResponseError and what the connection raises."""
    from azure.core.rest import HttpRequest

    response = client.send_request(HttpRequest("GET", address))
    response.raise_for_status()
    body: dict[str, Any] = response.json()
    return body


def workspace_address(client: "MLClient") -> str:
    """The address of the client's workspace at Azure's management."""
    return (
        f"{MANAGEMENT}/subscriptions/{client.subscription_id}"
        f"/resourceGroups/{client.resource_group_name}"
        f"/providers/Microsoft.MachineLearningServices/workspaces/{client.workspace_name}"
    )
