"""How the service says no: bodies, headers, and long-running operations."""

import re

import httpx
import pytest

from tests.contract.created import Created
from tests.contract.plan import CLUSTER_SIZE
from tests.contract.service import MANAGEMENT, Service, inner_codes


@pytest.mark.parametrize(
    "path", ["/data/{}/versions/1", "/models/{}", "/jobs/{}", "/components/{}"]
)
def test_the_shape_of_an_error(service: Service, created: Created, path: str) -> None:
    answer = service.send("GET", path.format(created.name("none", "_")))
    assert answer.status_code == 404
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) >= {"code", "message", "details", "additionalInfo"}
    facts = {fact["type"]: fact["info"]["value"] for fact in error["additionalInfo"]}
    assert facts["ComponentName"] == "managementfrontend"
    assert set(facts["Correlation"]) == {"operation", "request"}
    assert re.match(r"\d{4}-\d\d-\d\dT", facts["Time"])
    assert {"Environment", "Location"} <= set(facts)


@pytest.mark.parametrize(
    ("path", "codes"),
    [
        ("/datastores/{}", ["NotFoundError"]),
        ("/components/{}", ["NotFound", "ComponentNotFound"]),
        ("/environments/{}", ["NotFoundError"]),
        ("/jobs/{}", ["NotFound", "JobNotFound"]),
        ("/schedules/{}", ["NotFound"]),
    ],
)
def test_what_is_missing_is_told_by_narrower_codes(
    service: Service, created: Created, path: str, codes: list[str]
) -> None:
    answer = service.send("GET", path.format(created.name("none", "_")))
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "UserError"
    assert inner_codes(answer) == codes


def test_a_batch_endpoint_that_is_not_there(service: Service, created: Created) -> None:
    name = created.name("none")
    answer = service.send("GET", f"/batchEndpoints/{name}")
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert error["code"] == "NotFound"
    assert [detail["code"] for detail in error["details"]] == ["NoSuchEndpoint"]
    assert name in error["details"][0]["message"]


def test_the_headers_of_an_error(service: Service, created: Created) -> None:
    answer = service.send("GET", f"/jobs/{created.name('none')}")
    assert answer.headers["x-ms-response-type"] == "error"
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["strict-transport-security"]
    assert answer.headers["x-ms-correlation-request-id"]


def test_the_headers_of_an_answer(service: Service) -> None:
    answer = service.send("GET", "/datastores")
    assert answer.headers["x-ms-response-type"] == "standard"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-ms-request-id"] or answer.headers["x-ms-correlation-request-id"]


def test_no_token_and_a_bad_token(service: Service) -> None:
    url = f"{MANAGEMENT}{service.target.path}?api-version=2024-10-01-preview"
    assert httpx.get(url).status_code == 401
    bad = httpx.get(url, headers={"Authorization": "Bearer nothing"})
    assert bad.status_code == 401
    assert bad.json()["error"]["code"] == "InvalidAuthenticationToken"


def test_a_workspace_that_is_not_there(service: Service, created: Created) -> None:
    path = service.target.path.rpartition("/")[0] + "/" + created.name("none")
    answer = service.send("GET", MANAGEMENT + path)
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert error["code"] == "ResourceNotFound"
    assert error["message"].startswith(
        "The Resource 'Microsoft.MachineLearningServices/workspaces/"
    )


def test_a_body_that_is_no_json_is_refused(service: Service, created: Created) -> None:
    token = service._credential.get_token(f"{MANAGEMENT}/.default").token
    answer = httpx.put(
        f"{MANAGEMENT}{service.target.path}/jobs/{created.name('job')}",
        params={"api-version": "2024-10-01-preview"},
        content=b"{",
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["code"]


@pytest.mark.operation("Operations_Status", "Compute_CreateOrUpdate", cost="compute-minutes")
def test_a_long_running_operation_tells_where_to_look(service: Service, created: Created) -> None:
    name = created.name("cpu")
    body = {
        "location": service.send("GET").json()["location"],
        "tags": created.tags,
        "properties": {
            "computeType": "AmlCompute",
            "properties": {
                "vmSize": CLUSTER_SIZE,
                "vmPriority": "LowPriority",
                "scaleSettings": {"minNodeCount": 0, "maxNodeCount": 1},
            },
        },
    }
    answer = service.send("PUT", f"/computes/{name}", body)
    assert answer.status_code == 201
    assert answer.json()["properties"]["provisioningState"] in ("Creating", "Updating")
    assert answer.headers["azure-asyncoperation"].startswith(f"{MANAGEMENT}/subscriptions/")
    assert service.finish(answer)["status"] == "Succeeded"
    deleted = service.send("DELETE", f"/computes/{name}", underlyingResourceAction="Delete")
    assert deleted.status_code == 202
    assert "location" in deleted.headers
    assert service.finish(deleted)["status"] == "Succeeded"
