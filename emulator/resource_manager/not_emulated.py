"""Operations of the service that the local Azure ML knows by name and does not emulate."""

from starlette.requests import Request
from starlette.responses import Response

from emulator.http import WORKSPACE, AzureError, Handler, Router

_VERBS = {"GET": "Get", "PUT": "CreateOrUpdate", "PATCH": "Update", "DELETE": "Delete"}
_RESOURCES = {
    "FeaturesetContainers": "/featuresets",
    "FeaturesetVersions": "/featuresets/{container}/versions",
    "FeaturestoreEntityContainers": "/featurestoreEntities",
    "FeaturestoreEntityVersions": "/featurestoreEntities/{container}/versions",
    "InferencePools": "/inferencePools",
    "LabelingJobs": "/labelingJobs",
    "MarketplaceSubscriptions": "/marketplaceSubscriptions",
    "PrivateEndpointConnections": "/privateEndpointConnections",
    "ServerlessEndpoints": "/serverlessEndpoints",
}
"""Kinds of resources, and where their collections are below a workspace."""
_ACTIONS = {
    "FeaturesetVersions_Backfill": "/featuresets/{name}/versions/{version}/backfill",
    "LabelingJobs_ExportLabels": "/labelingJobs/{name}/exportLabels",
    "ModelVersions_Package": "/models/{name}/versions/{version}/package",
    "ServerlessEndpoints_ListKeys": "/serverlessEndpoints/{name}/listKeys",
    "ServerlessEndpoints_RegenerateKeys": "/serverlessEndpoints/{name}/regenerateKeys",
    "WorkspaceConnections_TestConnection": "/connections/{name}/testconnection",
    "Workspaces_ListNotebookAccessToken": "/listNotebookAccessToken",
    "Workspaces_ListNotebookKeys": "/listNotebookKeys",
    "Workspaces_PrepareNotebook": "/prepareNotebook",
}
"""What a POST does."""


def register(router: Router) -> None:
    """Add the operations; those that other parts registered before come first."""
    for kind, collection in _RESOURCES.items():
        _refuse(router, f"{kind}_List", "GET", collection)
        for method, verb in _VERBS.items():
            _refuse(router, f"{kind}_{verb}", method, collection + "/{name}")
    for operation, path in _ACTIONS.items():
        _refuse(router, operation, "POST", path)


def _refuse(router: Router, operation: str, method: str, path: str) -> None:
    router.operation(operation, method, WORKSPACE + path)(refusal(operation))


def refusal(operation: str) -> Handler:
    """A handler that says by name what is not emulated."""

    async def refuse(request: Request) -> Response:
        raise AzureError(
            501,
            "OperationNotSupported",
            f"The local Azure ML does not emulate {operation} ({request.method} "
            f"{request.url.path}). Nothing was changed.",
        )

    return refuse
