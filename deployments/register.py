"""Tells a Prefect server about this project: work pools, block, deployments, automations.

    PREFECT_API_URL=http://127.0.0.1:4200/api python -m deployments.register [--block NAME]

Doing it again changes nothing: schedules and automations stay switched as they are, and schedules
that were made by hand stay. With --block, the workspace that the environment names
(AZUREML_SUBSCRIPTION_ID, AZUREML_RESOURCE_GROUP, AZUREML_WORKSPACE_NAME) is saved under that name.
"""

import argparse
import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import yaml
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.workers.process import ProcessWorker

from blocks.azureml import AzureMLWorkspace
from deployments.automating import save_automations

ROOT = Path(__file__).resolve().parent.parent
PREFECT_FILE = ROOT / "deployments" / "prefect.yaml"

Schedules = dict[str, tuple[DeploymentSchedule, ...]]
"""flow/deployment -> its schedules."""


class RegistrationError(RuntimeError):
    """The server could not be told; the text says why and what to do."""


def declared() -> list[dict[str, Any]]:
    """The deployments of prefect.yaml, as they are written there."""
    deployments: list[dict[str, Any]] = yaml.safe_load(PREFECT_FILE.read_text())["deployments"]
    return deployments


def full_names() -> list[str]:
    """flow/deployment of each; a flow is called as its function is."""
    return [f"{entry['entrypoint'].rpartition(':')[2]}/{entry['name']}" for entry in declared()]


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


async def read_schedules(client: PrefectClient) -> Schedules:
    """The schedules of the declared deployments that the server knows."""
    return {name: tuple(there.schedules) async for name, there in _deployments(client)}


async def restore_schedules(client: PrefectClient, before: Schedules) -> None:
    """Undo what deploying did to schedules of which somebody has decided otherwise.

    What was switched on or off is so again. One without a slug was made by hand: prefect.yaml does
    not know it, and it is made again.
    """
    async for name, deployment in _deployments(client):
        there = {schedule.slug or schedule.id: schedule for schedule in deployment.schedules}
        for old in before.get(name, ()):
            new = there.get(old.slug or old.id)
            if new is None and not old.slug:
                made = DeploymentScheduleCreate(
                    schedule=old.schedule,
                    active=old.active,
                    max_scheduled_runs=old.max_scheduled_runs,
                    parameters=old.parameters,
                )
                await client.create_deployment_schedules(deployment.id, [made])
            elif new is not None and new.active != old.active:
                await client.update_deployment_schedule(deployment.id, new.id, active=old.active)


async def _deployments(client: PrefectClient) -> AsyncIterator[tuple[str, DeploymentResponse]]:
    for name in full_names():
        with suppress(ObjectNotFound):
            yield name, await client.read_deployment_by_name(name)


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


@dataclass(frozen=True)
class Registered:
    """What a Prefect server knows now."""

    deployments: dict[str, UUID]
    """flow/deployment -> identifier."""
    automations: dict[str, str]
    """Name -> "on", "off", or why it is not there."""


async def register() -> Registered:
    """Create or update pools, deployments and automations."""
    async with get_client() as client:
        await create_pools(client)
        before = await read_schedules(client)
    await asyncio.to_thread(deploy)
    async with get_client() as client:
        await restore_schedules(client, before)
        deployments = {
            name: (await client.read_deployment_by_name(name)).id for name in full_names()
        }
        return Registered(deployments, await save_automations(client, deployments))


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
        registered = asyncio.run(register())
        for name, identifier in registered.deployments.items():
            print(f"deployment {name}: {identifier}")
        for name, state in registered.automations.items():
            print(f"automation {name}: {state}")
    except RegistrationError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
