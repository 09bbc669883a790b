"""The command `azureml-emulator`: start | exec | env | status | reset, and the control API's."""

import argparse
import asyncio
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from emulator import azure_cli
from emulator.cli_control import ControlCommands
from emulator.config import BrokenState, Config, load_config, make_config, state_folder

START_SECONDS = 60


class CommandError(Exception):
    """A mistake of the user's, or a failure that one sentence explains."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except (CommandError, BrokenState) as error:
        print(f"azureml-emulator: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="azureml-emulator",
        description="A local Azure ML for the unmodified SDK. Loopback only; submitted jobs run "
        "with your own rights.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument(
            "--state",
            help="state folder (default: $AZUREML_EMULATOR_STATE, else .local/emulator)",
        )
        sub.set_defaults(run=run)
        return sub

    start = command("start", _start, "Serve in the foreground until Ctrl-C.")
    start.add_argument("--verbose", action="store_true", help="print every request")
    start.add_argument("--faults", type=Path, metavar="FILE", help="faults to begin with, YAML")
    start.add_argument("--exit-with-parent", action="store_true", help=argparse.SUPPRESS)
    execute = command("exec", _exec, "Run a command against the emulator; starts one if none runs.")
    execute.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD ...")
    command("env", _env, "Print the environment variables of the running emulator.")
    command("config", _config, "Print the config.json that MLClient.from_config reads.")
    command("status", _status, "Say whether an emulator runs, and what it holds.")
    command("reset", _reset, "Delete everything that the running emulator holds.")
    ControlCommands(_running, _control).register(command)
    return parser


def _start(options: argparse.Namespace) -> int:
    import sqlite3

    from emulator.fault_file import BadFaultFile, read_fault_file
    from emulator.log_file import configure_logging
    from emulator.server import AlreadyRunning, serve
    from emulator.storage_errors import is_of_state

    state = state_folder(options.state)
    try:
        faults = read_fault_file(options.faults) if options.faults else None
    except BadFaultFile as error:
        raise CommandError(str(error)) from error
    try:
        configure_logging(state, options.verbose)
    except OSError as error:
        raise _unusable(state, error) from error
    if not options.exit_with_parent:
        print(f"Local Azure ML: state in {state}; stop with Ctrl-C.", flush=True)
        print("In another shell: azureml-emulator exec -- python your_script.py", flush=True)
    try:
        asyncio.run(serve(state, options.exit_with_parent, faults))
    except AlreadyRunning as error:
        raise CommandError(str(error)) from error
    except (OSError, sqlite3.Error) as error:
        if not is_of_state(error):
            raise
        raise _unusable(state, error) from error
    return 0


def _unusable(state: Path, error: Exception) -> CommandError:
    return CommandError(
        f"the state folder {state} cannot be used: {error}. Make room, mend its permissions, or "
        "choose another folder with --state."
    )


def _exec(options: argparse.Namespace) -> int:
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise CommandError("exec needs a command: azureml-emulator exec -- python script.py")
    with running_emulator(state_folder(options.state)) as config:
        folders = [str(azure_cli.install(config.state)), os.environ.get("PATH", os.defpath)]
        path = {"PATH": os.pathsep.join(folders)}
        return _run(command, {**os.environ, **config.client_environment(), **path})


def _run(command: Sequence[str], environment: dict[str, str]) -> int:
    try:
        process = subprocess.Popen(command, env=environment)
    except OSError as error:
        raise CommandError(f"cannot run {command[0]}: {error.strerror}") from error
    # Ctrl-C reaches the command from the terminal; other signals are passed on.
    previous = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(
            signal.SIGTERM, lambda number, frame: process.send_signal(number)
        ),
    }
    try:
        code = process.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


@contextlib.contextmanager
def running_emulator(state: Path) -> Iterator[Config]:
    """The emulator of a state folder: the one that runs, or one started for the block's time."""
    from emulator.server import is_running

    if is_running(state):
        yield _wait_until_ready(state, None)
        return
    state.mkdir(parents=True, exist_ok=True)
    (state / "ready").unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "emulator", "start", "--state", str(state), "--exit-with-parent"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(state / "stderr.log").open("w"),
        start_new_session=True,
    )
    try:
        yield _wait_until_ready(state, process)
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(state: Path, process: subprocess.Popen[bytes] | None) -> Config:
    deadline = time.monotonic() + START_SECONDS
    while not (state / "ready").exists():
        if process and process.poll() is not None:
            text = (state / "stderr.log").read_text().strip() or "it printed nothing"
            raise CommandError(
                f"the emulator ended while it started: {text.splitlines()[-1]} "
                f"(whole text: {state / 'stderr.log'})"
            )
        if time.monotonic() > deadline:
            raise CommandError(
                f"the emulator did not start within {START_SECONDS} s; see {state}/emulator.log"
            )
        time.sleep(0.02)
    config = load_config(state)
    if config is None:
        raise CommandError(f"{state}/emulator.json is missing; remove the folder and start again")
    return config


def _env(options: argparse.Namespace) -> int:
    for name, value in _running(options).client_environment().items():
        print(f"{name}={shlex.quote(value)}")
    return 0


def _config(options: argparse.Namespace) -> int:
    """Of a state folder that was never used, what its first start will be called."""
    state = state_folder(options.state)
    config = load_config(state) or make_config(state)
    names = {
        "subscription_id": config.subscription,
        "resource_group": config.resource_group,
        "workspace_name": config.workspace,
    }
    print(json.dumps(names, indent=2))
    return 0


def _status(options: argparse.Namespace) -> int:
    state = state_folder(options.state)
    config = _running(options)
    answer = _control(config, "GET", "/status")
    print(f"running: state {state}, proxy {config.proxy_url}")
    print(f"page: {config.proxy_url}/")
    for path, resources in answer["workspaces"].items():
        counts = ", ".join(f"{count} {name}" for name, count in resources.items())
        print(f"workspace {path.rpartition('/')[2]}: {counts}")
    return 0


def _reset(options: argparse.Namespace) -> int:
    _control(_running(options), "POST", "/reset")
    print("The local Azure ML is empty again.")
    return 0


def _control(config: Config, method: str, path: str, body: object = None) -> Any:
    from emulator.control_request import ControlError, send

    try:
        return send(config, method, path, body)
    except ControlError as error:
        raise CommandError(str(error)) from error


def _running(options: argparse.Namespace) -> Config:
    from emulator.server import is_running

    state = state_folder(options.state)
    config = load_config(state) if is_running(state) else None
    if config is None:
        raise CommandError(f"no emulator runs for {state}; start one: azureml-emulator start")
    return config


if __name__ == "__main__":
    sys.exit(main())
