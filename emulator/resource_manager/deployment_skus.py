"""How many instances a deployment may be scaled to."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.http import Router, emulator_of
from emulator.resource_manager.online_deployments import DEPLOYMENT, deployment_of
from emulator.resource_manager.quotas import quota
from emulator.resource_manager.sizes import find_size


def register(router: Router) -> None:
    @router.operation("OnlineDeployments_ListSkus", "GET", DEPLOYMENT + "/skus")
    async def list_skus(request: Request) -> Response:
        deployment = deployment_of(request)
        size = find_size(deployment["properties"]["instanceType"])
        assert size is not None
        most = quota(emulator_of(request), size.family) // size.vcpus
        capacity = {"default": 1, "minimum": 1, "maximum": most, "scaleType": "Manual"}
        sku = {"name": deployment["sku"]["name"], "tier": "Standard"}
        kind = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments"
        return JSONResponse({"value": [{"resourceType": kind, "sku": sku, "capacity": capacity}]})
