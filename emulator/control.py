"""The emulator's own address: its state, a reset, quotas."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.http import AzureError, Router, emulator_of, json_body
from emulator.resource_manager.sizes import SIZES

HOST = "azureml-emulator.test"
# Outside "localhost", which NO_PROXY would keep from the proxy.
AUDIENCE = f"https://{HOST}"


def register(router: Router) -> None:
    @router.operation("Control_Status", "GET", "/status")
    async def status(request: Request) -> Response:
        emulator = emulator_of(request)
        emulator.tokens.check(request, AUDIENCE)
        workspace = emulator.config.workspace_path
        counts = {
            name: len(emulator.store.children(f"{workspace}/{name}"))
            for name in ("computes", "jobs", "data", "models", "onlineEndpoints")
        }
        return JSONResponse({"workspace": emulator.config.workspace, "resources": counts})

    @router.operation("Control_Reset", "POST", "/reset")
    async def reset(request: Request) -> Response:
        emulator = emulator_of(request)
        emulator.tokens.check(request, AUDIENCE)
        await emulator.reset()
        return Response(status_code=204)

    @router.operation("Control_SetQuota", "PUT", "/quotas/{family}")
    async def set_quota(request: Request) -> Response:
        emulator = emulator_of(request)
        emulator.tokens.check(request, AUDIENCE)
        family = request.path_params["family"]
        known = {size.family.lower(): size.family for size in SIZES}
        limit = (await json_body(request)).get("limit")
        if family.lower() not in known or not isinstance(limit, int) or limit < 0:
            raise AzureError(
                400,
                "UserError",
                f"A quota needs a VM family ({', '.join(sorted(set(known.values())))}) and a "
                '"limit" in vCPUs.',
            )
        emulator.store.document("quotas").put(known[family.lower()], limit)
        return JSONResponse({"family": known[family.lower()], "limit": limit})
