"""One step from its queue to its end: files in place, the command run, the outcome recorded."""

import asyncio
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emulator import managed_identity
from emulator.blob_store import BlobError
from emulator.compute import distribution
from emulator.compute.copies import copy_tree
from emulator.compute.expressions import ExpressionError, render
from emulator.compute.materials import (
    input_files,
    keep_folders,
    offer_outputs,
    output_places,
    workspace_of_job,
)
from emulator.compute.outcome import StepError, judge
from emulator.compute.outputs import output_uri, register_asset
from emulator.compute.plan import Step, Target
from emulator.compute.process import (
    Exit,
    Process,
    run_process,
    shell,
    started_at,
    step_environment,
)
from emulator.compute.records import user_log
from emulator.compute.script_call import python_call
from emulator.compute.step_python import describe, step_python
from emulator.compute.targets import compute_path
from emulator.compute.threads import in_thread
from emulator.compute.values import Data, Literal, PathIn, StepOutput, Value
from emulator.compute.warm_process import NodeLost
from emulator.environments.layer import installs
from emulator.http import AzureError
from emulator.identity import MANAGEMENT
from emulator.mlflow_registry_calls import registry_address
from emulator.registry import ASSETS
from emulator.uris import local_path

if TYPE_CHECKING:
    from emulator.compute.runner import JobRunner

_TOKEN_SECONDS = 30 * 86400
"""No job runs longer; its token ends with the emulator's key at the latest."""


@dataclass(frozen=True)
class StepJob:
    """The job of one step: where it is, whose it is, and what it reads and writes."""

    path: str
    name: str
    root: str
    parent: str | None
    experiment: str
    step: Step
    inputs: dict[str, Value | None]
    """Values without bindings: what other steps wrote is data by now."""
    outputs: dict[str, dict[str, str]]
    """name -> {"uri", "type"}"""


async def run_step(runner: "JobRunner", job: StepJob) -> None:
    """Run a step's process. Raises StepError, StepTimeout, or CancelledError after the kill."""
    await _move(runner, job, "Queued")
    command = job.step.command
    compute = compute_path(workspace_of_job(job.path), job.step.compute)
    async with runner.slots.hold(compute, command.instances):
        folder = runner.folder / job.name
        try:
            await _move(runner, job, "Preparing")
            exit_ = await _execute(runner, job, folder)
            await in_thread(keep_folders, runner.emulator, job.name, folder / "wd")
            judge(exit_, job.step.command, _log(runner, job))
            await _move(runner, job, "Finalizing")
        finally:
            runner.processes.delete(job.name)
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    for name, target in job.step.outputs.items():
        if target.asset_name:
            register_asset(runner.emulator, job.path, name, target, job.outputs[name]["uri"])


async def _move(runner: "JobRunner", job: StepJob, state: str) -> None:
    """Give the job its next state, and stay in it as long as the transitions of jobs say."""
    runner.records.move(job.path, state)
    await runner.emulator.transitions.enter("jobs", state, job.name, _names(job))


def _names(job: StepJob) -> tuple[str, ...]:
    """What a person may call the job: its name, its pipeline's, its place in the pipeline."""
    key = job.step.key
    return job.name, job.root, key, key.rpartition("/")[2]


async def _execute(runner: "JobRunner", job: StepJob, folder: Path) -> Exit:
    emulator = runner.emulator
    work = folder / "wd"
    interpreter = await step_python(runner, job)
    await in_thread(_copy_code, runner, job, work)
    offer_outputs(work)
    files = await in_thread(input_files, emulator, job, folder)
    outputs = output_places(emulator, job)
    values: dict[str, str | None] = {f"inputs.{name}": text for name, text in files.items()}
    values |= {f"outputs.{name}": place for name, place in outputs.items()}
    try:
        text = render(job.step.command.text, values)
    except ExpressionError as error:
        raise StepError(str(error)) from error
    if failure := emulator.transitions.failure("jobs", *_names(job)):
        text = failure.command()
    if installs(text) and not is_ours(job.step.command.code):
        interpreter = await emulator.environments.layer(interpreter, folder / "python")
    variables = _variables(runner, job, files, outputs)
    log = _log(runner, job)
    describe(runner, job, text, interpreter)

    def started(pid: int) -> None:
        runner.processes.put(job.name, {"pid": pid, "started": started_at(pid)})
        runner.records.move(job.path, "Running")

    scripts = () if interpreter.own else interpreter.folders
    environment = step_environment(emulator.config.state, variables, scripts=scripts)
    log.parent.mkdir(parents=True, exist_ok=True)
    process = await _start(runner, job, text, work, environment, log, interpreter.own)
    try:
        return await run_process(process, started, job.step.command.timeout)
    except NodeLost:
        raise StepError("The compute node was lost while the step ran.", "NodeLost") from None


async def _start(
    runner: "JobRunner",
    job: StepJob,
    text: str,
    work: Path,
    environment: dict[str, str],
    log: Path,
    own_python: bool,
) -> Process:
    """The step's process: on the warm node if it is the registry's own code, else a new one."""
    node, call = runner.emulator.node, python_call(text)
    if call and own_python and is_ours(job.step.command.code) and node.suits(environment):
        script, arguments = call
        with suppress(NodeLost):  # it never began: a process of its own runs it
            return await node.spawn(
                script=script,
                arguments=arguments,
                folder=work,
                environment={**environment, "PWD": str(work)},  # as a shell sets it
                log=log,
            )
    try:
        return await shell(text, work, environment, log)
    except (OSError, ValueError) as error:  # too long, or with a NUL in it
        reason = getattr(error, "strerror", None) or str(error)
        raise StepError(
            f"The command cannot be started: {reason}. Make the command and its environment "
            "variables shorter, and use no NUL and no empty name in them."
        ) from error


