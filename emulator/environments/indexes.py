"""Where packages come from: pip's own settings, told to uv, which does not read them."""

import ast
import asyncio
import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from emulator.config import STATE_VARIABLE

_PLACES = {
    "index-url": "--index-url",
    "extra-index-url": "--extra-index-url",
    "find-links": "--find-links",
    "trusted-host": "--allow-insecure-host",
}
NETWORK = (
    *("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"),
)
"""What leads clients to a local Azure ML, or through a network's own proxy."""


def build_environment(inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of uv and pip: without the proxy of a local Azure ML, or another Python's."""
    dropped = {"VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME", "UV_PROJECT_ENVIRONMENT"}
    state = inherited.get(STATE_VARIABLE)
    if state and inherited.get("REQUESTS_CA_BUNDLE", "").startswith(state):
        dropped.update(NETWORK)
    return {name: value for name, value in inherited.items() if name not in dropped}


async def pip_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """What pip would use, by option: from its files where it is installed, and from PIP_*."""
    if importlib.util.find_spec("pip") is None:
        prefix = "PIP_"
        return {
            name.removeprefix(prefix).lower().replace("_", "-"): value
            for name, value in environment.items()
            if name.startswith(prefix)
        }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "pip", "config", "list"),
        env=dict(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await process.communicate()
    return _parse(output.decode("utf-8", "replace"))


def _parse(listing: str) -> dict[str, str]:
    """The lines of `pip config list`; the command's section is over the global, variables last."""
    found: dict[tuple[int, str], str] = {}
    order = {"global": 0, "install": 1, ":env:": 2}
    for line in listing.splitlines():
        place, _, value = line.partition("=")
        section, _, option = place.rpartition(".")
        if section in order and option:
            found[order[section], option] = str(ast.literal_eval(value))
    return {option: found[rank, option] for rank, option in sorted(found)}


def uv_options(settings: Mapping[str, str]) -> list[str]:
    """Pip's settings as uv's options. As with pip, the best version of all indexes is taken."""
    options = ["--index-strategy", "unsafe-best-match"]
    for setting, option in _PLACES.items():
        for word in settings.get(setting, "").split():
            options += [option, word]
    if settings.get("no-index", "").lower() in {"1", "true", "yes", "on"}:
        options.append("--no-index")
    return options


def certificates(settings: Mapping[str, str]) -> dict[str, str]:
    """Variables that make uv trust what pip trusts."""
    bundle = settings.get("cert")
    return {"SSL_CERT_FILE": bundle} if bundle and Path(bundle).exists() else {}
