"""The Python of a step, from its environment; and what its log tells of both."""

from typing import TYPE_CHECKING

from emulator.compute.materials import workspace_of_job
from emulator.compute.outcome import environment_error
from emulator.compute.records import build_log, system_log
from emulator.environments import EnvironmentFailed, Interpreter

if TYPE_CHECKING:
    from emulator.compute.runner import JobRunner
    from emulator.compute.step import StepJob


async def step_python(runner: "JobRunner", job: "StepJob") -> Interpreter:
    """The Python of the job's environment, which is built while the job is Preparing."""
    emulator, reference = runner.emulator, job.step.command.environment
    workspace = workspace_of_job(job.path)
    blob = build_log(job.name)
    log = emulator.blobs.path(emulator.config.artifact_container, blob)
    try:
        if not emulator.environments.is_ready(reference, workspace):
            runner.records.add_log(job.name, blob)
        return await emulator.environments.interpreter(reference, log, workspace)
    except EnvironmentFailed as error:
        raise environment_error(error) from error


def describe(runner: "JobRunner", job: "StepJob", text: str, interpreter: Interpreter) -> None:
    """What is different from the cloud, where a person who wonders will look."""
    command = job.step.command
    lines = [
        *interpreter.notes,
        f"Compute {job.step.compute}: the command runs on this machine.",
    ]
    if command.instances > 1 or command.distribution:
        lines.append(
            f"{command.instances} instance(s), distribution {command.distribution or 'none'}: "
            "the local Azure ML runs one process."
        )
    for line in [*lines, f"Command: {text}"]:
        runner.records.append(system_log(job.name), line)
