"""The local Azure ML's own page, used as a person does: in Chromium."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from emulator.cli import running_emulator
from emulator.control_client import Control
from tests.browser.pages import SHOTS

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An emulator of its own, with a pipeline of three steps; the last one fails."""
    from azure.ai.ml import Input, MLClient, Output, command
    from azure.ai.ml.dsl import pipeline
    from azure.ai.ml.entities import Environment
    from azure.identity import DefaultAzureCredential

    with running_emulator(tmp_path_factory.mktemp("page")) as config:
        previous = dict(os.environ)
        os.environ.update(config.client_environment())
        client = MLClient(
            DefaultAzureCredential(), config.subscription, config.resource_group, config.workspace
        )
        environment = Environment(image="docker.io/library/python:3.11")
        write = command(
            command="echo 'rows: 3' | tee ${{outputs.rows}}/rows.txt",
            outputs={"rows": Output(type="uri_folder")},
            environment=environment,
        )
        read = command(
            command="cat ${{inputs.rows}}/rows.txt; exit ${{inputs.code}}",
            inputs={"rows": Input(type="uri_folder"), "code": Input(type="integer")},
            environment=environment,
        )

        @pipeline(default_compute="local", display_name="nightly <i>rows</i>")  # type: ignore[call-overload,untyped-decorator]
        def rows() -> None:
            prepare = write()
            train = read(rows=prepare.outputs["rows"], code=0)
            train.name = "train"
            check = read(rows=prepare.outputs["rows"], code=3)
            check.name = "check"

        job = client.jobs.create_or_update(rows())
        with pytest.raises(Exception, match="failed child jobs"):
            client.jobs.stream(job.name)
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
    page.screenshot(path=SHOTS / "emulator-job.png", full_page=True)
    graph.get_by_role("link", name="check: Failed").click()
    assert "exited with status code 3" in page.locator(".error").inner_text()
    page.get_by_role("link", name="std_log.txt").click()
    assert "rows: 3" in page.locator("pre").inner_text()


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
