"""Tells a Prefect server about this project: work pools, block, deployments, automations.

    PREFECT_API_URL=http://127.0.0.1:4200/api python -m deployments.register [--block NAME]

Doing it again changes nothing, and schedules and automations stay switched as they are. With
--block, the workspace that the environment names (AZUREML_SUBSCRIPTION_ID, AZUREML_RESOURCE_GROUP,
AZUREML_WORKSPACE_NAME) is saved under that name.
"""

import argparse
import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import yaml
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.workers.process import ProcessWorker

from blocks.azureml import AzureMLWorkspace

ROOT = Path(__file__).resolve().parent.parent
PREFECT_FILE = ROOT / "deployments" / "prefect.yaml"
AUTOMATIONS = ROOT / "deployments" / "automations"

Switches = dict[tuple[str, str], bool]
"""(flow/deployment, slug of a schedule) -> whether the schedule is switched on."""


class RegistrationError(RuntimeError):
    """The server could not be told; the text says why and what to do."""


def declared() -> list[dict[str, Any]]:
    """The deployments of prefect.yaml, as they are written there."""
    deployments: list[dict[str, Any]] = yaml.safe_load(PREFECT_FILE.read_text())["deployments"]
    return deployments


def full_names() -> list[str]:
    """flow/deployment of each; a flow is called as its function is."""
    return [f"{entry['entrypoint'].rpartition(':')[2]}/{entry['name']}" for entry in declared()]


def declared_automations() -> list[AutomationCore]:
    """The automations of every file in deployments/automations."""
    return [
        AutomationCore.model_validate(automation)
        for file in sorted(AUTOMATIONS.glob("*.yaml"))
        for automation in yaml.safe_load(file.read_text())["automations"]
    ]


def save_block(name: str) -> str:
    """Save the environment's workspace as the block `name`; returns what was done."""
    AzureMLWorkspace.register_type_and_schema()
    subscription_id, resource_group, workspace_name, _ = AzureMLWorkspace().address()
    address = {
        "subscription_id": subscription_id,
        "resource_group": resource_group,
        "workspace_name": workspace_name,
    }
    try:
        block = cast(AzureMLWorkspace, AzureMLWorkspace.load(name))
    except ValueError:  # Prefect's answer for a block that does not exist.
        AzureMLWorkspace(**address).save(name)
        return "created"
    if all(getattr(block, field) == value for field, value in address.items()):
        return "unchanged"
    block.model_copy(update=address).save(name, overwrite=True)
    return "updated"


async def create_pools(client: PrefectClient) -> None:
    """Create the process work pools that prefect.yaml names and the server does not have."""
    for name in sorted({deployment["work_pool"]["name"] for deployment in declared()}):
        pool = WorkPoolCreate(
            name=name,
            type=ProcessWorker.type,
            base_job_template=ProcessWorker.get_default_base_job_template(),
        )
        try:
            await client.create_work_pool(pool)
        except ObjectAlreadyExists:
            continue


async def read_switches(client: PrefectClient) -> Switches:
    """Which schedules of the declared deployments are switched on now."""
    return {(name, slug): active async for name, _, _, slug, active in _schedules(client)}


async def restore_switches(client: PrefectClient, before: Switches) -> None:
    """Undo what deploying did to schedules that somebody had switched on or off."""
    async for name, deployment, schedule, slug, active in _schedules(client):
        wanted = before.get((name, slug), active)
        if wanted != active:
            await client.update_deployment_schedule(deployment, schedule, active=wanted)


async def _schedules(client: PrefectClient) -> Any:
    for name in full_names():
        try:
            deployment = await client.read_deployment_by_name(name)
        except ObjectNotFound:
            continue
        for schedule in deployment.schedules:
            yield name, deployment.id, schedule.id, schedule.slug or "", schedule.active


async def save_automation(client: PrefectClient, wanted: AutomationCore) -> str:
    """Create or update the automation of this name; returns what was done.

    One that somebody has switched off stays off. An unchanged one is left alone: writing it would
    make the server forget which runs it waits for.
    """
    existing = await client.read_automations_by_name(wanted.name)
    if not existing:
        await client.create_automation(wanted)
        return "created"
    done = "unchanged"
    for automation in existing:
        target = wanted.model_copy(update={"enabled": automation.enabled})
        if AutomationCore.model_validate(automation.model_dump()) != target:
            await client.update_automation(automation.id, target)
            done = "updated"
    return done


def deploy() -> None:
    """Run `prefect deploy --all`; raises RegistrationError with its last lines."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    command += ["--prefect-file", str(PREFECT_FILE)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise RegistrationError(
            f"`prefect deploy` ended with exit code {done.returncode}:\n{tail}\n"
            f"Correct {PREFECT_FILE.relative_to(ROOT)} or the flow that it names, then try again."
        )


async def register() -> dict[str, UUID]:
    """Create or update pools, deployments and automations; returns flow/deployment -> id."""
    async with get_client() as client:
        await create_pools(client)
        before = await read_switches(client)
    await asyncio.to_thread(deploy)
    async with get_client() as client:
        await restore_switches(client, before)
        for automation in declared_automations():
            await save_automation(client, automation)
        return {name: (await client.read_deployment_by_name(name)).id for name in full_names()}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deployments.register")
    parser.add_argument("--block", help="save the environment's workspace under this name")
    arguments = parser.parse_args()
    if not PREFECT_API_URL.value():
        print(
            "No Prefect server is named: set PREFECT_API_URL, for example to "
            "http://127.0.0.1:4200/api, and start one with `prefect server start`.",
            file=sys.stderr,
        )
        return 1
    try:
        if arguments.block:
            print(f"block {arguments.block}: {save_block(arguments.block)}", flush=True)
        for name, identifier in asyncio.run(register()).items():
            print(f"deployment {name}: {identifier}")
    except RegistrationError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
