"""What the processes of `make up` see: their port, their folders, their variables."""

import os
import shlex
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ROOT / ".local"


def free_port(wanted: int) -> int:
    """`wanted` when nothing listens there, else any free port of the loopback interface."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("No port of 127.0.0.1 is free: end some programs and try again.")


def base_environment(environment: Mapping[str, str], api_url: str) -> dict[str, str]:
    """What every child gets: this project's Prefect, and none of the user's own set-up."""
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith("PREFECT_") and name.lower() not in ("http_proxy", "all_proxy")
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    return {
        "HF_HOME": str(LOCAL / "huggingface"),
        "MPLCONFIGDIR": str(LOCAL / "matplotlib"),
        "AZUREML_EMULATOR_STATE": str(LOCAL / "emulator"),
        **kept,
        "PATH": path,
        "NO_PROXY": "localhost,127.0.0.1",
        "PREFECT_HOME": str(LOCAL / "prefect"),
        "PREFECT_API_URL": api_url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Runs that somebody starts by hand begin within seconds.
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PYTHONUNBUFFERED": "1",
    }


DATABASE = ("PREFECT_SERVER_DATABASE_", "PREFECT_API_DATABASE_")
"""How the variables begin that say where Prefect's server keeps its data."""


def server_environment(environment: Mapping[str, str], api_url: str) -> dict[str, str]:
    """What the server gets: as every child, and the data base that the user has named.

    Nobody else needs it: it may hold a password.
    """
    database = {
        name: value for name, value in environment.items() if name.startswith(DATABASE) and value
    }
    return base_environment(environment, api_url) | database


def parse_environment(text: str) -> dict[str, str]:
    """Lines KEY=VALUE with the value quoted for a shell, as `azureml-emulator env` prints them."""
    return dict(word.split("=", 1) for word in shlex.split(text))
