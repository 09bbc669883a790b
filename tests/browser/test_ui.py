"""Prefect's UI as a person uses it: find a deployment, fill its form, watch, read, approve.

The tests share one `make up` and go on from each other: what the form starts is looked at, and the
model that it trains is released.
"""

import json
import re
import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from pydantic import BaseModel

from deployments.register import declared
from tasks.config import FinetuneConfig
from tasks.release_config import ReleaseConfig
from tasks.retrain_config import RetrainConfig
from tests.browser.pages import (
    Form,
    described,
    keep_shot,
    open_deployment,
    open_form,
    wait_until_it_shows,
)
from tests.deployments.test_make_up import Up, small_run

RUN_SECONDS = 180.0
TRAINING = small_run()["parameters"]
MODELS: dict[str, type[BaseModel]] = {
    "finetune": FinetuneConfig,
    "retrain": RetrainConfig,
    "release": ReleaseConfig,
}


def address(up: Up) -> str:
    return up.api.removesuffix("/api")


def comparison(report: dict[str, Any]) -> str:
    """What the person who approves is shown: the training's own losses."""
    loss = report["losses"]["eval_loss"]
    return (
        "How well it knows the test split, before the training and after it:\n\n"
        "| | before | after |\n| --- | --- | --- |\n"
        f"| eval_loss | {loss['first']:.3f} | **{loss['last']:.3f}** |\n"
    )


def artifacts(up: Up, run: str) -> list[dict[str, Any]]:
    filters = {"artifacts": {"flow_run_id": {"any_": [run]}}}
    found: list[dict[str, Any]] = up.ask("/artifacts/filter", filters)
    return found


def open_started_run(up: Up, page: Page, flow: str) -> str:
    """From the form that was submitted to the only run of the flow; its identifier.

    By its address: the page's own list leaves out what is still scheduled.
    """
    page.wait_for_url(re.compile(r"tab=Runs"))
    deadline = time.monotonic() + 60
    while not (runs := up.runs(flow)):
        assert time.monotonic() < deadline, "no run was started"
        time.sleep(0.2)
    run = str(runs[0]["id"])
    page.goto(f"{address(up)}/runs/flow-run/{run}")
    return run


def test_every_deployment_is_listed_and_says_what_it_does(up: Up, page: Page) -> None:
    page.goto(f"{address(up)}/deployments")
    for entry in declared():
        flow = entry["entrypoint"].rpartition(":")[2]
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name=flow, exact=True))
        expect(row.get_by_role("link", name=entry["name"], exact=True).first).to_be_visible()
    keep_shot(page, "deployments")
    open_deployment(page, address(up), "finetune", "local")
    page.get_by_text("Description", exact=True).click()
    expect(page.get_by_text("Trains for real, costs nothing")).to_be_visible()
    keep_shot(page, "deployment")


@pytest.mark.parametrize("flow", list(MODELS))
def test_the_form_shows_every_field_as_what_it_is(up: Up, page: Page, flow: str) -> None:
    form = open_form(page, address(up), flow, "local")
    fields = described(MODELS[flow].model_json_schema())
    assert len(fields) > 10
    for titles, field in fields.items():
        assert field["description"]
        expect(form.description(*titles)).to_have_text(field["description"])
        shown = form.field(*titles)
        if field.get("type") == "boolean":
            expect(shown.get_by_role("switch")).to_be_visible()
        elif field.get("type") in ("number", "integer"):
            expect(shown.locator("input[type=number]")).to_be_visible()
        elif "enum" in (choices := field.get("anyOf", [{}]))[-1]:
            expect(shown.locator("textarea")).to_have_value(field["default"])
            for choice in choices:
                expect(shown.get_by_role("button", name=choice["title"])).to_be_visible()
    page.set_viewport_size({"width": 1280, "height": 6500})
    keep_shot(page, f"form-{flow}", form.field("config"))


def test_a_select_offers_its_choices_and_any_other_text(up: Up, page: Page) -> None:
    form = open_form(page, address(up), "finetune", "local")
    size = ("config", "Test endpoint", "VM size")
    options = form.open_select(*size)
    (_, choices) = FinetuneConfig.model_json_schema()["$defs"]["ServingChoice"]["properties"][
        "size"
    ]["anyOf"]
    expect(options).to_have_text(choices["enum"])
    keep_shot(page, "select")
    form.choose("Standard_ND96asr_v4", *size)
    typed = form.field(*size).locator("textarea")
    expect(typed).to_have_value("Standard_ND96asr_v4")
    typed.clear()
    typed.press_sequentially("Standard_NC6s_v3")
    expect(typed).to_have_value("Standard_NC6s_v3")


