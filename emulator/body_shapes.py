"""What the operations take, as JSON types."""

from emulator.body_check import Fields, ListOf, Shape
from emulator.body_fields import (
    BATCH_DEPLOYMENT,
    BATCH_ENDPOINT,
    COMMON,
    COMPUTE,
    CONNECTION,
    DATA,
    DATASTORE,
    DEPLOYMENT,
    ENDPOINT,
    ENVIRONMENT,
    JOB,
    MODEL,
    OBJECTS,
    REGISTRY,
    SCALARS,
    SCHEDULE,
    SKU,
    SPEC,
    TRACKED,
    VERSION,
    WORKSPACE,
    every,
)


def _resource(properties: dict[str, Shape], **beside: Shape) -> Fields:
    return Fields({"properties": Fields(properties), **beside})


def _tracked(properties: dict[str, Shape]) -> Fields:
    return Fields({"properties": Fields(properties), **TRACKED, "sku": SKU})


_CONTAINER = _resource(COMMON)
_ASSETS = {
    "Code": _resource({**VERSION, "codeUri": "text"}),
    "Component": _resource({**VERSION, "componentSpec": SPEC}),
    "Data": _resource(DATA),
    "Environment": _resource(ENVIRONMENT),
    "Model": _resource(MODEL),
}
_RUN = Fields(
    {
        **every("text", "runId displayName description status"),
        **every("object", "tags properties"),
        "hidden": "boolean",
    }
)
_ARTIFACTS = Fields({"paths": ListOf(Fields({"path": "text"}))})
_UPLOAD = Fields(every("text", "pendingUploadId pendingUploadType"))
_DESTINATION = Fields(every("text", "destinationName destinationVersion registryName"))
_URIS = Fields({"values": ListOf("text")})


SHAPES: dict[str, Fields] = {
    "Artifacts_BatchCreateEmptyArtifacts": _ARTIFACTS,
    "BatchDeployments_CreateOrUpdate": _tracked(BATCH_DEPLOYMENT),
    "BatchDeployments_Update": _tracked(BATCH_DEPLOYMENT),
    "BatchEndpoints_CreateOrUpdate": _tracked(BATCH_ENDPOINT),
    "BatchEndpoints_Update": _tracked(BATCH_ENDPOINT),
    "Compute_CreateOrUpdate": _tracked(COMPUTE),
    "Compute_EnableSso": Fields({"enableSSO": "boolean"}),
    "Compute_Resize": Fields({"targetVMSize": "text"}),
    "Compute_Update": _tracked(COMPUTE),
    "Compute_UpdateIdleShutdownSetting": Fields({"idleTimeBeforeShutdown": "text"}),
    "DataVersion_BatchGetResolvedUris": _URIS,
    "Datastores_CreateOrUpdate": _resource(DATASTORE),
    "Datastores_ListSecrets": Fields({"expirableSecret": "boolean", "expireAfterHours": "whole"}),
    "Deployments_CreateOrUpdate": _resource(
        {"mode": "text", "template": "object", "parameters": OBJECTS}, tags=SCALARS
    ),
    "Jobs_CreateOrUpdate": _resource(JOB),
    "Jobs_Update": _resource({"notificationSetting": "object"}),
    "Models_BatchGetResolvedUris": _URIS,
    "OnlineDeployments_CreateOrUpdate": _tracked(DEPLOYMENT),
    "OnlineDeployments_GetLogs": Fields({"containerType": "text", "tail": "whole"}),
    "OnlineDeployments_Update": _tracked(DEPLOYMENT),
    "OnlineEndpoints_CreateOrUpdate": _tracked(ENDPOINT),
    "OnlineEndpoints_RegenerateKeys": Fields(every("text", "keyType keyValue")),
    "OnlineEndpoints_Update": _tracked(ENDPOINT),
    "Quotas_Update": Fields(
        {
            "location": "text",
            "value": ListOf(Fields({**every("text", "id type unit"), "limit": "whole"})),
        }
    ),
    "Registries_CreateOrUpdate": _tracked(REGISTRY),
    "Registries_RemoveRegions": _tracked(REGISTRY),
    "Registries_Update": _tracked(REGISTRY),
    "RegistryAssets_Import": _resource(
        every("text", "destinationName destinationVersion sourceAssetId")
    ),
    "RegistryDataReferences_GetBlobReferenceSas": Fields(every("text", "assetId blobUri")),
    "RegistryTemporaryDataReferences_CreateOrGet": Fields(
        every("text", "assetId temporaryDataReferenceId temporaryDataReferenceType")
    ),
    "RunArtifacts_BatchCreateEmptyArtifacts": _ARTIFACTS,
    "Runs_GetRunData": Fields({"runId": "text", "selectRunMetadata": "boolean"}),
    "Runs_Patch": _RUN,
    "Schedules_CreateOrUpdate": _resource(SCHEDULE),
    "Schedules_Trigger": Fields({"scheduleTime": "text"}),
    "WorkspaceConnections_Create": _resource(CONNECTION),
    "WorkspaceConnections_Update": _resource(CONNECTION),
    "Workspaces_CreateOrUpdate": _tracked(WORKSPACE),
    "Workspaces_Diagnose": Fields({"value": Fields({})}),
    "Workspaces_Update": _tracked(WORKSPACE),
    **{f"{place}{kind}Versions_CreateOrUpdate": shape
       for place in ("", "Registry") for kind, shape in _ASSETS.items()},
    **{f"{place}{kind}Containers_CreateOrUpdate": _CONTAINER
       for place in ("", "Registry") for kind in _ASSETS},
    **{f"{place}{kind}Versions_CreateOrGetStartPendingUpload": _UPLOAD
       for place in ("", "Registry") for kind in ("Code", "Data", "Model")},
    **{f"{kind}Versions_Publish": _DESTINATION for kind in _ASSETS if kind != "Component"},
    "RegistryDataReferences_GetBlobReferenceSAS": Fields(every("text", "assetId blobUri")),
}  # fmt: skip
"""What an operation takes. Others take nothing; MLflow's tracking server looks at its own."""
