"""The local Azure ML's own page, used as a person does: in Chromium."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from emulator.cli import running_emulator
from emulator.control_client import Control
from tests.browser.pages import SHOTS
from tests.emulator.page_support import PRINTED, run_failing_pipeline

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An emulator of its own, with a pipeline of three steps; the last one fails."""
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    with running_emulator(tmp_path_factory.mktemp("page")) as config:
        previous = dict(os.environ)
        os.environ.update(config.client_environment())
        client = MLClient(
            DefaultAzureCredential(), config.subscription, config.resource_group, config.workspace
        )
        run_failing_pipeline(client, "nightly <i>rows</i>")
        yield config
        os.environ.clear()
        os.environ.update(previous)


@pytest.fixture
def opened(page: "Page", local: Any) -> "Page":
    page.goto(f"{local.proxy_url}/")
    return page


def test_a_person_finds_why_a_pipeline_failed(opened: "Page") -> None:
    page = opened
    page.get_by_role("link", name="nightly <i>rows</i>").click()
    graph = page.get_by_role("img", name="The steps of the pipeline")
    assert graph.get_by_role("link", name="prepare: Completed").is_visible()
    assert graph.get_by_text("✗ Failed", exact=True).count() == 1
    assert graph.get_by_text("✓ Completed", exact=True).count() == 2
    assert graph.get_by_role("link", name="models", exact=True).is_visible()
    page.screenshot(path=SHOTS / "emulator-job.png", full_page=True)
    page.emulate_media(color_scheme="light")
    page.screenshot(path=SHOTS / "emulator-job-light.png", full_page=True)
    page.emulate_media(color_scheme="dark")
    graph.get_by_role("link", name="check: Failed").click()
    assert "exited with status code 3" in page.locator(".error").inner_text()
    page.get_by_role("link", name="std_log.txt").click()
    assert PRINTED in page.locator("pre").inner_text()
    page.get_by_role("link", name="The whole log").click()
    assert page.locator("body").inner_text().strip() == PRINTED


def test_faults_are_seen_and_cleared(opened: "Page", local: Any) -> None:
    page = opened
    control = Control.of(local.state)
    control.add_fault("Jobs_List", status=503)
    page.reload()
    page.get_by_role("link", name="1 fault in force").click()
    page.screenshot(path=SHOTS / "emulator-requests.png")
    page.get_by_role("button", name="Clear all faults").click()
    expect(page.get_by_text("fault in force")).to_have_count(0)
    assert not control.faults()


def test_it_fits_a_telephone(opened: "Page") -> None:
    opened.set_viewport_size({"width": 390, "height": 800})
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    opened.screenshot(path=SHOTS / "emulator-telephone.png")
