"""Prefect's UI as a person sees it: its forms, runs and artifacts, by what is written there."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

ROOT = Path(__file__).parents[2]
SHOTS = Path(os.environ.get("BROWSER_SCREENSHOTS") or ROOT / ".local" / "screenshots")
WIDTH, HEIGHT = 1280, 1300


def keep_shot(page: Page, name: str, part: Locator | None = None) -> None:
    """Save what the page shows, or a part of it, as NAME.png."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    (page if part is None else part).screenshot(path=SHOTS / f"{name}.png", animations="disabled")


@dataclass(frozen=True)
class Form:
    """A form in which Prefect asks for values. Fields are found by their titles."""

    page: Page

    def field(self, *titles: str) -> Locator:
        """The field with the last of these titles, in the groups with the others."""
        found = self.page.locator("body")
        for title in titles:
            labels = ", ".join(
                f"> .p-label__header .schema-form-property__label:text-is({json.dumps(text)})"
                for text in (title, f"{title} (Optional)")
            )
            # A group comes before a field in it that has the same title.
            found = found.locator(f".schema-form-property:has({labels})").first
        return found

    def description(self, *titles: str) -> Locator:
        """The text below a field's title."""
        return self.field(*titles).locator("> .p-label__header .schema-form-property__description")

    def write(self, value: object, *titles: str) -> None:
        """Type a text or a number."""
        self.field(*titles).locator("input, textarea").fill(str(value))

    def open_select(self, *titles: str) -> Locator:
        """Show what a field's select offers: these options."""
        self.field(*titles).get_by_role("button", name="Usual sizes").click()
        self.field(*titles).locator(".p-select-button__control").press("ArrowDown")
        expect(self.page.get_by_role("option").first).to_be_visible()
        return self.page.get_by_role("option")

    def choose(self, option: str, *titles: str) -> None:
        """Choose from a field's select."""
        self.open_select(*titles).get_by_text(option, exact=True).click()

    def switch_on(self, *titles: str) -> None:
        switch = self.field(*titles).get_by_role("switch")
        if switch.get_attribute("aria-checked") != "true":
            switch.click()
        expect(switch).to_have_attribute("aria-checked", "true")

    def submit(self) -> None:
        self.page.get_by_role("button", name="Submit", exact=True).click()


def open_deployment(page: Page, address: str, flow: str, name: str) -> None:
    """From the list of deployments to the page of one of them."""
    page.goto(f"{address}/deployments")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=flow, exact=True))
    row.get_by_role("link", name=name, exact=True).first.click()
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_visible()


def open_form(page: Page, address: str, flow: str, name: str) -> Form:
    """From the list of deployments to the form of one of them."""
    open_deployment(page, address, flow, name)
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run", exact=True).click()
    form = Form(page)
    expect(form.field("config")).to_be_visible()
    return form


def wait_until_it_shows(page: Page, state: str, seconds: float) -> None:
    """Wait until a run's page says that the run is in this state."""
    heading = page.locator("header", has_text=state)
    expect(heading.get_by_text(state, exact=True).first).to_be_visible(timeout=seconds * 1000)


def described(schema: Mapping[str, Any]) -> dict[tuple[str, ...], Mapping[str, Any]]:
    """Every field of a model's JSON schema, by the titles that lead to it."""
    definitions = schema.get("$defs", {})

    def below(part: Mapping[str, Any], path: tuple[str, ...]) -> dict[tuple[str, ...], Any]:
        found: dict[tuple[str, ...], Any] = {}
        for field in part["properties"].values():
            # What a group has in common with its definition stands there only.
            group = definitions.get(field.get("$ref", "").rpartition("/")[2], {})
            whole = {**group, **field}
            titles = (*path, str(whole["title"]))
            assert titles not in found, f"two fields have the title {titles}"
            found[titles] = whole
            if "properties" in group:
                found |= below(group, titles)
        return found

    return below(schema, ("config",))
