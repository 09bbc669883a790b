"""Plain HTTP to the tests' emulator, for what the SDK does not send or does not show."""

from typing import Any

import httpx
import pytest

from tests.contract.service import Service, until
from tests.contract.target import Target
from tests.emulator.running import RunningEmulator

REGISTRY = (
    "https://eastus.api.azureml.ms/mferp/managementfrontend/subscriptions/s/resourceGroups/g"
    "/providers/Microsoft.MachineLearningServices/registries"
)


@pytest.fixture(scope="module")
def service(emulator: RunningEmulator) -> Service:
    """Requests to the emulator's workspace."""
    given = emulator.environment
    return Service(
        Target(
            given["AZUREML_SUBSCRIPTION_ID"],
            given["AZUREML_RESOURCE_GROUP"],
            given["AZUREML_WORKSPACE_NAME"],
            environment=given,
        )
    )


def ok(answer: httpx.Response, status: int = 200) -> Any:
    """The body of an answer with the status that it should have."""
    assert answer.status_code == status, f"{answer.status_code}: {answer.text}"
    return answer.json() if answer.content else None


def done(service: Service, answer: httpx.Response) -> None:
    """Wait for the end of the operation that an answer began."""
    assert answer.status_code in (200, 201, 202), answer.text
    assert service.finish(answer, 60)["status"] == "Succeeded"


def job_ended(service: Service, name: str) -> str:
    """The status that a job ends with."""

    def status() -> str | None:
        now = str(ok(service.send("GET", f"/jobs/{name}"))["properties"]["status"])
        return now if now in ("Completed", "Failed", "Canceled") else None

    return until(status, 90)
