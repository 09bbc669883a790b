"""The `az` that `azureml-emulator exec` puts first on PATH: who is signed in, and tokens.

AzureCliCredential asks it, and scripts say `az login` before they do anything else. Everyone is
signed in already, as who the emulator's client secret stands for. Any other command is one of the
`az` further down PATH, if there is one.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

_MANAGEMENT = "https://management.core.windows.net/"


def install(state: Path) -> Path:
    """Put the command into the state folder; gives the folder that belongs on PATH."""
    folder = state / "cli"
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "az"
    text = f'#!/bin/sh\nexec "{sys.executable}" -P "{Path(__file__).resolve()}" "$@"\n'
    if not script.exists() or script.read_text() != text:
        part = folder / f".az-{os.getpid()}"
        part.write_text(text)
        part.chmod(0o755)
        part.replace(script)
    return folder


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    parser = argparse.ArgumentParser(prog="az", add_help=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--resource")
    parser.add_argument("--scope", nargs="*")
    parser.add_argument("--query")
    parser.add_argument("--output", "-o", default="json")
    options, _ = parser.parse_known_args(arguments)
    # Values of other options may have come among the words, after those of the command.
    words = tuple(options.words)
    if words[:2] == ("account", "get-access-token"):
        scope = (options.scope or [None])[0]
        resource = options.resource or (scope or _MANAGEMENT).removesuffix("/.default")
        return _print(_token(resource, environment), options)
    if words[:1] == ("login",) or words[:2] == ("account", "list"):
        return _print([_account(environment)], options)
    if words[:2] == ("account", "show"):
        return _print(_account(environment), options)
    if words[:1] == ("logout",) or words[:2] in (("account", "set"), ("account", "clear")):
        return 0
    other = _further_down(environment)
    if other:
        os.execv(other, [other, *arguments])
    print(
        f"az {' '.join(words)}: the local Azure ML has az login, az account show, list, set and "
        "get-access-token only, and no other az is on PATH.",
        file=sys.stderr,
    )
    return 2


def _token(resource: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """A token of the client whose secret the environment has."""
    form = {
        "grant_type": "client_credentials",
        "client_id": environment["AZURE_CLIENT_ID"],
        "client_secret": environment["AZURE_CLIENT_SECRET"],
        "resource": resource.rstrip("/"),
    }
    tenant = environment["AZURE_TENANT_ID"]
    address = f"https://login.microsoftonline.com/{tenant}/oauth2/token"
    try:
        with urlopen(address, urlencode(form).encode(), timeout=30) as answer:
            token = json.load(answer)
    except URLError as error:
        raise SystemExit(f"ERROR: no token for {resource}: {error}") from error
    ends = int(token["expires_on"])
    return {
        "accessToken": token["access_token"],
        "expiresOn": datetime.fromtimestamp(ends).strftime("%Y-%m-%d %H:%M:%S.%f"),
        "expires_on": ends,
        "subscription": environment["AZUREML_SUBSCRIPTION_ID"],
        "tenant": tenant,
        "tokenType": "Bearer",
    }


def _account(environment: Mapping[str, str]) -> dict[str, Any]:
    return {
        "environmentName": "AzureCloud",
        "homeTenantId": environment["AZURE_TENANT_ID"],
        "id": environment["AZUREML_SUBSCRIPTION_ID"],
        "isDefault": True,
        "managedByTenants": [],
        "name": "Local Azure ML",
        "state": "Enabled",
        "tenantId": environment["AZURE_TENANT_ID"],
        "user": {"name": environment["AZURE_CLIENT_ID"], "type": "servicePrincipal"},
    }


def _print(value: Any, options: argparse.Namespace) -> int:
    """Print a value, or what a query takes out of it: one field, by its name."""
    if options.query:
        if not isinstance(value, dict) or options.query not in value:
            print(
                f"az: the local Azure ML has no answer to --query {options.query}; one field "
                f"may be named: {', '.join(_fields(value))}.",
                file=sys.stderr,
            )
            return 2
        value = value[options.query]
    if options.output == "tsv":
        for each in value if isinstance(value, list) else [value]:
            texts = each.values() if isinstance(each, dict) else [each]
            print("\t".join(str(text) for text in texts if not isinstance(text, dict | list)))
    elif options.output != "none":
        print(json.dumps(value, indent=2))
    return 0


def _fields(value: Any) -> list[str]:
    return list(value) if isinstance(value, dict) else []


def _further_down(environment: Mapping[str, str]) -> str | None:
    """Another `az` on PATH."""
    own = os.path.realpath(Path(environment["AZUREML_EMULATOR_STATE"]) / "cli")
    folders = environment.get("PATH", os.defpath).split(os.pathsep)
    rest = [folder for folder in folders if os.path.realpath(folder) != own]
    return shutil.which("az", path=os.pathsep.join(rest))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
