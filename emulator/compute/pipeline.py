"""A pipeline job: its steps as tasks, each started when what it reads is there."""

import asyncio
import logging
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from emulator.compute.children import child_resource
from emulator.compute.plain_values import written_values
from emulator.compute.plan import ROOT, Group, Plan, Step, StepInput
from emulator.compute.records import Error, execution_log, system_log, user_log
from emulator.compute.step import StepJob, bound_value, planned_outputs
from emulator.compute.values import LITERAL_TYPES, Data, Literal, StepOutput

if TYPE_CHECKING:
    from emulator.compute.runner import JobRunner


_log = logging.getLogger(__name__)

BYPASSED = "Bypassed"


class _Made(NamedTuple):
    """A job that was made for a node of the graph."""

    path: str
    name: str
    experiment: str
    inputs: dict[str, Any]
    outputs: dict[str, dict[str, str]]


class PipelineRun:
    """One run of a plan. `outcomes` fills with each step's end: Completed, Failed, Canceled.

    A step whose needs were not met gets no job, as in Azure; its outcome is Skipped. One that a
    condition leaves out, or that reads only of such, is Bypassed, and no reason to fail.
    """

    def __init__(self, runner: "JobRunner", path: str, name: str, plan: Plan) -> None:
        self._runner = runner
        self._jobs_path = path.rpartition("/")[0]
        self._path = path
        self._root = name
        self._plan = plan
        self._names = {ROOT: name}
        self._written: dict[tuple[str, str], Data | Literal] = {}
        self._tasks: dict[str, asyncio.Task[str]] = {}
        self._tracked: dict[str, asyncio.Task[None]] = {}
        self.outcomes: dict[str, str] = {}

    async def run(self) -> Error | None:
        """Run all steps. Gives the error of the pipeline, or None when all were completed.

        Cancelling this cancels the steps and waits until their processes are gone.
        """
        for key, step in self._plan.steps.items():
            self._tasks[key] = asyncio.create_task(self._step(step))
        try:
            await self._watch()
        finally:
            await self._cancel_rest()
            await self._finish_groups(all_=True)
        return pipeline_error(self.outcomes)

    async def _watch(self) -> None:
        pending = set(self._tasks.values())
        while pending:
            _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            self._collect()
            await self._finish_groups(all_=False)
            bad = any(outcome in ("Failed", "Canceled") for outcome in self.outcomes.values())
            if bad and not self._plan.continue_on_failure:
                return

    async def _cancel_rest(self) -> None:
        for task in self._tasks.values():
            # A second cancellation would interrupt the clean-up of the first.
            if not task.done() and not task.cancelling():
                task.cancel()
        unfinished = [task for task in self._tasks.values() if not task.done()]
        if unfinished:
            await asyncio.wait(unfinished)
        self._collect()

    def _collect(self) -> None:
        for key, task in self._tasks.items():
            if task.done() and key not in self.outcomes:
                started = key in self._names
                ended = "Canceled" if started else "Skipped"
                self.outcomes[key] = ended if task.cancelled() else _outcome(task)

    async def _step(self, step: Step) -> str:
        if (end := await self._left_out(step)) is not None:
            return end
        job = self._create(step)
        around = [task for key, task in self._tracked.items() if step.key.startswith(f"{key}/")]
        status = await self._runner.run_child(job, around, self._plan.force_rerun)
        self._keep_addresses(job)
        values = await asyncio.to_thread(written_values, self._runner.emulator, job)
        self._written |= {(step.key, name): value for name, value in values.items()}
        return status

    async def _left_out(self, step: Step) -> str | None:
        """How a step ends that does not run: for a condition, or for one that it waits for."""
        conditions = list(self._plan.conditions_of(step.key))
        decisive = [one.value for one in conditions if isinstance(one.value, StepOutput)]
        for source in [*decisive, *step.sources]:
            ends = [await self._end(one.step) for one in source.candidates]
            if "Completed" not in ends:
                return BYPASSED if set(ends) == {BYPASSED} else "Skipped"
        for condition in conditions:
            value = bound_value(condition.value, self._written)
            text = value.text.strip().lower() if isinstance(value, Literal) else None
            if text not in ("true", "false"):
                self._runner.records.append(
                    execution_log(self._root),
                    f"{step.key} cannot run: its condition is {text}, neither true nor false.",
                )
                return "Failed"
            if (text == "true") != condition.wanted:
                return BYPASSED
        return None

    async def _end(self, key: str) -> str:
        """How another step ends, as soon as it does."""
        task = self._tasks[key]
        # wait, not await: that this step is cancelled must not cancel what it waits for.
        await asyncio.wait([task])
        return "Canceled" if task.cancelled() else _outcome(task)

    def _create(self, step: Step) -> StepJob:
        """Make the step's job, and those of the pipeline components around it."""
        parent = self._group(step.parent)
        made = self._record(step.key, step, parent, lambda name: [user_log(name), system_log(name)])
        job = StepJob(
            made.path,
            made.name,
            self._root,
            parent,
            made.experiment,
            step,
            made.inputs,
            made.outputs,
        )
        self._keep_addresses(job)
        return job

    def _keep_addresses(self, job: StepJob) -> None:
        """Tell the steps after this one where its outputs are."""
        for output, place in job.outputs.items():
            self._written[job.step.key, output] = Data(place["uri"], place["type"])

    def _group(self, key: str) -> str:
        """The name of the job of a pipeline component, made when its first step begins."""
        if key in self._names:
            return self._names[key]
        group = self._plan.groups[key]
        parent = self._group(group.parent)
        made = self._record(key, group, parent, lambda name: [execution_log(name)])
        self._runner.records.move(made.path, "Running")
        outer = self._tracked.get(group.parent)
        self._tracked[key] = asyncio.create_task(self._track(made.name, outer))
        return made.name

    def _record(
        self, key: str, node: Step | Group, parent: str, logs: Callable[[str], list[str]]
    ) -> _Made:
        """Keep a new job for the node of the graph; `logs` gives its log files by its name."""
        name = self._names[key] = str(uuid.uuid4())
        outputs = planned_outputs(node.outputs, self._names, self._plan.datastore)
        path = f"{self._jobs_path}/{name}"
        inputs = self._bound(node.inputs)
        resource = child_resource(self._runner.emulator, path, self._path, parent, node, inputs)
        resource["properties"]["outputs"] |= _output_bodies(outputs)
        self._runner.records.begin(
            path, resource, parent=parent, root=self._root, outputs=outputs, logs=logs(name)
        )
        return _Made(path, name, resource["properties"]["experimentName"], inputs, outputs)

    async def _track(self, name: str, outer: asyncio.Task[None] | None) -> None:
        """Give a pipeline component's job its MLflow run, after that of the one around it."""
        if outer is not None:
            await asyncio.wait([outer])
        await self._runner.begin_tracking(name)

    def _bound(self, inputs: dict[str, StepInput]) -> dict[str, Any]:
        """The inputs' values; a group may start before all that it is given is written."""
        found = {}
        for name, item in inputs.items():
            try:
                found[name] = bound_value(item.value, self._written)
            except KeyError:
                found[name] = None
        return found

    async def _finish_groups(self, all_: bool) -> None:
        """End the jobs of pipeline components whose steps have all ended, innermost first."""
        for key in sorted(self._plan.groups, key=lambda key: -key.count("/")):
            if key not in self._names:
                continue
            inside = {
                step.key: self.outcomes.get(step.key, "Skipped" if all_ else "")
                for step in self._plan.steps_of(key)
            }
            if "" in inside.values():
                continue
            error = pipeline_error(inside)
            status = "Completed"
            if error:
                status = "Failed" if "Failed" in inside.values() else "Canceled"
            name = self._names[key]
            if self._runner.records.move(f"{self._jobs_path}/{name}", status, error):
                await asyncio.wait([self._tracked[key]])
                await self._runner.end_tracking(name, status)


def _outcome(task: asyncio.Task[str]) -> str:
    """How a step's task ended; one that broke has failed, and the log of the server says why."""
    if (error := task.exception()) is not None:
        _log.error("a step broke inside of the emulator", exc_info=error)
        return "Failed"
    return task.result()


def pipeline_error(outcomes: dict[str, str]) -> Error | None:
    """The error of a pipeline by the ends of its steps, in the service's words."""
    if all(outcome in ("Completed", BYPASSED) for outcome in outcomes.values()):
        return None
    bad = [f"/{key}" for key, end in outcomes.items() if end == "Failed"]
    bad = bad or [f"/{key}" for key, end in outcomes.items() if end == "Canceled"]
    return {
        "code": "UserError",
        "message": f"Pipeline has failed child jobs. Failed nodes: {', '.join(bad)}. For more "
        "details and logs, please go to the job detail page and check the child jobs.",
    }


def _output_bodies(outputs: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    return {
        name: {
            "jobOutputType": "uri_file" if place["type"] in LITERAL_TYPES else place["type"],
            "mode": "ReadWriteMount",
            "uri": place["uri"],
        }
        for name, place in outputs.items()
    }
