"""Fires the workspace's schedules when they are due, by the emulator's clock."""

import logging
from datetime import datetime
from typing import TYPE_CHECKING

from emulator.http import AzureError
from emulator.resource_manager.changes import settle
from emulator.resource_manager.places import workspace_paths
from emulator.scheduling.firing import fire, occurrence_name, record_failure
from emulator.scheduling.triggers import read_trigger
from emulator.store import Resource

if TYPE_CHECKING:
    from emulator.core import Emulator

_log = logging.getLogger(__name__)


class Scheduler:
    """Sets an alarm for each enabled schedule.

    Times that passed while the emulator did not run are left out, as are those that were due
    while a schedule was disabled.
    """

    def __init__(self, emulator: "Emulator") -> None:
        self._emulator = emulator

    def start(self) -> None:
        for workspace in workspace_paths(self._emulator):
            for schedule in self._emulator.store.children(f"{workspace}/schedules"):
                if settle(self._emulator.store, schedule) != "Deleting":
                    self._plan(schedule)

    def plan(self, path: str, first: datetime | None = None) -> None:
        """Look again at a schedule that was changed; `first` is a time before all others."""
        self._emulator.alarms.remove(path.lower())
        schedule = self._emulator.store.get(path)
        if schedule is not None:
            self._plan(schedule, first)

    def _plan(self, schedule: Resource, first: datetime | None = None) -> None:
        properties = schedule["properties"]
        if not properties["isEnabled"] or properties["provisioningState"] != "Succeeded":
            return
        created = datetime.fromisoformat(schedule["systemData"]["createdAt"])
        trigger = read_trigger(properties["trigger"], created)
        path = schedule["id"]
        self._emulator.alarms.set(
            path.lower(), trigger.after, lambda due: self._fire(path, due), first
        )

    def _fire(self, path: str, due: datetime) -> None:
        schedule = self._emulator.store.get(path)
        if schedule is None:
            self._emulator.alarms.remove(path.lower())
            return
        name = occurrence_name(schedule, due)
        try:
            job = fire(self._emulator, schedule, due, name)
        except AzureError as error:
            _log.warning(
                "schedule %s could not start the job that was due at %s: %s",
                schedule["name"],
                due,
                error.message,
            )
            record_failure(self._emulator, schedule, due, name, error)
        else:
            if job is not None:
                _log.info("schedule %s started job %s", schedule["name"], job["name"])
