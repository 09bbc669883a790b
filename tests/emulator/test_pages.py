"""The emulator's own pages over plain HTTP: what they show, and to whom."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from emulator.control_client import Control
from emulator.pages.graph import Node, draw
from emulator.pages.reading import without_signatures
from tests.emulator.endpoint_support import create_endpoint
from tests.emulator.page_support import PRINTED, run_failing_pipeline
from tests.emulator.running import RunningEmulator

if TYPE_CHECKING:
    from azure.ai.ml import MLClient


class Browser:
    """As much of a browser as these tests need: no proxy, one address."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False

    def get(self, path: str, **headers: str) -> requests.Response:
        return self.session.get(self.url + path, headers=headers, timeout=10)

    def post(self, path: str, form: dict[str, str], **headers: str) -> requests.Response:
        return self.session.post(
            self.url + path, data=form, headers=headers, timeout=20, allow_redirects=False
        )

    def token(self, path: str) -> str:
        found = re.search(r'name="token" value="([^"]+)"', self.get(path).text)
        assert found
        return found[1]


@pytest.fixture(scope="module")
def browser(emulator: RunningEmulator) -> Browser:
    return Browser(emulator.environment["HTTPS_PROXY"])


@pytest.fixture(scope="module")
def pipeline(ml_client: "MLClient") -> str:
    """A pipeline that failed; its names are markup."""
    return run_failing_pipeline(ml_client, "<b>two & steps</b>")


@pytest.fixture(scope="module")
def endpoint(ml_client: "MLClient", tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    made = create_endpoint(ml_client, tmp_path_factory.mktemp("page") / "model", "page-end", "blue")
    yield made.name
    ml_client.online_endpoints.begin_delete(made.name).result()


def test_a_pipeline_is_shown_with_its_steps(browser: Browser, pipeline: str) -> None:
    text = browser.get(f"/jobs/{pipeline}").text
    assert "&lt;b&gt;two &amp; steps&lt;/b&gt;" in text
    assert "<b>two" not in text
    assert "✓ Completed" in text
    assert "✗ Failed" in text
    assert 'class="arrow"' in text
    assert "Failed nodes" in text
    group = re.search(r'<a href="/jobs/([^"]+)">\s*<title>models</title>', text)
    assert group
    assert "train" in browser.get(f"/jobs/{group[1]}").text
    assert pipeline in browser.get("/").text


def test_a_log_is_text(browser: Browser, ml_client: "MLClient", pipeline: str) -> None:
    page = browser.get(f"/jobs/{pipeline}").text
    steps = re.findall(r'<td><a href="/jobs/([0-9a-f-]{36})">', page)
    logs = [browser.get(f"/jobs/{step}/logs/user_logs/std_log.txt").text for step in steps]
    assert any("&lt;script&gt;alert(1)&lt;/script&gt;" in log for log in logs)
    assert not any("<script>" in log for log in logs)
    whole = [browser.get(f"/jobs/{step}/whole/user_logs/std_log.txt") for step in steps]
    assert any(PRINTED in log.text for log in whole)
    assert {log.headers["Content-Type"] for log in whole} <= {
        "text/plain; charset=utf-8",
        "text/html; charset=utf-8",  # the pipelines have no such log
    }


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/nothing",
        "/jobs/x/logs/..%2f..%2f..%2femulator.json",
        "/jobs/x/whole/..%2f..%2f..%2femulator.json",
        "/../emulator.json",
    ],
)
def test_what_is_not_there(browser: Browser, path: str) -> None:
    assert browser.get(path).status_code == 404


def test_a_request_is_tried(browser: Browser, endpoint: str, control: Control) -> None:
    form = {"token": browser.token("/endpoints"), "deployment": "blue"}
    answer = browser.post(
        f"/endpoints/{endpoint}/try", form | {"body": '{"input_data": [{"x": 1}]}'}
    )
    assert "Status 200 from blue" in answer.text
    answer = browser.post(f"/endpoints/{endpoint}/try", form | {"body": "not JSON"})
    assert "Status 424" in answer.text
    assert [event.status for event in control.events(operation="Endpoint_Score")][-2:] == [200, 424]
    control.add_fault("Deployment_Score", status=503)
    answer = browser.post(f"/endpoints/{endpoint}/try", form | {"body": "{}"})
    assert "Status 424" in answer.text
    assert "as a fault told it to" in answer.text
    control.clear_faults()
    control.add_fault("Endpoint_Score", reset="before")
    answer = browser.post(f"/endpoints/{endpoint}/try", form | {"body": "{}"})
    assert "No answer" in answer.text


