"""The process of a deployment: a server with one model or one script."""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from emulator.compute.process import Process, step_environment
from emulator.compute.warm_process import NodeLost
from emulator.deployment_programs import Program
from emulator.operations import Change

if TYPE_CHECKING:
    from emulator.core import Emulator

_PACKAGES = Path(__file__).parents[1]
_SERVER = "emulator.scoring_server"


async def launch(emulator: "Emulator", key: str, program: Program, log: Path) -> Process:
    """Start it; its outputs are added to `log`. It takes a free port and prints which.

    While the warm node is up the emulator's own model server is forked from that. A start of the
    node for one deployment alone would take longer than the deployment.
    """
    ours = program.interpreter is None
    variables = dict(program.environment)
    if ours:
        variables = step_environment(
            emulator.config.state, {**variables, "PYTHONPATH": str(_PACKAGES)}
        )
    failure = emulator.transitions.failure("deployments", *Change("deployments", key, "").names)
    if failure is None and ours and not program.environment and emulator.node.is_up:
        with suppress(NodeLost):
            return await emulator.node.spawn(
                module=_SERVER,
                arguments=program.arguments,
                folder=program.folder,
                environment=variables,
                log=log,
                path=[str(_PACKAGES)],
            )
    if failure:
        command = ["/bin/sh", "-c", failure.command()]
    elif program.interpreter is None:
        command = [sys.executable, "-m", _SERVER]
    else:
        command = [str(program.interpreter.python)]
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *command,
            *program.arguments,
            cwd=program.folder,
            env=variables,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
