"""Runs the workspace's jobs: submit, cancel, and what a restart finds."""

import asyncio
import logging
import os
import shutil
import signal
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from emulator.compute import targets
from emulator.compute.graph import make_plan
from emulator.compute.materials import workspace_of_job
from emulator.compute.outcome import StepError, StepTimeout
from emulator.compute.pipeline import PipelineRun
from emulator.compute.plan import ROOT, Plan
from emulator.compute.process import kill_stray
from emulator.compute.records import (
    TERMINAL,
    Error,
    RunRecords,
    execution_log,
    job_name,
    system_log,
    user_log,
)
from emulator.compute.reuse import Reuse
from emulator.compute.slots import Slots
from emulator.compute.step import (
    StepJob,
    is_ours,
    planned_outputs,
    run_step,
)
from emulator.compute.unwatched import UnwatchedJobs
from emulator.http import AzureError

if TYPE_CHECKING:
    from emulator.core import Emulator

_log = logging.getLogger(__name__)

INTERRUPTED: Error = {
    "code": "EmulatorStopped",
    "message": "The local emulator stopped while the job was running. Submit the job again.",
}
MOST_TRACKING_SECONDS = 60
_MLFLOW_END = {"Completed": "FINISHED", "Failed": "FAILED", "Canceled": "KILLED"}