def test_faults_are_shown_and_cleared(browser: Browser, control: Control) -> None:
    control.add_fault("Jobs_List", status=503)
    assert "1 fault in force" in browser.get("/").text
    answer = browser.post("/faults/clear", {"token": browser.token("/requests")})
    assert answer.status_code == 303
    assert not control.faults()


def test_only_this_machine_and_its_own_forms(browser: Browser) -> None:
    for path in ("/", "/nothing"):
        assert browser.get(path, Host="evil.example:80").status_code == 403
    assert browser.post("/faults/clear", {"token": "wrong"}).status_code == 403
    assert browser.post("/faults/clear", {str(n): "x" for n in range(50)}).status_code == 403
    form = {"token": browser.token("/requests")} if "token" in browser.get("/requests").text else {}
    assert browser.post("/faults/clear", form, Origin="http://evil.example").status_code == 403
    for path in ("/", "/nothing", "/style.css"):
        headers = browser.get(path).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_form_without_end_is_not_kept(browser: Browser) -> None:
    def zeros() -> Iterator[bytes]:
        for _ in range(8):
            yield b"0" * (1 << 20)

    answer = browser.session.post(browser.url + "/faults/clear", data=zeros(), timeout=10)
    assert answer.status_code == 403


@pytest.mark.parametrize("skip", ["²", "-1", "9" * 5000, "x"])
def test_a_page_that_is_no_number_is_the_first(browser: Browser, skip: str) -> None:
    assert browser.get(f"/jobs?skip={skip}").status_code == 200


def test_signatures_are_left_out() -> None:
    shown = without_signatures("https://x.blob.core.windows.net/a/b?sv=1&sig=abc%2F&se=2 and more")
    assert shown == "https://x.blob.core.windows.net/a/b?sv=1&sig=...&se=2 and more"


def test_no_secret_is_shown(
    browser: Browser, emulator: RunningEmulator, ml_client: "MLClient", endpoint: str, pipeline: str
) -> None:
    keys = ml_client.online_endpoints.get_keys(endpoint)
    secrets = (keys.primary_key, keys.secondary_key, emulator.environment["AZURE_CLIENT_SECRET"])
    for path in ("/", "/jobs", f"/jobs/{pipeline}", "/endpoints", "/assets", "/requests"):
        text = browser.get(path).text
        assert not any(secret in text for secret in secrets)
        assert "sig=" not in text


def test_a_pipeline_in_a_pipeline_is_a_group_around_its_steps() -> None:
    drawing = draw(
        [
            Node("after", "x", reads={"inner/two"}),
            Node("inner/one", "x", reads={"before"}),
            Node("inner/two", "x", reads={"inner/one"}),
            Node("before", "x"),
        ]
    )
    places = {node.key: node for node in drawing.nodes}
    (group,) = drawing.groups
    for key, node in places.items():
        inside = group.x <= node.x and node.x + node.width <= group.x + group.width
        inside = inside and group.y <= node.y and node.y + node.height <= group.y + group.height
        assert inside == key.startswith("inner/")
    assert places["before"].y < places["inner/one"].y < places["inner/two"].y < places["after"].y


def test_layers_follow_the_data() -> None:
    drawing = draw(
        [
            Node("d", "NotStarted", reads={"b", "c"}),
            Node("b", "Running", reads={"a"}),
            Node("c", "Completed", reads={"a"}),
            Node("a", "Completed"),
        ]
    )
    places = {node.key: node for node in drawing.nodes}
    assert places["a"].y < places["b"].y == places["c"].y < places["d"].y
    assert places["b"].x != places["c"].x
    assert len(drawing.arrows) == 4


def test_a_circle_is_drawn_all_the_same(tmp_path: Path) -> None:
    assert len(draw([Node("a", "x", reads={"b"}), Node("b", "x", reads={"a"})]).nodes) == 2
