"""Deployments with a scoring script, and requests to them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import ManagedOnlineDeployment

ENDPOINT = "custom-scripts"


def custom(
    name: str,
    code: Path,
    model: str | None,
    script: str = "onlinescoring/score.py",
    endpoint: str = ENDPOINT,
    **variables: str,
) -> "ManagedOnlineDeployment":
    from azure.ai.ml.entities import (
        CodeConfiguration,
        Environment,
        ManagedOnlineDeployment,
        OnlineRequestSettings,
    )

    return ManagedOnlineDeployment(
        name=name,
        endpoint_name=endpoint,
        model=model,
        code_configuration=CodeConfiguration(code=str(code), scoring_script=script),
        environment=Environment(image="mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04:latest"),
        environment_variables=variables,
        instance_type="Standard_DS3_v2",
        instance_count=1,
        request_settings=OnlineRequestSettings(request_timeout_ms=3000),
    )


def deploy(client: "MLClient", deployment: "ManagedOnlineDeployment") -> Any:
    return client.online_deployments.begin_create_or_update(deployment).result()


def score(
    client: "MLClient", deployment: str, endpoint: str = ENDPOINT, **body: Any
) -> httpx.Response:
    key = client.online_endpoints.get_keys(endpoint).primary_key
    return httpx.post(
        f"https://{endpoint}.eastus.inference.ml.azure.com/score",
        json=body,
        headers={"Authorization": f"Bearer {key}", "azureml-model-deployment": deployment},
        timeout=30,
    )