class JobRunner:
    """All jobs of the emulator. Lives on the event loop of the server."""

    def __init__(self, emulator: "Emulator") -> None:
        self.emulator = emulator
        self.folder = emulator.config.state / "runs"
        self.records = RunRecords(emulator)
        self.processes = emulator.store.document("processes")
        cores = emulator.config.cores or os.cpu_count() or 1
        store = emulator.store
        self.slots = Slots(cores, partial(targets.nodes, store), partial(targets.show_use, store))
        self.reuse = Reuse(emulator)
        self.unwatched = UnwatchedJobs(self)
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._stopping = self._forgotten = False

    async def start(self) -> None:
        """End what an earlier life of the emulator left behind; then jobs can be submitted."""
        self._stopping = self._forgotten = False
        for name, process in self.processes.items():
            kill_stray(process["pid"], process["started"], name)
            self.processes.delete(name)
        interrupted = [name for name, _ in self.records.living()]
        for name in interrupted:
            path = self.records.path(name)
            cancelled = (self.records.get(name) or {})["status"] == "CancelRequested"
            status, error = ("Canceled", None) if cancelled else ("Failed", INTERRUPTED)
            # First, so that a second kill leaves no run that has not ended.
            await self.end_tracking(name, status)
            self.records.move(path, status, error)
            shutil.rmtree(self.folder / name, ignore_errors=True)

    async def stop(self, at_once: bool = False) -> None:
        """End all processes; the jobs that had one have failed. `at_once`: without a grace."""
        self._stopping, self._forgotten = True, at_once
        for _, process in self.processes.items() if at_once else ():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process["pid"], signal.SIGKILL)
        tasks = list(self._tasks.values())
        for task in tasks:
            if not task.cancelling():
                task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def validate(self, resource: dict[str, Any]) -> Plan:
        """The plan of a job that was not started. Raises AzureError when it cannot run."""
        home = workspace_of_job(resource.get("id", "")) or self.emulator.config.workspace_path
        plan = make_plan(self.emulator, resource["properties"], home)
        targets.check(self.emulator.store, home, plan)
        return plan

    def outputs(self, name: str, plan: Plan) -> dict[str, dict[str, str]]:
        """Where a job's outputs will be: name -> {"uri", "type"}."""
        return planned_outputs(plan.outputs, {ROOT: name}, plan.datastore)

    def submit(self, job_path: str) -> None:
        """Start a stored job. Raises AzureError when it cannot run, before anything is kept."""
        resource = self.emulator.store.get(job_path)
        if resource is None:
            raise AzureError(404, "UserError", f"Job {job_name(job_path)} not found.")
        name = resource["name"]
        if self.records.get(name) is not None:
            return
        plan = self.validate(resource)
        logs = [execution_log(name)] if plan.pipeline else [user_log(name), system_log(name)]
        outputs = self.outputs(name, plan)
        self.records.begin(job_path, resource, parent=None, root=name, outputs=outputs, logs=logs)
        experiment = resource["properties"].get("experimentName") or "Default"
        work: Coroutine[Any, Any, Error | None] = (
            self._pipeline(job_path, name, plan)
            if plan.pipeline
            else self._command(job_path, name, plan, experiment)
        )
        self._remember(name, asyncio.create_task(self._to_its_end(job_path, work)))
        if any(is_ours(step.command.code) for step in plan.steps.values()):
            self.emulator.node.prepare()  # while the first steps wait for their turn

    def request_cancel(self, job_path: str) -> None:
        """Begin to cancel a job, or one step of one; `wait` tells when its processes are gone.

        Raises AzureError 404 for an unknown job, 400 for one that has ended.
        """
        folder, _, name = job_path.rpartition("/")
        run = self.records.get(name)
        if run is None:
            raise AzureError(404, "UserError", f"Job {name} not found.")
        if run["status"] in TERMINAL:
            message = f"The pipeline run {name} is in terminal status, it can't be canceled."
            inner = ("BadArgument", "ArgumentInvalid", "CancelPipelineRunInTerminalStatus")
            raise AzureError(400, "UserError", message, inner=inner)
        for living in self.records.living_below(name):
            self.records.move(f"{folder}/{living}", "CancelRequested")
        for living in [name, *self.records.living_below(name)]:
            task = self._tasks.get(living)
            # A second cancellation would interrupt the clean-up of the first.
            if task is not None and not task.cancelling():
                task.cancel()

    async def wait(self, job_path: str) -> None:
        """Wait until a job has ended and nothing of it runs."""
        names = {job_name(job_path), *self.records.living_below(job_name(job_path))}
        tasks = [task for name, task in self._tasks.items() if name in names]
        if tasks:
            await asyncio.wait(tasks)

    async def cancel(self, job_path: str) -> None:
        """Cancel a job or one step of one; returns when its processes are gone."""
        self.request_cancel(job_path)
        await self.wait(job_path)

    def forget(self, job_path: str) -> None:
        """Delete an ended job with all jobs below it. Raises AzureError 400 for a living one."""
        folder, _, name = job_path.rpartition("/")
        run = self.records.get(name)
        if run is not None and run["status"] not in TERMINAL:
            message = f"Job {name} is {run['status']}. Cancel it before it is deleted."
            raise AzureError(400, "UserError", message)
        for child in run["children"] if run else []:
            self.forget(f"{folder}/{child}")
        self.records.forget(job_path)

    async def run_child(
        self, job: StepJob, around: list[asyncio.Task[None]], force: bool = True
    ) -> str:
        """Run one step of a pipeline as a job that can be cancelled by its own name.

        Unless `force`, outputs of an earlier step that did the same are taken instead; then
        `job.outputs` tells where they are. `around`
        makes the MLflow runs of the pipeline components that it is in.
        """
        task = asyncio.current_task()
        assert task is not None
        self._remember(job.name, task)
        return await self._to_its_end(job.path, self._step(job, around, force))

    async def begin_tracking(self, name: str) -> None:
        """Give a job its MLflow run, with the tags by which clients find a pipeline's runs."""
        run = self.records.get(name) or {}
        job = self.emulator.store.get(self.records.path(name)) or {"properties": {}}
        tags = {
            **(job["properties"].get("tags") or {}),
            "mlflow.rootRunId": run["root"],
            "mlflow.runName": run["displayName"],
        }
        if run["parent"]:
            tags["mlflow.parentRunId"] = run["parent"]
        await self.emulator.tracking.create_run(
            name, run["experiment"], run["displayName"], tags, run["parent"]
        )

    async def end_tracking(self, name: str, status: str) -> None:
        """End a job's MLflow run. A job's own outcome does not depend on it."""
        try:
            async with asyncio.timeout(MOST_TRACKING_SECONDS):
                await self.emulator.tracking.end_run(name, _MLFLOW_END[status])
        except Exception:
            _log.exception("the MLflow run of job %s could not be ended", name)

    async def _command(self, path: str, name: str, plan: Plan, experiment: str) -> None:
        step = plan.steps[ROOT]
        inputs = {key: item.value for key, item in step.inputs.items()}
        outputs = self.outputs(name, plan)
        await self._step(StepJob(path, name, name, None, experiment, step, inputs, outputs), [])

    async def _step(
        self, job: StepJob, around: list[asyncio.Task[None]], force: bool = True
    ) -> None:
        if around:
            await asyncio.wait(around)
        for task in around:
            task.result()
        await self.begin_tracking(job.name)
        fingerprint = None if force else await self.reuse.fingerprint(job)
        if fingerprint is None:
            return await run_step(self, job)
        async with self.reuse.turn(fingerprint):
            if not await self.reuse.adopt(job, fingerprint):
                await run_step(self, job)
                await self.reuse.remember(job, fingerprint)

    async def _pipeline(self, path: str, name: str, plan: Plan) -> Error | None:
        self.records.move(path, "Preparing")
        await self.begin_tracking(name)
        self.records.move(path, "Running")
        error = await PipelineRun(self, path, name, plan).run()
        self.records.move(path, "Finalizing")
        return error

    async def _to_its_end(self, path: str, work: Coroutine[Any, Any, Error | None]) -> str:
        """Do a job's work and record how it ended; gives the last status."""
        error: Error | None = None
        try:
            error = await work
            status = "Failed" if error else "Completed"
        except asyncio.CancelledError:
            status, error = ("Failed", INTERRUPTED) if self._stopping else ("Canceled", None)
        except StepTimeout as timeout:
            status, error = "Canceled", {"code": "UserError", "message": str(timeout)}
        except (StepError, AzureError) as failure:
            status, error = "Failed", {"code": failure.code, "message": failure.message}
        except Exception as failure:
            _log.exception("job %s failed inside of the emulator", path)
            message = f"The local emulator failed while it ran the job: {failure!r}"
            status, error = "Failed", {"code": "InternalServerError", "message": message}
        if not self._forgotten:  # with all MLflow runs
            await self.end_tracking(job_name(path), status)
        self.records.move(path, status, error)
        return status

    def _remember(self, name: str, task: asyncio.Task[Any]) -> None:
        self._tasks[name] = task
        task.add_done_callback(lambda _: self._tasks.pop(name, None))