def is_ours(code: object) -> bool:
    """Whether the code is the emulator's own: of others nobody knows what a fork does to it."""
    return isinstance(code, Path) and code.is_relative_to(ASSETS)


def _log(runner: "JobRunner", job: StepJob) -> Path:
    emulator = runner.emulator
    return emulator.blobs.path(emulator.config.artifact_container, user_log(job.name))


def _copy_code(runner: "JobRunner", job: StepJob, work: Path) -> None:
    """A working copy: a step can write beside its code without changing anybody else's."""
    code = job.step.command.code
    if code is None:
        work.mkdir(parents=True)
        return
    try:
        source = (
            code
            if isinstance(code, Path)
            else local_path(runner.emulator, code, workspace_of_job(job.path))
        )
    except (AzureError, BlobError) as error:
        raise StepError(f"The code {code} cannot be read: {error.message}") from error
    if source.is_dir():
        copy_tree(source, work)
    elif source.is_file():
        work.mkdir(parents=True)
        shutil.copy(source, work)
    else:
        raise StepError(f"The code {code} does not exist in the workspace's storage.")


def _mlflow(runner: "JobRunner", job: StepJob) -> dict[str, str]:
    """What makes MLflow in the step go on with the run that the job is."""
    emulator = runner.emulator
    client = emulator.config.client_id
    return {
        "MLFLOW_TRACKING_URI": emulator.tracking.url,
        # What is registered is a model of the workspace, not of the tracking server.
        "MLFLOW_REGISTRY_URI": registry_address(emulator, workspace_of_job(job.path)),
        "MLFLOW_TRACKING_TOKEN": emulator.tokens.issue(MANAGEMENT[0], client, _TOKEN_SECONDS),
        "MLFLOW_RUN_ID": job.name,
        "MLFLOW_EXPERIMENT_NAME": job.experiment,
    }


def _workspace(runner: "JobRunner", job: StepJob) -> dict[str, str]:
    """What names the workspace that the job is in, also for a client that the step makes."""
    path = workspace_of_job(job.path)
    _, _, subscription, _, group, *_, name = path.split("/")
    workspace = runner.emulator.store.get(path) or {"properties": {}}
    return {
        "AZUREML_SUBSCRIPTION_ID": subscription,
        "AZUREML_RESOURCE_GROUP": group,
        "AZUREML_WORKSPACE_NAME": name,
        "AZUREML_ARM_SUBSCRIPTION": subscription,
        "AZUREML_ARM_RESOURCEGROUP": group,
        "AZUREML_ARM_WORKSPACE_NAME": name,
        "AZUREML_WORKSPACE_ID": str(workspace["properties"].get("workspaceId") or ""),
    }


def _identity(runner: "JobRunner", job: StepJob) -> dict[str, str]:
    """What leads the step to the managed identity of its compute, if that has one."""
    path = compute_path(workspace_of_job(job.path), job.step.compute)
    compute = runner.emulator.store.get(path) or {}
    config = runner.emulator.config
    return managed_identity.variables(config, path) if compute.get("identity") else {}


def _variables(
    runner: "JobRunner", job: StepJob, files: dict[str, str | None], outputs: dict[str, str]
) -> dict[str, str]:
    emulator = runner.emulator
    config = emulator.config
    ours = {
        **config.client_environment(),
        **_workspace(runner, job),
        **_identity(runner, job),
        **(_mlflow(runner, job) if emulator.tracking.is_installed else {}),
        "AZUREML_RUN_ID": job.name,
        "AZUREML_ROOT_RUN_ID": job.root,
        "AZUREML_EXPERIMENT_NAME": job.experiment,
        "AZUREML_ARM_PROJECT_NAME": job.experiment,
        "AZUREML_SERVICE_ENDPOINT": f"https://{config.api_host}",
    }
    paths = {f"AZURE_ML_INPUT_{name}": text for name, text in files.items() if text is not None}
    paths |= {f"AZURE_ML_OUTPUT_{name}": place for name, place in outputs.items()}
    command = job.step.command
    # The emulator's own code trains in one process, and would look for others.
    together = {} if is_ours(command.code) else distribution.variables(command.distribution)
    return {**ours, **paths, **together, **command.variables}


def bound_value(
    value: Value | None, written: dict[tuple[str, str], Data | Literal]
) -> Value | None:
    """A value with the outputs of earlier steps (by step key and name) put in."""
    if isinstance(value, StepOutput):
        keys = [(one.step, one.name) for one in value.candidates]
        return written[next((key for key in keys if key in written), keys[0])]
    if isinstance(value, PathIn):
        base = bound_value(value.base, written)
        assert isinstance(base, Data)
        return Data(f"{base.uri.rstrip('/')}/{value.suffix.lstrip('/')}", value.type, base.mode)
    return value


def planned_outputs(
    targets: dict[str, Target], names: dict[str, str], datastore: str
) -> dict[str, dict[str, str]]:
    """name -> {"uri", "type"} of outputs; `names` gives the job of each owner (a key)."""
    return {
        name: {"uri": output_uri(target, names[target.owner], datastore), "type": target.type}
        for name, target in targets.items()
    }
