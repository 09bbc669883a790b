"""`make up`, Debian's Chromium, and a page for every test."""

import os
import re
import shutil
from collections.abc import Generator, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from tests.browser.pages import HEIGHT, SHOTS, WIDTH, keep_shot
from tests.deployments.test_make_up import up as up

SECONDS = 20.0
_FAILED = pytest.StashKey[bool]()


@pytest.fixture(scope="module")
def context() -> Iterator[BrowserContext]:
    """A browser that asks no proxy: the emulator's would take its requests for Azure's."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert chromium, "Chromium is not on this machine: apt-get install chromium, or set CHROMIUM."
    for earlier in SHOTS.glob("failed-*"):
        earlier.unlink()
    expect.set_options(timeout=SECONDS * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--no-proxy-server"],
        )
        with browser.new_context(
            viewport={"width": WIDTH, "height": HEIGHT},
            color_scheme="dark",
            timezone_id="UTC",
        ) as context:
            context.set_default_timeout(SECONDS * 1000)
            yield context
        browser.close()


@pytest.fixture
def page(context: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of its own. Of a test that fails, what it shows and its console are kept."""
    page = context.new_page()
    console: list[str] = []
    page.on("console", lambda message: console.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: console.append(f"uncaught: {error}"))
    yield page
    if request.node.stash.get(_FAILED, False):
        name = "failed-" + re.sub(r"[^\w-]+", "-", request.node.name)[:80]
        keep_shot(page, name)
        (SHOTS / f"{name}.txt").write_text("\n".join([page.url, *console]) + "\n")
    page.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[_FAILED] = report.failed
    return report
