"""Where clients upload code, data and models before they register them."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.http import WORKSPACE, Router, emulator_of, request_id
from emulator.resource_manager.asset_kinds import CODES, DATA, MODELS
from emulator.resource_manager.resources import workspace_path


def register(router: Router) -> None:
    for kind in (CODES, DATA, MODELS):

        @router.operation(
            f"{kind.title}Versions_CreateOrGetStartPendingUpload",
            "POST",
            f"{WORKSPACE}/{kind.collection}/{{name}}/versions/{{version}}/startPendingUpload",
        )
        async def start_pending_upload(request: Request) -> Response:
            workspace_path(request)
            return JSONResponse(pending_upload(request))


def pending_upload(request: Request) -> dict[str, Any]:
    """A container of its own for one upload, as with the service, and a signature for it."""
    emulator = emulator_of(request)
    container = request_id()
    emulator.blobs.create_container(container)
    return {
        "pendingUploadId": request_id(),
        "pendingUploadType": "TemporaryBlobReference",
        "blobReferenceForConsumption": blob_reference(request, container),
    }


def blob_reference(request: Request, container: str, name: str = "") -> dict[str, Any]:
    """The address of a container, or of a folder in it, with a signature that opens it."""
    emulator = emulator_of(request)
    url = emulator.blobs.url(container, name)
    config = emulator.config
    account = (
        f"/subscriptions/{config.subscription}/resourceGroups/{config.resource_group}"
        f"/providers/Microsoft.Storage/storageAccounts/{config.account}"
    )
    sas = f"{url}?{emulator.blobs.sas(container)}"
    return {
        "blobUri": url,
        "storageAccountArmId": account,
        "credential": {"credentialType": "SAS", "sasUri": sas},
    }
