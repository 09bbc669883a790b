"""Where clients upload code and models before they register them."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.http import WORKSPACE, Router, emulator_of, request_id
from emulator.resource_manager.resources import workspace_path


def register(router: Router) -> None:
    for collection, operation in (("codes", "CodeVersions"), ("models", "ModelVersions")):

        @router.operation(
            f"{operation}_CreateOrGetStartPendingUpload",
            "POST",
            f"{WORKSPACE}/{collection}/{{name}}/versions/{{version}}/startPendingUpload",
        )
        async def start_pending_upload(request: Request) -> Response:
            workspace_path(request)
            emulator = emulator_of(request)
            # Every upload has a container of its own, as with the service.
            container = request_id()
            emulator.blobs.create_container(container)
            url = f"https://{emulator.config.blob_host}/{container}"
            return JSONResponse(
                {
                    "pendingUploadId": request_id(),
                    "pendingUploadType": "TemporaryBlobReference",
                    "blobReferenceForConsumption": {
                        "blobUri": url,
                        "storageAccountArmId": "",
                        "credential": {
                            "credentialType": "SAS",
                            "sasUri": f"{url}?{emulator.blobs.sas(container)}",
                        },
                    },
                }
            )
