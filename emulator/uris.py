"""Azure ML's addresses of data and models, followed to the files behind them."""

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from emulator.http import AzureError
from emulator.job_outputs import output_address
from emulator.registry_store import stored_version
from emulator.resource_manager.asset_kinds import CODES, DATA, MODELS
from emulator.web import held_path, is_web, place

if TYPE_CHECKING:
    from emulator.core import Emulator

_DATASTORE = re.compile(
    r"azureml://(?:subscriptions/(?P<subscription>[^/]+)/resource[gG]roups/(?P<group>[^/]+)/"
    r"(?:providers/[^/]+/)?workspaces/(?P<workspace>[^/]+)/)?datastores/(?P<datastore>[^/]+)"
    r"/paths/(?P<path>.*)"
)
_JOB_OUTPUT = re.compile(
    r"azureml://jobs/(?P<job>[^/]+)/outputs/(?P<output>[^/]+)(?:/paths/(?P<path>.*))?/?"
)
_REGISTRY_MODEL = re.compile(
    r"azureml://registries/(?P<registry>[^/]+)/models/(?P<name>[^/]+)/versions/(?P<version>[^/]+)"
    r"(?:/paths/(?P<path>.*))?/?"
)
_REGISTRY_ASSET = re.compile(
    r"azureml://registries/(?P<registry>[^/]+)/(?P<kind>models|data|codes)/(?P<name>[^/]+)"
    r"/(?:versions|labels)/(?P<version>[^/]+)(?:/paths/(?P<path>.*))?/?"
)
_ASSET = re.compile(
    r"(?:azureml:)?/*(?P<workspace>/subscriptions/.*/workspaces/[^/]+)/(?P<kind>data|models|codes)/(?P<name>[^/]+)"
    r"/versions/(?P<version>[^/]+)/?",
    re.IGNORECASE,
)
_SHORT = re.compile(r"azureml:(?P<name>[^/:@]+)(?::(?P<version>[^/:@]+)|@(?P<label>[^/:@]+))")

_URI_PROPERTY = {"data": "dataUri", "models": "modelUri", "codes": "codeUri"}
_MOST_STEPS = 8


def local_path(emulator: "Emulator", uri: str, workspace: str | None = None) -> Path:
    """The file or folder that an address means. It need not exist.

    `workspace` is the path of the workspace that short addresses mean; none: the configured one.

    Understands datastore paths (short and long), outputs of jobs, models of the registry,
    versions of data, models and code (`azureml:NAME:VERSION`, `azureml:NAME@latest`, resource
    ids), blob URLs of the local storage account, and public addresses that the emulator holds.
    Anything else is an AzureError 400, and an asset that is not there an AzureError 404.
    """
    address, home = uri, workspace or emulator.config.workspace_path
    for _ in range(_MOST_STEPS):
        step = _follow(emulator, address, home)
        if isinstance(step, Path):
            return step
        address = step
    raise AzureError(400, "UserError", f"{uri} leads back to itself: {address}.")


def datastore_path(
    emulator: "Emulator", datastore: str, path: str, workspace: str | None = None
) -> Path:
    """A path in one of the workspace's datastores."""
    home = workspace or emulator.config.workspace_path
    resource = emulator.store.get(f"{home}/datastores/{datastore}")
    if resource is None:
        raise AzureError(404, "UserError", f"Could not find datastore: {datastore}.")
    properties = resource["properties"]
    blobs = emulator.accounts.blobs(str(properties.get("accountName")))
    if blobs is None:
        raise AzureError(
            400,
            "UserError",
            f"The datastore {datastore} is in the storage account "
            f"{properties.get('accountName')}, which was not made here; the local Azure ML reaches "
            "its own account and those that were made through it.",
        )
    container = properties.get("containerName") or properties.get("filesystem")
    if not container:
        raise AzureError(
            400,
            "UserError",
            f"The datastore {datastore} is a {properties['datastoreType']}; the local Azure ML "
            "reads blob containers only.",
        )
    return blobs.path(container, unquote(path).strip("/"))


