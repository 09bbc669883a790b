"""Azure ML's addresses of data and models, followed to the files behind them."""

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from emulator.http import AzureError

if TYPE_CHECKING:
    from emulator.core import Emulator

_DATASTORE = re.compile(
    r"azureml://(?:subscriptions/[^/]+/resource[gG]roups/[^/]+/"
    r"(?:providers/[^/]+/)?workspaces/[^/]+/)?datastores/(?P<datastore>[^/]+)/paths/(?P<path>.*)"
)
_JOB_OUTPUT = re.compile(
    r"azureml://jobs/(?P<job>[^/]+)/outputs/(?P<output>[^/]+)(?:/paths/(?P<path>.*))?/?"
)
_REGISTRY_MODEL = re.compile(
    r"azureml://registries/(?P<registry>[^/]+)/models/(?P<name>[^/]+)/versions/(?P<version>[^/]+)"
    r"(?:/paths/(?P<path>.*))?/?"
)
_ASSET = re.compile(
    r"(?:azureml:)?/+.*/workspaces/[^/]+/(?P<kind>data|models|codes)/(?P<name>[^/]+)"
    r"/versions/(?P<version>[^/]+)/?",
    re.IGNORECASE,
)
_SHORT = re.compile(r"azureml:(?P<name>[^/:@]+)(?::(?P<version>[^/:@]+)|@(?P<label>[^/:@]+))")

_URI_PROPERTY = {"data": "dataUri", "models": "modelUri", "codes": "codeUri"}
_MOST_STEPS = 8


def local_path(emulator: "Emulator", uri: str) -> Path:
    """The file or folder that an address means. It need not exist.

    Understands datastore paths (short and long), outputs of jobs, models of the registry,
    versions of data, models and code (`azureml:NAME:VERSION`, `azureml:NAME@latest`, resource
    ids), and blob URLs of the local storage account. Anything else is an AzureError 400, and an
    asset that is not there an AzureError 404.
    """
    address = uri
    for _ in range(_MOST_STEPS):
        step = _follow(emulator, address)
        if isinstance(step, Path):
            return step
        address = step
    raise AzureError(400, "UserError", f"{uri} leads back to itself: {address}.")


def datastore_path(emulator: "Emulator", datastore: str, path: str) -> Path:
    """A path in one of the workspace's datastores."""
    resource = emulator.store.get(f"{emulator.config.workspace_path}/datastores/{datastore}")
    if resource is None:
        raise AzureError(404, "UserError", f"Could not find datastore: {datastore}.")
    properties = resource["properties"]
    if properties.get("accountName") != emulator.config.account:
        raise AzureError(
            400,
            "UserError",
            f"The datastore {datastore} is in the storage account "
            f"{properties.get('accountName')}; the local Azure ML reaches its own account only.",
        )
    return emulator.blobs.path(properties["containerName"], unquote(path).strip("/"))


def _follow(emulator: "Emulator", uri: str) -> str | Path:
    """One step from an address to its files: the next address, or the path itself."""
    if match := _DATASTORE.fullmatch(uri):
        return datastore_path(emulator, match["datastore"], match["path"])
    if match := _JOB_OUTPUT.fullmatch(uri):
        return _job_output(emulator, match["job"], match["output"], match["path"] or "")
    if match := _REGISTRY_MODEL.fullmatch(uri):
        folder: Path = emulator.registry.model_folder(match["name"], match["version"])
        return _inside(folder, match["path"] or "", uri)
    if match := _ASSET.fullmatch(uri):
        return _asset(emulator, match["kind"].lower(), match["name"], match["version"], uri)
    if match := _SHORT.fullmatch(uri):
        return _named(emulator, match["name"], match["version"], match["label"])
    if uri.startswith("https://"):
        return _blob_url(emulator, uri)
    raise AzureError(
        400,
        "UserError",
        f"The local Azure ML cannot reach '{uri}'. It reaches azureml://datastores/..., "
        "azureml://jobs/.../outputs/..., azureml://registries/.../models/..., "
        "azureml:NAME:VERSION and blobs of its own storage account.",
    )


def _job_output(emulator: "Emulator", job: str, output: str, path: str) -> str:
    resource = emulator.store.get(f"{emulator.config.workspace_path}/jobs/{job}")
    if resource is None:
        raise AzureError(404, "UserError", f"Could not find job: {job}.")
    outputs = resource["properties"].get("outputs") or {}
    uri = (outputs.get(output) or {}).get("uri")
    if not uri:
        names = ", ".join(outputs) or "none"
        raise AzureError(
            400, "UserError", f"Job {job} has no output named {output}. Its outputs: {names}."
        )
    return f"{uri.rstrip('/')}/{path}"


def _named(emulator: "Emulator", name: str, version: str | None, label: str | None) -> str | Path:
    """`azureml:NAME:VERSION` says no kind: data is looked for before models."""
    base = emulator.config.workspace_path
    for kind in ("data", "models"):
        container = emulator.store.get(f"{base}/{kind}/{name}")
        wanted = version
        if container and label == "latest":
            wanted = container["properties"].get("latestVersion")
        path = f"{base}/{kind}/{name}/versions/{wanted}"
        if wanted and emulator.store.get(path):
            return path
    what = f"version {version}" if version else f"label {label}"
    raise AzureError(
        404, "UserError", f"The workspace has neither data nor a model named {name} with {what}."
    )


def _asset(emulator: "Emulator", kind: str, name: str, version: str, uri: str) -> str:
    path = f"{emulator.config.workspace_path}/{kind}/{name}/versions/{version}"
    resource = emulator.store.get(path)
    if resource is None:
        raise AzureError(404, "UserError", f"Could not find asset with ID: {uri}.")
    address: str | None = resource["properties"].get(_URI_PROPERTY[kind])
    if not address:
        raise AzureError(400, "UserError", f"The asset {uri} names no files.")
    return address


def _blob_url(emulator: "Emulator", uri: str) -> Path:
    url = urlsplit(uri)
    container, _, name = unquote(url.path).lstrip("/").partition("/")
    if url.hostname != emulator.config.blob_host or not container:
        raise AzureError(
            400,
            "UserError",
            f"The local Azure ML does not read from {url.hostname}; it reads blobs of "
            f"{emulator.config.blob_host}.",
        )
    return emulator.blobs.path(container, name.rstrip("/"))


def _inside(folder: Path, path: str, uri: str) -> Path:
    target = (folder / unquote(path).strip("/")).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise AzureError(400, "UserError", f"{uri} leads out of the model's folder.")
    return target
