"""The names of endpoints, which are hosts: one region, one endpoint of a name."""

import re
from typing import TYPE_CHECKING

from emulator.http import AzureError

if TYPE_CHECKING:
    from emulator.core import Emulator

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,30}[A-Za-z0-9]")
_DOCUMENT = "endpoint names"


def check_name(what: str, name: str) -> None:
    """AzureError 400 for a name that no endpoint or deployment can have. `what`: which of them."""
    if not _NAME.fullmatch(name):
        raise AzureError(
            400,
            "BadRequest",
            f"The {what} name '{name}' is invalid: 3 to 32 letters, digits and '-', beginning "
            "with a letter and ending with a letter or digit.",
        )


def claim(emulator: "Emulator", name: str, path: str) -> None:
    """Take a name for the endpoint at `path`; AzureError 409 when another one has it."""
    names = emulator.store.document(_DOCUMENT)
    owner: str | None = names.get(name.lower())
    if owner and owner != path.lower() and emulator.store.get(owner):
        raise AzureError(
            409,
            "Conflict",
            f"There is already an endpoint named '{name}' in the region "
            f"{emulator.config.location}. Choose another name.",
        )
    names.put(name.lower(), path.lower())


def release(emulator: "Emulator", name: str) -> None:
    emulator.store.document(_DOCUMENT).delete(name.lower())


def owner(emulator: "Emulator", name: str) -> str | None:
    """The path of the endpoint that had the name last, which may be gone."""
    found: str | None = emulator.store.document(_DOCUMENT).get(name.lower())
    return found


def host(emulator: "Emulator", name: str) -> str:
    """The host of an endpoint's address."""
    return f"{name.lower()}.{emulator.config.location}.inference.ml.azure.com"


def missing(name: str, workspace: str) -> AzureError:
    """The answer for a batch endpoint that a workspace does not have."""
    below = [("NoSuchEndpoint", f"There is no endpoint with name: {name} in {workspace}")]
    return AzureError(404, "NotFound", "The specified resource was not found.", details=below)