def _follow(emulator: "Emulator", uri: str, home: str) -> str | Path:
    """One step from an address to its files: the next address, or the path itself."""
    if match := _DATASTORE.fullmatch(uri):
        return datastore_path(
            emulator, match["datastore"], match["path"], _workspace(emulator, match) or home
        )
    if match := _JOB_OUTPUT.fullmatch(uri):
        place = output_address(emulator, home, match["job"], match["output"])
        return f"{place}/{match['path'] or ''}"
    if (match := _REGISTRY_ASSET.fullmatch(uri)) and (address := _stored(emulator, match)):
        return address
    if match := _REGISTRY_MODEL.fullmatch(uri):
        folder: Path = emulator.registry.model_folder(match["name"], match["version"])
        return _inside(folder, match["path"] or "", uri)
    if match := _ASSET.fullmatch(uri):
        own = match["workspace"] if emulator.store.get(match["workspace"]) else home
        return _asset(emulator, own, match["kind"].lower(), match["name"], match["version"], uri)
    if match := _SHORT.fullmatch(uri):
        return _named(emulator, home, match["name"], match["version"], match["label"])
    if is_web(uri):
        return _blob_url(emulator, uri)
    raise AzureError(
        400,
        "UserError",
        f"The local Azure ML cannot reach '{uri}'. It reaches azureml://datastores/..., "
        "azureml://jobs/.../outputs/..., azureml://registries/.../models/..., "
        "azureml:NAME:VERSION, blobs of its own storage account and addresses of the web that it "
        "holds.",
    )


def _stored(emulator: "Emulator", match: re.Match[str]) -> str | None:
    """The address of an asset that a client put into a registry; None if there is none."""
    kind = {"models": MODELS, "data": DATA, "codes": CODES}[match["kind"]]
    asset = stored_version(emulator, match["registry"], kind, match["name"], match["version"])
    if asset is None:
        return None
    address = str(asset["properties"][_URI_PROPERTY[match["kind"]]])
    return f"{address.rstrip('/')}/{match['path']}" if match["path"] else address


def _workspace(emulator: "Emulator", match: re.Match[str]) -> str | None:
    """The workspace that a long address names; None for a short one, or if there is none."""
    if not match["workspace"]:
        return None
    path = (
        f"/subscriptions/{match['subscription']}/resourceGroups/{match['group']}"
        f"/providers/Microsoft.MachineLearningServices/workspaces/{match['workspace']}"
    )
    return path if emulator.store.get(path) else None


def _named(
    emulator: "Emulator", base: str, name: str, version: str | None, label: str | None
) -> str | Path:
    """`azureml:NAME:VERSION` says no kind: data is looked for before models."""
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


def _asset(emulator: "Emulator", base: str, kind: str, name: str, version: str, uri: str) -> str:
    path = f"{base}/{kind}/{name}/versions/{version}"
    resource = emulator.store.get(path)
    if resource is None:
        raise AzureError(404, "UserError", f"Could not find asset with ID: {uri}.")
    address: str | None = resource["properties"].get(_URI_PROPERTY[kind])
    if not address:
        raise AzureError(400, "UserError", f"The asset {uri} names no files.")
    return address


def _blob_url(emulator: "Emulator", uri: str) -> Path:
    """A blob of an account that is here, or a public address."""
    host, path = place(uri)
    account, _, suffix = host.partition(".")
    container, _, name = path.lstrip("/").partition("/")
    blobs = emulator.accounts.blobs(account) if suffix == "blob.core.windows.net" else None
    if uri.startswith("http:") or blobs is None or not container:
        return held_path(emulator.config, uri)
    return blobs.path(container, name.rstrip("/"))


def _inside(folder: Path, path: str, uri: str) -> Path:
    target = (folder / unquote(path).strip("/")).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise AzureError(400, "UserError", f"{uri} leads out of the model's folder.")
    return target
