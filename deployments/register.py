"""Tells a Prefect server about this project: work pools, the workspace block, the deployments.

    PREFECT_API_URL=http://127.0.0.1:4200/api python -m deployments.register [--block NAME]

Doing it again changes nothing. With --block, the workspace that the environment names
(AZUREML_SUBSCRIPTION_ID, AZUREML_RESOURCE_GROUP, AZUREML_WORKSPACE_NAME) is saved under that name.
"""

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import yaml
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.workers.process import ProcessWorker

from blocks.azureml import AzureMLWorkspace

ROOT = Path(__file__).resolve().parent.parent
PREFECT_FILE = ROOT / "deployments" / "prefect.yaml"
FLOW = "finetune"

Switches = dict[tuple[str, str], bool]
"""(deployment name, slug of a schedule) -> whether the schedule is switched on."""


class RegistrationError(RuntimeError):
    """The server could not be told; the text says why and what to do."""


def declared() -> list[dict[str, Any]]:
    """The deployments of prefect.yaml, as they are written there."""
    deployments: list[dict[str, Any]] = yaml.safe_load(PREFECT_FILE.read_text())["deployments"]
    return deployments


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
    for name in _names():
        try:
            deployment = await client.read_deployment_by_name(f"{FLOW}/{name}")
        except ObjectNotFound:
            continue
        for schedule in deployment.schedules:
            yield name, deployment.id, schedule.id, schedule.slug or "", schedule.active


def _names() -> Iterator[str]:
    return (deployment["name"] for deployment in declared())


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
    """Create or update pools and deployments; returns deployment name -> id."""
    async with get_client() as client:
        await create_pools(client)
        before = await read_switches(client)
    await asyncio.to_thread(deploy)
    async with get_client() as client:
        await restore_switches(client, before)
        return {
            name: (await client.read_deployment_by_name(f"{FLOW}/{name}")).id for name in _names()
        }


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
            print(f"deployment {FLOW}/{name}: {identifier}")
    except RegistrationError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
