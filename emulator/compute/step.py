"""One step from its queue to its end: files in place, the command run, the outcome recorded."""

import asyncio
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emulator.blob_store import BlobError
from emulator.compute.expressions import ExpressionError, render
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
from emulator.compute.records import artifact_prefix, system_log, user_log
from emulator.compute.script_call import python_call
from emulator.compute.values import FILE_TYPES, Data, Literal, PathIn, StepOutput, Value
from emulator.compute.warm_process import NodeLost
from emulator.http import AzureError
from emulator.registry import ASSETS
from emulator.uris import local_path

if TYPE_CHECKING:
    from emulator.compute.runner import JobRunner


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
    async with runner.slots.hold(job.step.compute, command.instances):
        folder = runner.folder / job.name
        try:
            await _move(runner, job, "Preparing")
            exit_ = await _execute(runner, job, folder)
            judge(exit_, job.step.command, _log(runner, job))
            await _move(runner, job, "Finalizing")
            await asyncio.to_thread(_keep_outputs, runner, job, folder)
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
    await asyncio.to_thread(_copy_code, runner, job, work)
    files = await asyncio.to_thread(_input_files, runner, job, folder)
    outputs = {name: _output_path(runner, name, out) for name, out in job.outputs.items()}
    values: dict[str, str | None] = {f"inputs.{name}": text for name, text in files.items()}
    values |= {f"outputs.{name}": str(path) for name, path in outputs.items()}
    try:
        text = render(job.step.command.text, values)
    except ExpressionError as error:
        raise StepError(str(error)) from error
    if failure := emulator.transitions.failure("jobs", *_names(job)):
        text = failure.command()
    variables = _variables(runner, job, files, outputs)
    log = _log(runner, job)
    _describe(runner, job, text)

    def started(pid: int) -> None:
        runner.processes.put(job.name, {"pid": pid, "started": started_at(pid)})
        runner.records.move(job.path, "Running")

    environment = step_environment(emulator.config.state, variables)
    log.parent.mkdir(parents=True, exist_ok=True)
    process = await _start(runner, job, text, work, environment, log)
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
) -> Process:
    """The step's process: on the warm node if it is the registry's own code, else a new one."""
    node, call = runner.emulator.node, python_call(text)
    if call and is_ours(job.step.command.code) and node.suits(environment):
        script, arguments = call
        with suppress(NodeLost):  # it never began: a process of its own runs it
            return await node.spawn(
                script=script,
                arguments=arguments,
                folder=work,
                environment={**environment, "PWD": str(work)},  # as a shell sets it
                log=log,
            )
    return await shell(text, work, environment, log)


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
        source = code if isinstance(code, Path) else local_path(runner.emulator, code)
    except (AzureError, BlobError) as error:
        raise StepError(f"The code {code} cannot be read: {error.message}") from error
    if source.is_dir():
        shutil.copytree(source, work)
    elif source.is_file():
        work.mkdir(parents=True)
        shutil.copy(source, work)
    else:
        raise StepError(f"The code {code} does not exist in the workspace's storage.")


def _input_files(runner: "JobRunner", job: StepJob, folder: Path) -> dict[str, str | None]:
    """Each input as the command sees it: a literal's text, or the path of its data."""
    found: dict[str, str | None] = {}
    for name, value in job.inputs.items():
        if value is None or isinstance(value, Literal):
            found[name] = value.text if value else None
            continue
        assert isinstance(value, Data)
        mode = job.step.inputs[name].mode or value.mode
        if mode == "direct":
            found[name] = value.uri
            continue
        try:
            path = local_path(runner.emulator, value.uri)
        except (AzureError, BlobError) as error:
            raise StepError(f"Input {name} cannot be read: {error.message}") from error
        if not path.exists():
            raise StepError(
                f"Input {name} cannot be read: {value.uri} does not exist in the workspace's "
                "storage. Upload it, or correct the path."
            )
        if mode == "download":
            path = _download(path, folder / "inputs" / name)
        found[name] = str(path)
    return found


def _download(source: Path, target: Path) -> Path:
    if source.is_dir():
        shutil.copytree(source, target)
        return target
    target.mkdir(parents=True)
    return Path(shutil.copy(source, target))


def _output_path(runner: "JobRunner", name: str, output: dict[str, str]) -> Path:
    """Where the command writes an output: a folder that is there, or a file in one."""
    try:
        path = local_path(runner.emulator, output["uri"])
    except (AzureError, BlobError) as error:
        raise StepError(f"Output {name} cannot be written: {error.message}") from error
    folder = path.parent if output["type"] in FILE_TYPES else path
    folder.mkdir(parents=True, exist_ok=True)
    return path


def _variables(
    runner: "JobRunner", job: StepJob, files: dict[str, str | None], outputs: dict[str, Path]
) -> dict[str, str]:
    emulator = runner.emulator
    config = emulator.config
    ours = {
        **config.client_environment(),
        "MLFLOW_TRACKING_URI": emulator.tracking.url,
        "MLFLOW_RUN_ID": job.name,
        "MLFLOW_EXPERIMENT_NAME": job.experiment,
        "AZUREML_RUN_ID": job.name,
        "AZUREML_ROOT_RUN_ID": job.root,
        "AZUREML_EXPERIMENT_NAME": job.experiment,
        "AZUREML_ARM_SUBSCRIPTION": config.subscription,
        "AZUREML_ARM_RESOURCEGROUP": config.resource_group,
        "AZUREML_ARM_WORKSPACE_NAME": config.workspace,
        "AZUREML_ARM_PROJECT_NAME": job.experiment,
        "AZUREML_WORKSPACE_ID": config.workspace_id,
        "AZUREML_SERVICE_ENDPOINT": f"https://{config.api_host}",
    }
    paths = {f"AZURE_ML_INPUT_{name}": text for name, text in files.items() if text is not None}
    paths |= {f"AZURE_ML_OUTPUT_{name}": str(path) for name, path in outputs.items()}
    return {**ours, **paths, **job.step.command.variables}


def _describe(runner: "JobRunner", job: StepJob, text: str) -> None:
    """What is different from the cloud, where a person who wonders will look."""
    command = job.step.command
    lines = [
        f"Environment {command.environment or 'none'} was not built: the local Azure ML runs the "
        "command with its own Python.",
        f"Compute {job.step.compute}: the command runs on this machine.",
    ]
    if command.instances > 1 or command.distribution:
        lines.append(
            f"{command.instances} instance(s), distribution {command.distribution or 'none'}: "
            "the local Azure ML runs one process."
        )
    for line in [*lines, f"Command: {text}"]:
        runner.records.append(system_log(job.name), line)


def _keep_outputs(runner: "JobRunner", job: StepJob, folder: Path) -> None:
    """The folder `outputs` beside the code is kept with the job's artifacts, as Azure does."""
    own = folder / "wd" / "outputs"
    if own.is_dir():
        config = runner.emulator.config
        prefix = f"{artifact_prefix(job.name)}/outputs"
        target = runner.emulator.blobs.path(config.artifact_container, prefix)
        shutil.copytree(own, target, dirs_exist_ok=True)


def bound_value(value: Value | None, written: dict[tuple[str, str], Data]) -> Value | None:
    """A value with the outputs of earlier steps (by step key and name) put in."""
    if isinstance(value, StepOutput):
        return written[value.step, value.name]
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
