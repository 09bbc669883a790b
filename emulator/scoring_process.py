"""The process of a deployment: the scoring server with one model."""

import asyncio
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from emulator.compute.process import Process, step_environment
from emulator.compute.warm_process import NodeLost
from emulator.operations import Change

if TYPE_CHECKING:
    from emulator.core import Emulator

_PACKAGES = Path(__file__).parents[1]
_SERVER = "emulator.scoring_server"


async def launch(
    emulator: "Emulator", key: str, model: Path, environment: Mapping[str, str], log: Path
) -> Process:
    """Start it; its outputs are added to `log`. It takes a free port and prints which.

    While the warm node is up it is forked from that. A start of the node for one deployment
    alone would take longer than the deployment.
    """
    variables = step_environment(
        emulator.config.state, {**environment, "PYTHONPATH": str(_PACKAGES)}
    )
    arguments = ["--model", str(model.resolve()), "--port", "0"]
    failure = emulator.transitions.failure("deployments", *Change("deployments", key, "").names)
    if failure is None and not environment and emulator.node.is_up:
        with suppress(NodeLost):
            return await emulator.node.spawn(
                module=_SERVER,
                arguments=arguments,
                folder=log.parent,
                environment=variables,
                log=log,
                path=[str(_PACKAGES)],
            )
    command = ["/bin/sh", "-c", failure.command()] if failure else [sys.executable, "-m", _SERVER]
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *command,
            *arguments,
            cwd=log.parent,
            env=variables,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
