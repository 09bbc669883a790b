"""Where the outputs of a job are: a pipeline's own answers do not say it, its record does."""

from typing import TYPE_CHECKING

from emulator.http import AzureError

if TYPE_CHECKING:
    from emulator.core import Emulator


def output_address(emulator: "Emulator", workspace: str, job: str, output: str) -> str:
    """The address of an output. AzureError: 404 for an unknown job, 400 for an unknown output."""
    resource = emulator.store.get(f"{workspace}/jobs/{job}")
    if resource is None:
        raise AzureError(404, "UserError", f"Could not find job: {job}.", inner=("NotFound",))
    places = (emulator.store.document("runs").get(job) or {}).get("outputs") or {}
    outputs = {**(resource["properties"].get("outputs") or {}), **places}
    told = (outputs.get(output) or {}).get("uri")
    if not told:
        raise AzureError(
            400,
            "UserError",
            f"Job {job} has no output named {output}. Its outputs: {', '.join(outputs) or 'none'}.",
        )
    return str(told).rstrip("/")