@pytest.mark.parametrize(
    ("titles", "value", "told"),
    [
        (("Data", "Percent"), 150, "config.dataset.percent'.*150.* maximum of 100"),
        (("Attempt",), 0, "config.attempt'.*0 is less than the minimum of 1"),
    ],
)
def test_what_is_out_of_range_is_refused_on_the_page(
    up: Up, page: Page, titles: tuple[str, ...], value: float, told: str
) -> None:
    form = open_form(page, address(up), "finetune", "local")
    form.write(value, "config", *titles)
    before = len(up.runs("finetune"))
    form.submit()
    expect(page.get_by_text(re.compile(told)).first).to_be_visible()
    keep_shot(page, f"refused-{titles[-1].lower()}")
    expect(form.field("config", *titles).locator("input")).to_have_value(str(value))
    assert len(up.runs("finetune")) == before


def test_a_run_is_started_from_the_form_and_watched(up: Up, page: Page) -> None:
    form = open_form(page, address(up), "finetune", "local")
    form.write(5, "config", "Data", "Percent")
    form.write(json.dumps(TRAINING), "config", "Training parameters")
    form.choose("Standard_NC48ads_A100_v4", "config", "Test endpoint", "VM size")
    form.write(4, "config", "Test endpoint", "Reply length")
    form.write(0.2, "config", "Seconds between looks")
    form.submit()
    run = open_started_run(up, page, "finetune")
    expect(page.get_by_text("Stage: plan")).to_be_visible(timeout=60_000)
    keep_shot(page, "run-running")
    wait_until_it_shows(page, "Completed", RUN_SECONDS)
    done = up.ask(f"/flow_runs/{run}")
    assert done["state_type"] == "COMPLETED"
    config = FinetuneConfig.model_validate(done["parameters"]["config"])
    assert (config.dataset.percent, config.parameters) == (5, TRAINING)
    assert config.serving.size == "Standard_NC48ads_A100_v4"
    keep_shot(page, "run-logs")
    page.get_by_text("Artifacts", exact=True).click()
    for artifact in artifacts(up, run):
        expect(page.get_by_text(artifact["key"], exact=True).first).to_be_visible()
    keep_shot(page, "run")


def test_every_artifact_is_something_to_look_at(up: Up, page: Page) -> None:
    (run,) = up.runs("finetune")
    found = {artifact["key"]: artifact for artifact in artifacts(up, run["id"])}
    assert found.keys() >= {"plan", "sample", "lengths", "progress", "loss-curves", "reply"}
    pictures = set()
    for key, artifact in found.items():
        page.goto(f"{address(up)}/artifacts/artifact/{artifact['id']}")
        shown = page.locator(".artifact-data-view")
        expect(shown).not_to_be_empty()
        if artifact["type"] == "markdown":
            expect(shown.locator("table, a, img, blockquote, li").first).to_be_visible()
        if "](data:image" in str(artifact["data"]):
            page.wait_for_function("document.querySelector('.artifact-data-view img')?.complete")
            assert shown.locator("img").evaluate("picture => picture.naturalWidth") > 300
            pictures.add(key)
        # Markdown that was not understood shows its marks.
        assert not re.search(r"^\s*(\||#+ |\{\"|!\[)", shown.inner_text(), re.MULTILINE), key
        keep_shot(page, f"artifact-{key}")
    assert pictures == {"lengths", "loss-curves"}


def test_a_release_waits_for_a_person_who_approves_it(up: Up, page: Page) -> None:
    report = json.loads((up.folder / ".local/runs/latest/report.json").read_text())
    form = open_form(page, address(up), "release", "local")
    form.write(f"{report['model']['name']}:{report['model']['version']}", "model")
    form.write(comparison(report), "comparison")
    form.write(0.5, "config", "Checks", "Seconds a step")
    form.write(4, "config", "Checks", "Requests a step")
    form.write(4, "config", "Reply length")
    form.switch_on("config", "Ask for approval")
    form.submit()
    run = open_started_run(up, page, "release")
    wait_until_it_shows(page, "Paused", 60)
    assert "release" not in {artifact["key"] for artifact in artifacts(up, run)}
    page.get_by_role("button", name="Resume").click()
    dialog = page.get_by_role("dialog").or_(page.locator(".p-modal__card"))
    expect(dialog.get_by_role("cell", name="eval_loss").first).to_be_visible()
    asked = Form(page)
    asked.switch_on("Release it")
    asked.write("Better by a tenth.", "Comment")
    keep_shot(page, "approval")
    asked.submit()
    wait_until_it_shows(page, "Completed", RUN_SECONDS)
    expect(page.get_by_text("The release was approved: Better by a tenth.")).to_be_visible()
    assert up.ask(f"/flow_runs/{run}")["state_type"] == "COMPLETED"
    (told,) = [artifact for artifact in artifacts(up, run) if artifact["key"] == "release"]
    assert "| status | released |" in told["data"]
    page.goto(f"{address(up)}/artifacts/artifact/{told['id']}")
    expect(page.get_by_role("cell", name="released", exact=True)).to_be_visible()
    keep_shot(page, "release")
