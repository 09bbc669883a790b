"""A Prefect server of its own, from empty: registered, started again, asked, and what it does.

The tests share the server and go on from each other.
"""

import json
import re
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.automating import AUTOMATIONS, written_automations
from deployments.register import PREFECT_FILE, ROOT, full_names
from tests.conftest import started_once
from tests.deployments.server_support import PrefectServer

ACTION_SECONDS = 20.0
TEMPLATES = sorted((ROOT / "deployments" / "templates").glob("*.yaml"))
KINDS = {"container-instance": "azure-container-instance"}
POOLS = ("pool finetune-azure", "pool finetune-local")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    started = PrefectServer(tmp_path_factory.mktemp("server"))
    try:
        with started_once(started.home) as fresh:
            started.start()
            fresh()
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def received() -> Iterator[list[dict[str, str]]]:
    """What a webhook of this machine is sent; the address is the list's first element."""
    messages: list[dict[str, str]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            messages.append(json.loads(self.rfile.read(length)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    messages.append({"address": f"http://127.0.0.1:{http.server_port}/"})
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield messages
    http.shutdown()


def commands_of_the_file() -> list[list[str]]:
    """The commands that the comment at the head of prefect.yaml tells a person to type."""
    head = PREFECT_FILE.read_text().split("\nname:")[0]
    return [shlex.split(line) for line in re.findall(r"^# {5}(prefect .*)$", head, re.MULTILINE)]


def name(automation: dict[str, Any]) -> str:
    """Of an automation, as `registered` says it."""
    return f"automation {automation['name']}"


def refers(automation: dict[str, Any]) -> str | None:
    """What kind of thing an automation names that has another identifier on every server."""
    action = automation["actions"][0]
    if "block_document_id" in action:
        return "block"
    return "deployment" if "deployment_id" in action else None


def register(server: PrefectServer) -> str:
    done = server.python("deployments.register")
    assert done.returncode == 0, done.stdout
    return done.stdout


def wait_for(happened: Callable[[], Any], what: str) -> Any:
    """What `happened` gives, once it is something."""
    deadline = time.monotonic() + ACTION_SECONDS
    while not (found := happened()):
        assert time.monotonic() < deadline, f"{what}: not in {ACTION_SECONDS:.0f} s"
        time.sleep(0.2)
    return found


def test_the_commands_in_the_file_do_what_registering_does(server: PrefectServer) -> None:
    assert server.identifiers() == {}
    for command in commands_of_the_file():
        done = server.python(*command)
        assert done.returncode == 0, done.stdout
    by_hand, identifiers = server.registered(), server.identifiers()
    register(server)
    found = server.registered()
    assert by_hand == {name: found[name] for name in by_hand}
    assert identifiers.keys() <= server.identifiers().keys()
    without_names = {name(entry) for entry in written_automations() if not refers(entry)}
    assert set(by_hand) == {*full_names(), *POOLS, *without_names}
    without_block = {name(entry) for entry in written_automations() if refers(entry) != "block"}
    assert set(found) == {*full_names(), *POOLS, *without_block}


def test_everything_is_found_again_after_a_restart(server: PrefectServer) -> None:
    content, identifiers = server.registered(), server.identifiers()
    server.stop()
    server.start()
    assert server.registered() == content
    assert server.identifiers() == identifiers


def test_only_automations_that_cost_nothing_are_on(server: PrefectServer) -> None:
    automations = server.ask("/automations/filter", {})
    spending = ("run-deployment",)
    for automation in automations:
        spends = any(action["type"] in spending for action in automation["actions"])
        assert automation["enabled"] is not (spends and "azure" in automation["tags"])


@pytest.mark.parametrize("full_name", full_names())
def test_bad_input_is_refused_before_a_run_exists(server: PrefectServer, full_name: str) -> None:
    deployment = server.ask(f"/deployments/name/{full_name}")
    before = len(server.runs_of(full_name))
    for parameters in bad_parameters(full_name.split("/")[0]):
        path = f"/deployments/{deployment['id']}/create_flow_run"
        answer = server.http.post(path, json={"parameters": parameters})
        assert answer.status_code in (409, 422), (parameters, answer.text)
        assert "Validation failed" in answer.text
    assert len(server.runs_of(full_name)) == before


def bad_parameters(flow: str) -> list[dict[str, Any]]:
    """Of a wrong kind, an unknown field, one out of its range, one that is missing."""
    general: list[dict[str, Any]] = [{"workspace": ["default"]}]
    training = [{"epochs": 3}, {"dataset": {"percent": 101}}, {"poll_seconds": "soon"}]
    release = [{"end_point": "chat"}, {"instances": 0}, {"checks": {"seconds": -1}}]
    special: dict[str, list[dict[str, Any]]] = {
        "finetune": [{"config": config} for config in training],
        "retrain": [
            *({"config": {"finetune": config}} for config in training),
            *({"config": {"release": config}} for config in release),
            {"config": {"evaluation": {"rows": 0}}},
        ],
        "compare": [
            {"config": {"variants": []}},
            *({"config": {"variants": [{"name": "a"}], "base": config}} for config in training),
            {"config": {"variants": [{"name": "a"}], "at_once": 0}},
        ],
        "release": [
            {},  # Which model?
            *({"model": "chat:1", "config": config} for config in release),
        ],
        "sweep": [{"dry_run": "perhaps"}],
    }
    return general + special[flow]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_fits_prefects_own_work_pool_of_its_kind(
    server: PrefectServer, template: Path
) -> None:
    variables = yaml.safe_load(template.read_text())["azure"]["job_variables"]
    kind = KINDS.get(template.stem, template.stem)
    workers = server.ask("/collections/views/aggregate-worker-metadata")
    (own,) = [package[kind] for package in workers.values() if kind in package]
    base = own["default_base_job_configuration"]
    assert variables.keys() <= base["variables"]["properties"].keys()
    pool = {"name": f"try-{kind}", "type": kind, "base_job_template": base}
    server.ask("/work_pools/", pool)
    flow_id = server.ask("/flows/", {"name": "try"})["id"]
    deployment = {"name": kind, "flow_id": flow_id, "work_pool_name": pool["name"]}
    server.ask("/deployments/", {**deployment, "job_variables": variables})
    wrong = {**deployment, "job_variables": {**variables, "image": ["one", "two"]}}
    assert server.http.post("/deployments/", json=wrong).status_code in (409, 422)
    server.http.delete(f"/work_pools/{pool['name']}").raise_for_status()
    server.http.delete(f"/flows/{flow_id}").raise_for_status()


def test_registering_again_changes_nothing_but_what_is_new(
    server: PrefectServer, received: list[dict[str, str]]
) -> None:
    switched = [entry["id"] for entry in server.ask("/automations/filter", {})]
    server.http.patch(f"/automations/{switched[0]}", json={"enabled": False}).raise_for_status()
    change_schedules(server)
    content, written = server.registered(), automations_and_pools(server)
    with temporary_settings({PREFECT_API_URL: server.api_url}):
        CustomWebhookNotificationBlock(
            name="test",
            url=received.pop()["address"],
            json_data={"title": "{{subject}}", "text": "{{body}}"},
        ).save("finetune-notify")
    told = register(server)
    after = automations_and_pools(server)
    assert {identifier: after.get(identifier) for identifier in written} == written
    found = server.registered()
    assert {name: found[name] for name in content} == content
    for automation in set(found) - set(content):
        assert f"{automation}: on" in told
    assert set(found) == {*content, *(name(entry) for entry in written_automations())}


def change_schedules(server: PrefectServer) -> None:
    """Switch a declared schedule on, another off, and make one by hand."""
    for name, active in (("retrain/local", True), ("sweep/local", False)):
        deployment = server.ask(f"/deployments/name/{name}")
        (declared,) = deployment["schedules"]
        path = f"/deployments/{deployment['id']}/schedules"
        answer = server.http.patch(f"{path}/{declared['id']}", json={"active": active})
        answer.raise_for_status()
    by_hand = {"cron": "0 4 * * 1", "timezone": "UTC"}
    server.ask(path, [{"schedule": by_hand, "active": True, "parameters": {"dry_run": True}}])


def automations_and_pools(server: PrefectServer) -> dict[str, str]:
    """Identifier -> when it was written last; deployments are written again every time."""
    return {
        key: value
        for key, value in server.identifiers().items()
        if value.startswith(("automations", "work_pools"))
    }


def test_a_person_is_told_of_failed_runs(
    server: PrefectServer, received: list[dict[str, str]]
) -> None:
    for deployment, kind in (("finetune/azure", "FAILED"), ("sweep/local", "CRASHED")):
        run = server.create_run(deployment)
        server.set_state(run, "RUNNING")
        server.set_state(run, kind, "The reason.")
        message = wait_for(lambda: received and received.pop(), f"{kind} is told")
        assert message["title"] == f"{deployment}: {kind.capitalize()}"
        assert "The reason." in message["text"]
        assert f"/runs/flow-run/{run['id']}" in message["text"]


def test_a_crashed_run_is_run_again_once_with_its_parameters(server: PrefectServer) -> None:
    config = {"plan_only": True, "dataset": {"percent": 7.5, "subset": None}}
    crashed = server.create_run("finetune/local", config=config, workspace="another")
    server.set_state(crashed, "RUNNING")
    server.set_state(crashed, "CRASHED", "Killed.")

    def repeated() -> list[dict[str, Any]]:
        return [run for run in server.runs_of("finetune/local") if run["created_by"]]

    (again,) = wait_for(repeated, "the run is repeated")
    assert again["parameters"] == {"config": config, "workspace": "another"}
    assert again["created_by"]["display_value"] == "Run crashed local runs again"
    server.set_state(again, "RUNNING")
    server.set_state(again, "CRASHED", "Killed again.")
    time.sleep(3)
    assert [run["id"] for run in repeated()] == [again["id"]]


def test_a_crashed_run_on_azure_is_left_to_a_person(server: PrefectServer) -> None:
    crashed = server.create_run("retrain/azure")
    server.set_state(crashed, "RUNNING")
    server.set_state(crashed, "CRASHED", "Killed.")
    time.sleep(3)
    assert [run["id"] for run in server.runs_of("retrain/azure")] == [crashed["id"]]


def test_a_person_is_told_that_a_release_waits(
    server: PrefectServer, received: list[dict[str, str]]
) -> None:
    received.clear()
    run = server.create_run("release/local", model="chat:1")
    server.set_state(run, "RUNNING")
    server.set_state(run, "PAUSED")
    message = wait_for(lambda: received and received.pop(), "the approval is asked for")
    assert message["title"] == "A release waits for approval"
    assert f"/runs/flow-run/{run['id']}" in message["text"]


def test_news_start_the_retraining_that_they_concern(server: PrefectServer) -> None:
    text = (AUTOMATIONS / "retrain-on-news.yaml").read_text()
    command = re.findall(r"(?m)^# {5}prefect (event emit huggingface.*)\\\n#(.*)$", text)
    other = ["event", "emit", "huggingface.dataset.revision"]
    emit(server, [*other, "--resource-id", "huggingface.dataset.somebody/else"])
    emit(server, shlex.split(" ".join(command[0])))
    (run,) = wait_for(lambda: server.runs_of("retrain/local"), "the retraining is started")
    deployment = server.ask("/deployments/name/retrain/local")
    assert run["parameters"] == deployment["parameters"]
    assert run["created_by"]["display_value"] == "Retrain locally on news"
    assert [run for run in server.runs_of("retrain/azure") if run["created_by"]] == []


def emit(server: PrefectServer, command: list[str]) -> None:
    done = server.python("prefect", *command)
    assert done.returncode == 0, done.stdout
