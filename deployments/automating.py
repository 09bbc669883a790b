"""The automations of deployments/automations, on a Prefect server.

An automation refers to a block or a deployment by an identifier that every server makes up anew.
The files hold names in their places: of a deployment (flow/deployment) or of notification blocks.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from prefect.client.orchestration import PrefectClient
from prefect.events.schemas.automations import AutomationCore

AUTOMATIONS = Path(__file__).resolve().parent / "automations"


class NotifierMissing(LookupError):
    """No notification block has the name that an automation sends to."""


def written_automations() -> list[dict[str, Any]]:
    """The automations of every file, as they are written there: names for identifiers."""
    return [
        automation
        for file in sorted(AUTOMATIONS.glob("*.yaml"))
        for automation in yaml.safe_load(file.read_text())["automations"]
    ]


def resolved(
    written: Mapping[str, Any], deployments: Mapping[str, UUID], notifiers: Mapping[str, list[UUID]]
) -> AutomationCore:
    """The automation with identifiers for names.

    deployments: flow/deployment -> identifier. notifiers: name -> identifiers of the notification
    blocks of this name; an action is repeated for each. Raises NotifierMissing where there is none.
    """
    actions: list[dict[str, Any]] = []
    for action in written["actions"]:
        if deployment := action.get("deployment_id"):
            actions.append({**action, "deployment_id": deployments[deployment]})
        elif name := action.get("block_document_id"):
            if not notifiers.get(name):
                raise NotifierMissing(name)
            actions += [{**action, "block_document_id": block} for block in notifiers[name]]
        else:
            actions.append(action)
    return AutomationCore.model_validate({**written, "actions": actions})


async def save_automations(
    client: PrefectClient, deployments: Mapping[str, UUID]
) -> dict[str, str]:
    """Create or update every automation; its name -> "on", "off", or why it is not there."""
    notifiers = await read_notifiers(client)
    told = {}
    for written in written_automations():
        try:
            wanted = resolved(written, deployments, notifiers)
        except NotifierMissing as missing:
            await delete_automation(client, written["name"])
            told[written["name"]] = f"not there: no notification block is called {missing}"
        else:
            told[wanted.name] = "on" if await save_automation(client, wanted) else "off"
    return told


async def save_automation(client: PrefectClient, wanted: AutomationCore) -> bool:
    """Create or update the automation of this name; returns whether it is switched on.

    One that somebody has switched on or off stays so. An unchanged one is left alone: writing it
    would make the server forget which runs it waits for.
    """
    existing = await client.read_automations_by_name(wanted.name)
    if not existing:
        await client.create_automation(wanted)
        return wanted.enabled
    for automation in existing:
        target = wanted.model_copy(update={"enabled": automation.enabled})
        if AutomationCore.model_validate(automation.model_dump()) != target:
            await client.update_automation(automation.id, target)
    return any(automation.enabled for automation in existing)


async def delete_automation(client: PrefectClient, name: str) -> None:
    """Delete the automations of this name, if there are any."""
    for automation in await client.read_automations_by_name(name):
        await client.delete_automation(automation.id)


async def read_notifiers(client: PrefectClient) -> dict[str, list[UUID]]:
    """Every notification block of the server: name -> identifiers."""
    found: dict[str, list[UUID]] = {}
    for name, identifier in _notifiers(await client.read_block_documents(include_secrets=False)):
        found.setdefault(name, []).append(identifier)
    return found


def _notifiers(documents: list[Any]) -> Iterator[tuple[str, UUID]]:
    for document in documents:
        schema = document.block_schema
        if document.name and schema and "notify" in schema.capabilities:
            yield document.name, document.id
